"""The study's answer as a table whose cells are coloured: the heat map that every screen fits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from matplotlib.colors import to_hex

from fl_analysis.plots.style import amounts, ink
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.pivot import pivot

Shades = Mapping[tuple[int, int], tuple[str, str]]
_ENDS = (0.05, 0.85)  # of the map: its palest and darkest colours hide what is written on them


def shades(results: Sequence[Outcome]) -> Shades:
    """Row and column of `pivot_block` -> background and colour of the text; darker is more.

    Empty where there is nothing to compare.
    """
    grid = pivot(results)
    found = {
        (y, x + len(grid.row_heads)): arm.mean
        for y, row in enumerate(grid.cells)
        for x, arm in enumerate(row)
        if arm is not None and math.isfinite(arm.mean)
    }
    low, high = min(found.values(), default=0.0), max(found.values(), default=0.0)
    if high <= low:
        return {}
    scale, (first, last) = amounts(), _ENDS
    colours = {
        place: scale(first + (last - first) * (mean - low) / (high - low))
        for place, mean in found.items()
    }
    return {place: (to_hex(colour), ink(colour)) for place, colour in colours.items()}
