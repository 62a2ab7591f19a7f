"""The answer of a study as a block of text: `results.pivot` with a short caption and its notes."""

from __future__ import annotations

from collections.abc import Sequence

from fl_analysis.reading.tasks import titles
from fl_analysis.results.best import Best
from fl_analysis.results.labels import field_values
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.pivot import MARK, Pivot, pivot
from fl_analysis.tables.conditions import scored, short_model
from fl_analysis.tables.render import Block

SHORT_NOTE = (
    f"{MARK} not searched enough, see the warnings; a difference from another arm may be one of "
    "tuning."
)


def pivot_block(results: Sequence[Outcome], warnings: Sequence[str] = ()) -> Block:
    """One row a setting, one column a level of what runs across; a label that the row above has is
    left out.
    """
    grid = pivot(results)
    rows, above = [], ("",) * len(grid.row_heads)
    for y, labels in enumerate(grid.rows):
        same = next((i for i, a in enumerate(above) if a != labels[i]), len(labels))
        cells = [grid.text(y, x) for x in range(len(grid.columns))]
        rows.append(["" if i < same else label for i, label in enumerate(labels)] + cells)
        above = labels
    bold = frozenset((y, x + len(above)) for y, x in grid.bold)
    return Block(
        "",
        _caption(grid, results),
        [*grid.row_heads, *grid.column_names],
        rows,
        _notes(grid),
        list(warnings),
        bold,
        labels=len(above),
    )


def _caption(grid: Pivot, results: Sequence[Outcome]) -> str:
    """What the cells are, of what, over how many seeds."""
    configs = [o.config for o in results]
    data = titles(o.task for o in results)
    across = [grid.column_head] if grid.column_head else []
    by = ", ".join([*grid.row_heads[:-1], " and ".join([*grid.row_heads[-1:], *across])])
    counts = sorted({len(o.confirmed) for o in results})
    seeds = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return (
        f"Test accuracy{scored(results)} [%] on {data} by {by}: mean ± sample standard deviation "
        f"over {seeds} confirmation {'seed' if seeds == '1' else 'seeds'} "
        f"(K = {field_values('federation.clients', configs)}, "
        f"C = {field_values('federation.participation', configs)}, "
        f"{short_model(results)})."
    )


def bold_note(best: Sequence[Best], more: str) -> str:
    """What is bold, and by what it was chosen."""
    which = "the best arm" if len(best) == 1 else "the best method under the same conditions"
    return f"bold: {which}, by the {' or '.join(dict.fromkeys(b.by for b in best))}; {more}"


def _notes(grid: Pivot) -> list[str]:
    """What the marks mean."""
    notes = []
    if grid.best:
        notes.append(bold_note(grid.best, "the test has no part in it."))
    if any(
        MARK in grid.text(y, x) for y in range(len(grid.rows)) for x in range(len(grid.columns))
    ):
        notes.append(SHORT_NOTE)
    return notes
