"""CSV: what is written is read back."""

from __future__ import annotations

import csv
import doctest
import io

from hypothesis import given
from hypothesis import strategies as st

from fl_core.base import tables
from fl_core.base.tables import csv_text

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)


def test_doctests() -> None:
    result = doctest.testmod(tables)
    assert result.attempted
    assert not result.failed


@given(st.lists(st.tuples(TEXT, st.floats(allow_nan=False), st.integers())))
def test_what_is_written_is_read_back(rows: list[tuple[str, float, int]]) -> None:
    names, *found = csv.reader(io.StringIO(csv_text(["a", "b", "c"], rows)))
    assert names == ["a", "b", "c"]
    assert [(a, float(b), int(c)) for a, b, c in found] == rows
