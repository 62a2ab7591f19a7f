"""How arms are spread over panels, lines and colours: shared by the figures.

The axes of a study are the names over which its arms vary. A figure shows one or two of them
inside a panel; each setting of the others has a panel of its own. Dense arms are references: one
stands in every panel that agrees with it in all that is not a mask's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fl_analysis.plots.style import COLUMN, PAGE, new_figure, pretty
from fl_analysis.results.labels import arm_axes, axis_value, level_labels, unit_of_j
from fl_analysis.results.outcome import Outcome
from fl_core.config.vocabulary import masked


def axes_of(results: Sequence[Outcome]) -> list[str]:
    """The axes over which these arms vary."""
    return arm_axes([o.setting for o in results], [o.config for o in results])


def unit_of(results: Sequence[Outcome]) -> str:
    """What J counts in these arms: steps, epochs."""
    return unit_of_j(o.config for o in results)


def levels(axis: str, results: Sequence[Outcome]) -> list[str]:
    """The levels of an axis in order of first appearance."""
    return list(dict.fromkeys(axis_value(axis, o.config) for o in results))


def references(results: Sequence[Outcome]) -> list[Outcome]:
    """The dense arms of a study that has masked ones."""
    dense = [o for o in results if not masked(o.config)]
    return dense if len(dense) < len(results) else []


def masked_arms(results: Sequence[Outcome]) -> list[Outcome]:
    """The arms without those that are references to them."""
    dense = {o.arm for o in references(results)}
    return [o for o in results if o.arm not in dense]


def longest(axes: Sequence[str], results: Sequence[Outcome]) -> str:
    """The axis with most levels, the last of equals."""
    return sorted(axes, key=lambda a: len(levels(a, results)))[-1]


def line_axis(results: Sequence[Outcome], axes: Sequence[str], across: str) -> str | None:
    """What the lines of a figure over the axis `across` stand for: the rule where it varies, else
    the axis with most levels; None where nothing else varies.
    """
    others = [axis for axis in axes if axis != across]
    if "mask.rule" in others:
        return "mask.rule"
    return longest(others, results) if others else None


LONGEST = 44  # characters of an arm's name beside an axis


def arm_text(outcome: Outcome, axes: Sequence[str]) -> str:
    """An arm's name for a figure: what tells masked arms apart, and those with names that would
    leave an axis no room, briefly; else its own name.
    """
    masked = any(axis.startswith(("mask.", "fine_tune.")) for axis in axes)
    if masked or (axes and len(outcome.name) > LONGEST):
        return joined(axes, outcome)
    return pretty(outcome.name)


def joined(axes: Sequence[str], outcome: Outcome) -> str:
    """An arm's levels on these axes, as `level_labels`: iid, random, s=0.9."""
    return pretty(", ".join(level_labels(axes, outcome.config)))


@dataclass(frozen=True)
class Facets:
    """The panels of a figure, (title, arms) each, and how many of them make a round."""

    parts: list[tuple[str, list[Outcome]]]
    step: int  # levels of the axis that changes from panel to panel: rows hold whole rounds


def facets(results: Sequence[Outcome], axes: Sequence[str], inside: Sequence[str]) -> Facets:
    """A panel for each setting of the axes that are not shown `inside` one, the axis with most
    levels running fastest.
    """
    rest = [axis for axis in axes if axis not in inside]
    plain = [axis for axis in rest if not axis.startswith("mask.")]
    dense = {o.arm for o in references(results)}
    groups: dict[tuple[str, ...], list[Outcome]] = {}
    for outcome in results:
        if outcome.arm not in dense:
            groups.setdefault(_key(rest, outcome), []).append(outcome)
    names = {axis: levels(axis, masked_arms(results)) for axis in rest}
    order = dict(sorted(names.items(), key=lambda item: len(item[1])))  # stable
    parts = []
    for group in sorted(groups.values(), key=lambda g: _ranks(order, g[0])):
        where = _key(plain, group[0])
        also = [o for o in results if o.arm in dense and _key(plain, o) == where]
        parts.append((joined(rest, group[0]), [*group, *also]))
    return Facets(parts, max(map(len, order.values()), default=1))


def _ranks(order: Mapping[str, Sequence[str]], outcome: Outcome) -> list[int]:
    return [names.index(axis_value(axis, outcome.config)) for axis, names in order.items()]


def _key(axes: Sequence[str], outcome: Outcome) -> tuple[str, ...]:
    return tuple(axis_value(axis, outcome.config) for axis in axes)


def columns_of(found: Facets, most: int = 5) -> int:
    """How many panels stand side by side: as many as make whole rounds and full rows, at most
    `most`; where none do, the smallest width with the fewest rows.
    """
    count = len(found.parts)
    whole = [n for n in range(1, most + 1) if count % n == 0 and n % found.step == 0]
    return max(whole, default=math.ceil(count / math.ceil(count / most)))


def panel_grid(
    found: Facets,
    share: bool,
    height: float = 1.75,
    extra: float = 0.65,
    most: int = 5,
    *,
    same_x: bool = True,
) -> tuple[Figure, list[Axes]]:
    """Titled panels over the page's width (one alone: a column's); `height` of a row of them."""
    count, columns = len(found.parts), columns_of(found, most)
    rows = math.ceil(count / columns)
    figure = new_figure(PAGE if count > 1 else COLUMN, extra + height * rows)
    grid = figure.subplots(rows, columns, sharey=share, sharex=same_x, squeeze=False)
    for ax in list(grid.flat)[count:]:
        ax.set_visible(False)
    for column in range(columns):  # above a gap in the last row the axis shows its own ticks
        last = (count - 1 - column) // columns
        grid[last, column].xaxis.set_tick_params(labelbottom=True)
    width = 80 if count == 1 else round(100 / columns)  # characters in a title's line
    for ax, (title, _) in zip(grid.flat, found.parts, strict=False):
        ax.set_title("\n".join(line for part in title.splitlines() for line in wrap(part, width)))
    return figure, list(grid.flat)[:count]


def first_column(ax: Axes) -> bool:
    """Whether the panel stands at the left of its grid."""
    place = ax.get_subplotspec()
    return place is None or place.is_first_col()


def last_row(ax: Axes) -> bool:
    """Whether the panel stands at the bottom of its grid."""
    place = ax.get_subplotspec()
    return place is None or place.is_last_row()


def legend(figure: Figure, drawn: Sequence[Axes]) -> None:
    """One legend above all panels, each label once."""
    handles: dict[str, Artist] = {}
    for ax in drawn:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    if not handles:
        return
    room = 2 if len(drawn) == 1 else 7
    widest = 0.5 + 0.055 * max(map(len, handles))  # inches: handle, then characters
    columns = max(1, min(len(handles), room, int(figure.get_figwidth() / widest)))
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper center",
        ncols=columns,
        handlelength=2.4,
        columnspacing=1.2,
    )
