"""Tables of counts: rounding, proportional fitting and levelling against brute force."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_core.data.balance import fitted, levelled, rounded, whole

Array = np.ndarray[Any, Any]


def cuts(total: int, lows: list[int], highs: list[int]) -> Iterator[tuple[int, ...]]:
    """Every way to write `total` as a sum of terms within their bounds."""
    ranges = (range(low, high + 1) for low, high in zip(lows, highs, strict=True))
    return (terms for terms in itertools.product(*ranges) if sum(terms) == total)


def least_squares(totals: Array, low: Array, high: Array) -> int:
    """By brute force: the least sum of squared sizes within the bounds (the most even sizes)."""
    columns = (list(cuts(totals[c], list(low[:, c]), list(high[:, c]))) for c in range(len(totals)))
    return min(int((np.sum(table, axis=0) ** 2).sum()) for table in itertools.product(*columns))


def test_proportional_fitting_on_a_ring() -> None:
    held = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1]], dtype=bool)
    columns = np.array([200, 300, 280])
    table = fitted(held, columns)
    assert np.allclose(table.sum(axis=0), columns)
    assert np.abs(table.sum(axis=1) - 260).max() < 0.1
    assert ((table > 0) == held).all()


def test_rounding_carries_the_errors_of_a_row_along() -> None:
    rng = np.random.default_rng(0)
    totals = rng.integers(200, 800, 100)
    table = rng.dirichlet(np.ones(200), 100).T * totals
    counts = rounded(table, totals)
    assert (counts.sum(axis=0) == totals).all()
    assert np.abs(counts - table).max() < 1
    assert np.abs((counts - table).sum(axis=1)).max() < 1  # without: about 5


def test_a_table_of_unequal_rows_is_levelled_all_the_same() -> None:
    table = np.array([[80.5, 10.0], [9.5, 0.0], [0.0, 20.0]])
    totals = np.array([90, 30])
    low, high = np.zeros((3, 2), dtype=int), np.full((3, 2), 90)
    counts = whole(table, totals, low, high)
    assert counts.sum(axis=0).tolist() == [90, 30]
    assert counts.sum(axis=1).tolist() == [40, 40, 40]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_levelling_against_brute_force(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 4)), data.draw(st.integers(1, 3))

    def table(top: int) -> Array:
        row = st.lists(st.integers(0, top), min_size=size[1], max_size=size[1])
        return np.array(data.draw(st.lists(row, min_size=size[0], max_size=size[0])))

    low = table(2)
    counts = low + table(3)
    high = counts + table(2)
    found = levelled(counts, low, high)
    assert (low <= found).all()
    assert (found <= high).all()
    assert (found.sum(axis=0) == counts.sum(axis=0)).all()
    assert (found.sum(axis=1) ** 2).sum() == least_squares(counts.sum(axis=0), low, high)
