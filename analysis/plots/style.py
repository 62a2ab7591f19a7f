"""The look of the figures: sizes of a paper's columns, colour-blind-safe colours, fixed bytes."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullFormatter

Layout = Literal["constrained", "compressed"]
COLUMN, PAGE = 3.35, 6.9  # inches: one column, both columns
#: Okabe and Ito's colours without their yellow, which is too light for a thin line.
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "osD^vPX"
#: Maps of amounts: the darker, the more, in every figure; white is none, grey is not there.
MORE = "YlGnBu"
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))

RC: Any = {
    "font.family": "DejaVu Sans",  # ships with matplotlib: the same bytes everywhere
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.4,
    "pdf.fonttype": 42,  # TrueType: some publishers refuse type 3
    "svg.hashsalt": "analysis",
    "svg.fonttype": "path",
}
#: Kinds of files; of each the metadata that would differ from one drawing to the next.
_METADATA: dict[str, dict[str, Any]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}
FORMATS = tuple(_METADATA)


def new_figure(width: float, height: float, layout: Layout = "constrained") -> Figure:
    """An empty figure of this size in inches."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)  # no display, no pyplot
    return figure


def render(figure: Figure, kind: str) -> bytes:
    """The file's bytes: without dates, versions or random ids."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(RC):
        figure.savefig(buffer, format=kind, dpi=300, metadata=_METADATA[kind])
    return buffer.getvalue()


def amounts(none: str = "white") -> Colormap:
    """The map of amounts; `none`: the colour of what there is nothing of."""
    return matplotlib.colormaps[MORE].with_extremes(bad=none)


def colours(count: int) -> list[Any]:
    """Distinct colours for `count` lines."""
    if count <= len(OKABE_ITO):
        return list(OKABE_ITO[:count])
    return ordered_colours(count)


def ordered_colours(count: int) -> list[Any]:
    """Colours for `count` levels that have an order: the first is the darkest, none is too light
    for a thin line.
    """
    scale = matplotlib.colormaps["viridis"]
    return [to_hex(scale(0.8 * i / max(1, count - 1))) for i in range(count)]


def line_style(index: int) -> Any:
    """Told apart without colours too."""
    return LINES[index % len(LINES)]


def error_line(
    ax: Axes,
    marks: Sequence[tuple[float, float, float]],
    place: tuple[int, int],
    label: str,
    colour: Any,
) -> None:
    """Marks (x, mean, std) joined; `place`: which of how many lines, each moved aside a little so
    that their error bars can be told apart. Without a finite mean no mark, without std no bar.
    """
    index, count = place
    aside = min(0.07, 0.5 / count) * (index - (count - 1) / 2)
    found = sorted(mark for mark in marks if math.isfinite(mark[1]))
    if found:
        x, y, spread = zip(*found, strict=True)
        ax.errorbar(
            [at + aside for at in x],
            y,
            yerr=[size if math.isfinite(size) else 0.0 for size in spread],
            color=colour,
            ls=line_style(index),
            lw=1,
            ms=3,
            marker=marker(index),
            capsize=1.5,
            elinewidth=0.8,
            label=label,
        )


def marker(index: int) -> str:
    """Told apart without colours too."""
    return MARKERS[index % len(MARKERS)]


def pretty(text: str) -> str:
    """N_c, J, K as mathematics.

    >>> pretty("N_c=5, J=4, s=0.9")
    '$N_c$=5, $J$=4, $s$=0.9'
    """
    return re.sub(r"\b(N_c|J|K|C|T|R|[sw](?==))\b", r"$\1$", text)


def plain(text: str) -> str:
    """A name of somebody else's, in which nothing is mathematics."""
    return text.replace("$", r"\$")


_FINE = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9)  # mantissas for less than half a decade


def log_ticks(low: float, high: float) -> list[float]:
    """Three to five round numbers in [low, high] for a logarithmic axis, if there are as many.

    >>> log_ticks(4e6, 3e8), log_ticks(20, 80)
    ([10000000.0, 30000000.0, 100000000.0, 300000000.0], [20.0, 30.0, 50.0, 80.0])
    >>> log_ticks(76e6, 130e6)
    [80000000.0, 90000000.0, 100000000.0, 120000000.0]
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks: list[float] = []
    for mantissas in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 5, 8), _FINE):
        exact = [m * 10.0**p for p in powers for m in mantissas]
        ticks = [t for t in exact if low * 0.999 <= t <= high * 1.001]
        if len(ticks) >= 3:
            break
    return ticks[:: math.ceil(len(ticks) / 5)] if ticks else ticks


#: Largest over smallest cost below which a logarithmic axis has too few round numbers.
NARROW = 4.0


def cost_axis(ax: Axes, values: Sequence[float], unit: str) -> None:
    """An axis of costs below an axes: logarithmic where they span enough, with a place for zero
    where some are (from there to the lowest other one it is linear). unit: B, or none.
    """
    if unit:
        ax.xaxis.set_major_formatter(EngFormatter(unit=unit))
    positive = [value for value in values if value > 0]
    if not positive or max(positive) < NARROW * min(values):
        ax.xaxis.set_major_locator(MaxNLocator(4))
        return
    ticks = log_ticks(min(positive), max(positive))
    if min(values) > 0:
        ax.set_xscale("log")
    else:
        ax.set_xscale("symlog", linthresh=min(positive), linscale=0.5)
        ax.set_xlim(left=0)
        ticks = [0.0, *ticks]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_minor_formatter(NullFormatter())
    if unit:  # another scale has formatters of its own
        ax.xaxis.set_major_formatter(EngFormatter(unit=unit))


def ink(rgba: Sequence[float]) -> str:
    """Black or white, whichever reads better on this colour."""
    red, green, blue = rgba[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 0.5 else "white"
