"""The answer of a study as a grid: one row a setting, one column a level of another, a cell an arm.

What a person reads first, so every surface shows this one grid: terminal, paper, Markdown, report.
One axis of the arms (see `labels.arm_axes`) runs across, the others run down, each with a column of
labels. The last axis that an arm sets runs across where that is narrow enough and leaves the fewest
holes: sharding x J has a row a sharding and a column a J. Methods always run down. There is one
column where there is one axis, where every grid is too wide or full of holes, and where two arms
would share a cell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fl_analysis.results.best import Best, best_arms
from fl_analysis.results.labels import (
    arm_axes,
    axis_label,
    axis_value,
    level_label,
    percent,
    tick_label,
    unit_of_j,
)
from fl_analysis.results.outcome import Outcome
from fl_core.config.titles import METHOD
from fl_core.config.vocabulary import DASH, DENSE, compact

#: Characters beside each other: those of a terminal, and what fits at eight points into the text
#: width of LaTeX's `article`.
WIDTH = 80
_GAP = 2  # characters between columns
_CELL = len("70.1 ± 0.3")
_HOLES = 1 / 3  # of a grid's cells; with more of them it says less than a list
_ACCURACY = "test accuracy [%]"
MARK = "†"  # after the number of an arm that was not searched enough


@dataclass(frozen=True)
class Pivot:
    """`cells[row][column]`: the arm there; None where the study has none. The best arms are chosen
    by validation (`best_arms`), as everywhere; none with one arm or without a choice.
    """

    row_axes: tuple[str, ...]  # what runs down; () where rows are arms by their names
    column_axis: str | None  # what runs across; None: one column, of accuracies
    row_heads: tuple[str, ...]  # heads of the columns of labels: ("sharding",)
    column_head: str  # what runs across, for an axis: "J (local steps)"
    rows: tuple[tuple[str, ...], ...]  # labels, one for each of row_heads
    columns: tuple[str, ...]  # labels below column_head: ("4", "8")
    column_names: tuple[str, ...]  # the same where nothing stands over them: ("J=4", "J=8")
    cells: tuple[tuple[Outcome | None, ...], ...]
    best: tuple[Best, ...] = ()

    def text(self, row: int, column: int) -> str:
        """A cell as 70.1 ± 0.3, marked where its arm was not searched enough; — without a result,
        empty without an arm.
        """
        arm = self.cells[row][column]
        if arm is None:
            return ""
        shown = percent(arm.mean, arm.std)
        return shown + MARK if arm.shortfalls and shown != DASH else shown

    @property
    def bold(self) -> frozenset[tuple[int, int]]:
        """Row and column of each of the best arms."""
        return frozenset(
            (y, x)
            for y, row in enumerate(self.cells)
            for x, arm in enumerate(row)
            if any(arm is best.arm for best in self.best)
        )


def pivot(results: Sequence[Outcome]) -> Pivot:
    """The grid of a study's arms, in table order."""
    best = tuple(best_arms(results)) if len(results) > 1 else ()
    axes = arm_axes([o.setting for o in results], [o.config for o in results])
    if not axes or len({_levels(axes, o) for o in results}) < len(results):
        rows, cells = tuple((o.name,) for o in results), tuple((o,) for o in results)
        return Pivot((), None, ("arm",), "", rows, (_ACCURACY,), (_ACCURACY,), cells, best)
    others = [axis for axis in reversed(axes) if len(axes) > 1 and axis != METHOD]
    across = [_grid(results, axes, axis, best) for axis in others]
    fit = [g for g in across if width(g) <= WIDTH and _holes(g) <= _HOLES]
    return min(fit, key=_holes, default=_grid(results, axes, None, best))  # the first of equals


def _grid(
    results: Sequence[Outcome], axes: Sequence[str], across: str | None, best: tuple[Best, ...]
) -> Pivot:
    unit = unit_of_j(o.config for o in results)
    down = tuple(axis for axis in axes if axis != across)
    arms = {(_levels(down, o), axis_value(across, o.config) if across else ""): o for o in results}
    rows = _sorted(dict.fromkeys(row for row, _ in arms), len(down))
    columns = tuple(dict.fromkeys(column for _, column in arms))
    says = [a for a in axes if a.startswith("mask.") and a != "mask.preset"][:1]  # that it is dense

    def label(axis: str, level: str) -> str:
        return DENSE if level == DASH and axis in says else tick_label(axis, level)

    return Pivot(
        row_axes=down,
        column_axis=across,
        row_heads=tuple(axis_label(a, unit) if a == "local.steps" else compact(a) for a in down),
        column_head=axis_label(across, unit) if across else "",
        rows=tuple(tuple(map(label, down, row)) for row in rows),
        columns=tuple(label(across, c) for c in columns) if across else (_ACCURACY,),
        column_names=tuple(level_label(across, c) for c in columns) if across else (_ACCURACY,),
        cells=tuple(tuple(arms.get((row, column)) for column in columns) for row in rows),
        best=best,
    )


def _levels(axes: Sequence[str], outcome: Outcome) -> tuple[str, ...]:
    return tuple(axis_value(axis, outcome.config) for axis in axes)


def _sorted(rows: Iterable[tuple[str, ...]], depth: int) -> list[tuple[str, ...]]:
    """Rows whose first labels agree stand together, each label in order of first appearance."""
    found = list(rows)
    order = [list(dict.fromkeys(row[i] for row in found)) for i in range(depth)]
    return sorted(found, key=lambda row: [order[i].index(row[i]) for i in range(depth)])


def width(grid: Pivot) -> int:
    """Characters of its widest line, without marks."""
    labels = [max(map(len, column)) for column in zip(grid.row_heads, *grid.rows, strict=True)]
    cells = [max(_CELL, len(column)) for column in grid.column_names]
    return sum(labels) + sum(cells) + _GAP * (len(labels) + len(cells) - 1)


def _holes(grid: Pivot) -> float:
    cells = [arm for row in grid.cells for arm in row]
    return sum(arm is None for arm in cells) / len(cells)
