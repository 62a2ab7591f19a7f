"""What a round sends: as it was sent, and as it would have been in each encoding alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, NullLocator

from fl_analysis.plots.panels import arm_text, axes_of, legend
from fl_analysis.plots.style import OKABE_ITO, PAGE, log_ticks, new_figure
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.traffic import ENCODINGS, FLOAT, Traffic

_WAYS = {"up": "up: clients to server", "down": "down: server to clients"}
_LOOKS = {"dense": ("s", OKABE_ITO[4]), "index": (">", OKABE_ITO[1]), "bitmap": ("D", OKABE_ITO[2])}


def traffic_figure(results: Sequence[Outcome], found: Sequence[Traffic]) -> Figure | None:
    """A row an arm, a panel a direction: bytes of a round, and above them as parameters.

    None where several arms all send the same dense messages: there is nothing to see.
    """
    plain = all(arm.mean.keys() == set(_WAYS) for arm in found)
    if len(found) != 1 and plain and len({tuple(arm.mean.items()) for arm in found}) < 2:
        return None
    axes = axes_of(results)
    figure = new_figure(PAGE, 1.15 + 0.19 * len(found))
    grid = list(figure.subplots(1, 2, sharey=True))
    for ax, (way, title) in zip(grid, _WAYS.items(), strict=True):
        for place, arm in enumerate(found):
            for code in ENCODINGS:
                mark, colour = _LOOKS[code]
                if (value := arm.mean.get(f"{way}_{code}")) is not None:
                    ax.plot(value, place, mark, ms=5, color=colour, mew=0, alpha=0.9, label=code)
            ax.plot(arm.span[way], [place] * 2, color="black", lw=0.8)
            ax.plot(arm.mean[way], place, "o", ms=3, color="black", label="as sent")
        ax.set_title(title)
        values = [v for t in found for n, v in t.mean.items() if n.startswith(way)]
        values += [end for t in found for end in t.span[way] if end > 0]
        room = 1.25 if max(values) > 4 * min(values) else 2.5
        low, high = min(values) / room, max(values) * room
        ax.set_xscale("log")
        ax.set_xlim(low, high)
        _byte_axis(ax, "B", log_ticks(low, high))
        above = ax.secondary_xaxis(1.0, functions=(lambda b: b / FLOAT, lambda p: p * FLOAT))
        _byte_axis(above, "", log_ticks(low / FLOAT, high / FLOAT))
        ax.set_xlabel("bytes a round; above: parameters of 4 bytes")
        ax.grid(axis="x")
        ax.set_axisbelow(True)
        ax.tick_params(axis="y", length=0)
    grid[0].set_yticks(range(len(found)), [arm_text(t.arm, axes) for t in found])
    grid[0].set_ylim(len(found) - 0.4, -0.6)
    legend(figure, grid)
    return figure


def _byte_axis(ax: Any, unit: str, ticks: Sequence[float]) -> None:
    """Round numbers of bytes, or of parameters, and nothing between."""
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(EngFormatter(unit=unit))
    ax.xaxis.set_minor_locator(NullLocator())
