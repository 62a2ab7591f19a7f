"""What a study shows at its end: in a terminal of some width, and in a pipe."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from fl_core.study import ending

NUMBERS = {("iid", "4"): "74.5 ± 0.4", ("iid", "16"): "74.3 ± 0.1", ("N_c=1", "4"): "62.8 ± 1.2†"}
ROWS, COLUMNS = ("iid", "N_c=1"), ("4", "16")
GRID = SimpleNamespace(
    row_heads=("sharding",),
    column_names=("J=4", "J=16"),
    rows=tuple((row,) for row in ROWS),
    columns=COLUMNS,
    text=lambda y, x: NUMBERS.get((ROWS[y], COLUMNS[x]), ""),
    bold=frozenset({(0, 0)}),
)
BLOCK = SimpleNamespace(
    caption="Test accuracy [%] on CIFAR-100 by sharding and J: mean ± std over 2 seeds " * 2,
    header=["sharding", "J=4", "J=16"],
    rows=[["iid", "74.5 ± 0.4", "74.3 ± 0.1"], ["N_c=1", "62.8 ± 1.2†", ""]],
    bold=frozenset({(0, 1)}),
    notes=["bold: the best arm, by validation."],
)
WARNINGS = ["data.name: chosen at the lower bound of [/data/x] " + "and so on " * 12, "second"]


def shown(monkeypatch: pytest.MonkeyPatch, **options: Any) -> str:
    file = io.StringIO()
    screen = Console(file=file, markup=False, emoji=False, highlight=False, **options)
    monkeypatch.setattr(ending, "console", lambda: screen)
    ending.show("iid is best by 11.7 points.", GRID, BLOCK, WARNINGS)
    return file.getvalue()


def test_in_a_pipe_every_line_is_whole_and_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, width=40)
    lines = text.splitlines()
    assert "\x1b" not in text
    assert "sharding  J=4          J=16" in lines
    assert "iid       74.5 ± 0.4*  74.3 ± 0.1" in lines
    assert "N_c=1     62.8 ± 1.2†  ." in lines
    assert "* the best arm, by validation." in lines
    assert [line for line in lines if line.startswith("warning: ")] == [
        f"warning: {warning}" for warning in WARNINGS
    ]


@pytest.mark.parametrize("width", [40, 80, 120])
def test_in_a_terminal_everything_fits_the_width(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = shown(monkeypatch, width=width, force_terminal=True, color_system="standard")
    assert "\x1b[1m74.5 ± 0.4" in text
    plain = shown(monkeypatch, width=width, force_terminal=True, color_system=None)
    assert max(map(len, plain.splitlines())) <= width
    assert "[/data/x]" in plain
