"""Tables as CSV: every file of rows that a study keeps is written here."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence


def csv_text(names: Sequence[object], rows: Iterable[Iterable[object]]) -> str:
    r"""A line of names, then a line a row.

    >>> csv_text(["layer", "active"], [["head", 0.5], ["all", 1]])
    'layer,active\nhead,0.5\nall,1\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return text.getvalue()
