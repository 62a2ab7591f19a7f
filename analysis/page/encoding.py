"""What the page's plots are made of: panels, marks and axes, as plain data for `plots.js`.

A plot is panels of marks. A mark belongs to a name of the legend, by its index, which gives its
colour and dash; NaN is a gap. Colours and dashes are those of the figures for paper (`plots.lines`)
and the style sheet turns a whole drawing over for a dark page, so that nothing is coloured twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.colors import to_hex

from fl_analysis.plots.lines import Line, line_panels
from fl_analysis.results.outcome import Outcome

Mark = dict[str, Any]
#: Matplotlib's names of dashes, as SVG writes them.
_DASHES = {"-": "", "--": "7 3", "-.": "7 3 2 3", ":": "2 2"}


@dataclass(frozen=True)
class Plot:
    """One plot of the page; `spec`: what `plots.js` draws."""

    name: str
    title: str
    caption: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One panel: its title, and the lines of the figure for paper that stand in it."""

    title: str
    lines: list[Line]


def faceted(results: Sequence[Outcome], drawn: set[int]) -> tuple[list[Panel], list[Line]]:
    """The panels of these arms' courses, and a line for each name of their legend."""
    found, lines = line_panels(results)
    titles = [title for title, _ in found.parts] if found else [""]
    panels = [
        Panel(words(title), [line for line in group if line.arm.arm in drawn])
        for title, group in zip(titles, lines, strict=True)
    ]
    named: dict[str, Line] = {}
    for panel in panels:
        for line in panel.lines:
            named.setdefault(line.label, line)
    return [panel for panel in panels if panel.lines], list(named.values())


def words(text: str) -> str:
    """A label of a figure without its mathematics.

    >>> words("$N_c$=5, $J$=4")
    'N_c=5, J=4'
    """
    return text.replace("$", "")


def name(label: str, colour: Any, **more: Any) -> dict[str, Any]:
    """An entry of the legend; without a label it has none."""
    return {"label": label, "colour": to_hex(colour), **more}


def names(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """The legend of these lines."""
    return [name(words(line.label), line.colour, dash=_dash(line.style)) for line in lines]


def _dash(style: Any) -> str:
    return _DASHES[style] if isinstance(style, str) else " ".join(map(str, style[1]))


def numbers(values: Sequence[float], digits: int = 5) -> list[float | None]:
    """Numbers for the page, short; none for what is not finite."""
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in map(float, values)]


def mark(
    kind: str,
    index: int,
    x: Sequence[float],
    y: Sequence[float],
    text: Sequence[str] = (),
    **more: Any,
) -> Mark:
    """A `line`, `dot` or `bar` of the name with this index; `text`: what each point says."""
    found: Mark = {"kind": kind, "name": index, "x": numbers(x), "y": numbers(y), **more}
    return found | ({"text": list(text)} if text else {})


def band(index: int, x: Sequence[float], low: Sequence[float], high: Sequence[float]) -> Mark:
    """What lies between two lines."""
    return {
        "kind": "band", "name": index, "x": numbers(x), "low": numbers(low), "high": numbers(high)
    }  # fmt: skip


def panel(title: str, marks: Sequence[Mark], **more: Any) -> dict[str, Any]:
    """One panel; `more`: axes or notes of its own."""
    return {"title": title, "marks": list(marks), **more}


def thinned(count: int, most: int) -> list[int]:
    """At most `most` of the indices below `count`, evenly spaced.

    >>> thinned(10, 4), thinned(3, 4)
    ([0, 2, 5, 7], [0, 1, 2])
    """
    return list(range(count)) if count <= most else [i * count // most for i in range(most)]
