"""How the report's interactive plots tell arms apart, and what such a plot is made of.

Colours are tokens ("@0", "@0/0.2" with an opacity, "@ink"): the page replaces them by the palette
of the theme in use, so one specification serves light, dark and paper. All text from the store
goes through `plain`, because plotly reads a little HTML in every label.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.colors import to_hex

from fl_analysis.plots.panels import axes_of, levels, masked_arms
from fl_analysis.plots.style import OKABE_ITO, colours
from fl_analysis.results.labels import axis_value, level_label
from fl_analysis.results.outcome import Outcome
from fl_core.config.vocabulary import DASH, DENSE

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
#: The markers of the paper's figures by plotly's names.
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
SPARSITY = "mask.sparsity"
#: The palette of the paper's figures, lighter, for a dark page; white stands for black.
_DARK = ("#3b8fd0", "#e8702a", "#00b386", "#d890b8", "#8fd3ff", "#e69f00", "#f2f2f2")


@dataclass(frozen=True)
class Plot:
    """One interactive plot: `spec` holds plotly's data and layout in colour tokens."""

    name: str
    title: str
    caption: str
    spec: dict[str, Any]


@dataclass(frozen=True)
class Mark:
    """How one arm is drawn: its place across, its series, and the indices of its looks."""

    arm: Outcome
    level: str
    series: str
    colour: int
    look: int  # dash and marker


@dataclass(frozen=True)
class Encoding:
    """How all arms of a study are drawn, the same in every plot."""

    across: str | None  # the axis over which accuracies are drawn
    levels: list[str]
    series: list[str]
    colours: int
    marks: list[Mark]


def plain(text: object) -> str:
    """Text for a plotly label: nothing in it is markup.

    >>> plain("<b>iid</b>, J=4")
    '&lt;b&gt;iid&lt;/b&gt;, J=4'
    """
    return html.escape(str(text), quote=False)


def encoding(results: Sequence[Outcome]) -> Encoding:
    """Accuracies go across the sparsity where it varies, else across the axis with fewest levels;
    every setting of the other axes is a series with a colour of its own.
    """
    axes = axes_of(results)
    across = _across(results, axes)
    if across is None:
        names = [o.name for o in results]
        marks = [Mark(o, o.name, "", i, i) for i, o in enumerate(results)]
        return Encoding(None, names, [""], len(names), marks)
    rest = [axis for axis in axes if axis != across]
    names = _ordered(across, levels(across, results))
    keys = [_series(rest, o) for o in results]
    series = list(dict.fromkeys(keys))
    alone = len(series) == 1  # then the levels themselves have the colours
    marks = []
    for outcome, key in zip(results, keys, strict=True):
        level = axis_value(across, outcome.config)
        place, line = names.index(level), series.index(key)
        marks.append(Mark(outcome, level, key, place if alone else line, place if alone else line))
    return Encoding(across, names, series, len(names) if alone else len(series), marks)


def _across(results: Sequence[Outcome], axes: Sequence[str]) -> str | None:
    if not axes:
        return None
    if SPARSITY in axes and len(levels(SPARSITY, masked_arms(results))) > 1:
        return SPARSITY
    return min(axes, key=lambda axis: (len(levels(axis, results)), -axes.index(axis)))


def _ordered(axis: str, names: Sequence[str]) -> list[str]:
    """Sparsities by size, dense first; others as the study lists them."""
    if axis != SPARSITY:
        return list(names)
    return sorted(names, key=lambda name: -1.0 if name == DENSE else float(name))


def _series(rest: Sequence[str], outcome: Outcome) -> str:
    parts = [level_label(axis, axis_value(axis, outcome.config)) for axis in rest]
    return ", ".join(dict.fromkeys(part for part in parts if part != DASH))


def palette(count: int) -> dict[str, list[str]]:
    """The colours of `count` lines on a light and on a dark page."""
    light = [to_hex(colour) for colour in colours(count)]
    if count <= len(OKABE_ITO):
        return {"light": light, "dark": list(_DARK[:count])}
    scale = matplotlib.colormaps["viridis"]  # without its dark end, which a dark page swallows
    return {
        "light": light,
        "dark": [to_hex(scale(0.25 + 0.75 * i / (count - 1))) for i in range(count)],
    }


def colour(index: int, opacity: float | None = None) -> str:
    """The token of a colour of the palette."""
    return f"@{index}" if opacity is None else f"@{index}/{opacity}"


def specification(
    data: list[dict[str, Any]], layout: dict[str, Any], count: int, **more: Any
) -> dict[str, Any]:
    """A plot's data and layout with the palette of `count` colours."""
    return {"data": data, "layout": layout, "palette": palette(count), **more}


def thinned(count: int, most: int) -> list[int]:
    """At most `most` of the indices below `count`, evenly spaced.

    >>> thinned(10, 4), thinned(3, 4)
    ([0, 2, 5, 7], [0, 1, 2])
    """
    return list(range(count)) if count <= most else [i * count // most for i in range(most)]
