"""The end of a study on the screen: the answer, the arms as a grid, then a line for each warning.

In a terminal the grid fits the width and the best arm is bold. Elsewhere it is plain text that
`grep` and `awk` can read: every row has all of its labels, columns are two spaces apart, the best
arm has a star, and a line is as long as it is. All else that the tables tell is in the files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fl_core.study.screen import console

BEST = "*"  # after the best arm's number, where nothing can be bold


def show(answer: str, grid: Any, block: Any, warnings: Sequence[str]) -> None:
    """What a study found.

    grid: its arms (`fl_analysis.results.pivot.Pivot`). block: the same with a caption and notes
    (`fl_analysis.tables.render.Block`), where labels that the row above has are left out.
    """
    screen = console()
    screen.print()
    screen.print(Text(answer, style="bold"), soft_wrap=not screen.is_terminal)
    screen.print()
    screen.print(block.caption, soft_wrap=not screen.is_terminal)
    screen.print()
    if screen.is_terminal:
        screen.print(_table(block))
    else:
        for line in plain(grid):
            screen.print(line, soft_wrap=True)
    if block.notes:
        screen.print()
    for note in block.notes:
        _line(screen, note if screen.is_terminal else note.replace("bold: ", f"{BEST} ", 1))
    if warnings:
        screen.print()
    for warning in warnings:
        _line(screen, "warning: ", warning)


def plain(grid: Any) -> list[str]:
    """The grid as lines of text."""
    rows = [[*grid.row_heads, *grid.column_names]]
    for y, labels in enumerate(grid.rows):
        cells = [grid.text(y, x) or "." for x in range(len(grid.columns))]
        cells = [text + BEST * ((y, x) in grid.bold) for x, text in enumerate(cells)]
        rows.append([*labels, *cells])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def _table(block: Any) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for head in block.header:
        table.add_column(head, overflow="fold")
    for y, row in enumerate(block.rows):
        styled = (Text(c, style="bold" if (y, x) in block.bold else "") for x, c in enumerate(row))
        table.add_row(*styled)
    return table


def _line(screen: Console, *parts: str) -> None:
    """A note or a warning; in a terminal what follows its first word is wrapped below itself."""
    text = "".join(parts)
    if not screen.is_terminal:
        screen.print(text, soft_wrap=True)
        return
    head = len(parts[0]) if len(parts) > 1 else 2
    shown = Text(text)
    if len(parts) > 1:
        shown.stylize("yellow", 0, head)
    for number, line in enumerate(shown.wrap(screen, max(20, screen.width - head))):
        line.rstrip()
        screen.print(Text(" " * head * (number > 0)) + line)
