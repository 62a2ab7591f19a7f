"""Heat maps over a model's layers: where masks live, and where the clients' masks agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from textwrap import fill

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import CenteredNorm, Colormap, Normalize, PowerNorm
from matplotlib.figure import Figure

from fl_analysis.plots.layers import by_place
from fl_analysis.plots.panels import (
    axes_of,
    columns_of,
    facets,
    first_column,
    levels,
    longest,
    panel_grid,
)
from fl_analysis.plots.style import MORE, pretty
from fl_analysis.reading.fetch import mask_layers
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.labels import axis_value, level_label
from fl_analysis.results.outcome import Outcome
from fl_core.config.vocabulary import DASH

Layers = Mapping[int, pd.DataFrame]  # arm -> tensors, the mean over the seeds
_SAME = 0.9995  # Jaccard index of masks that are the same for every client
Row = tuple[str, int]  # band and block, -1 outside the blocks
_HEIGHT = 7.6  # inches: all rows of panels on a page
_ALONE = 3.0  # height of a band with one row, in rows: room for its name


def read_layers(runs: StudyRuns, results: Sequence[Outcome]) -> dict[int, pd.DataFrame]:
    """The mask tables of the arms that have them, averaged over their confirmation runs."""
    tables: dict[int, pd.DataFrame] = {}
    for outcome in results:
        seen = outcome.confirmed[outcome.confirmed["mask_active_share"].notna()]
        table = mask_layers(runs, list(seen["run_id"])) if len(seen) else None
        if table is not None:
            tables[outcome.arm] = table
    return tables


def overlap_figure(results: Sequence[Outcome], tables: Layers) -> Figure | None:
    """Excess of the Jaccard index over chance, layer by layer; white is chance.

    Masks that look at no data are the same for every client: an excess that says nothing, and
    would leave the others colourless if the scale reached that far.
    """
    cells = _cells(tables, "excess")
    if not cells:
        return None
    alike = _cells(tables, "jaccard")
    sizes = [cells[arm].abs()[alike[arm] < _SAME].max() for arm in cells]
    limit = max((size for size in sizes if math.isfinite(size)), default=1.0)
    norm = CenteredNorm(0, max(0.01, limit))
    label = "Jaccard index above chance"
    over = max(values.max() for values in cells.values()) > norm.halfrange
    return _figure(results, cells, (matplotlib.colormaps["RdBu_r"], norm), label, over)


def active_figure(results: Sequence[Outcome], tables: Layers) -> Figure | None:
    """Trainable share of each layer; the colour scale is stretched towards small shares."""
    cells = _cells(tables, "active_share")
    if not cells:
        return None
    norm = PowerNorm(0.5, 0, 100 * max(np.nanmax(c) for c in cells.values()))
    shares = {arm: 100 * c for arm, c in cells.items()}
    return _figure(results, shares, (matplotlib.colormaps[MORE], norm), "active share [%]")


def _cells(tables: Layers, column: str) -> dict[int, pd.Series]:
    """Arm -> value by (band, block), for the arms that have any."""
    cells = {arm: by_place(table, column) for arm, table in tables.items()}
    return {arm: values for arm, values in cells.items() if values.notna().any()}


def _figure(
    results: Sequence[Outcome],
    cells: Mapping[int, pd.Series],
    scale: tuple[Colormap, Normalize],
    label: str,
    over: bool = False,
) -> Figure:
    """Rows: bands, within one the blocks downwards; columns: the axis with most levels (the rule
    where it varies); a panel for each setting of the other axes. `over`: some values are beyond
    the scale.
    """
    shown = [o for o in results if o.arm in cells]
    axes = axes_of(shown)
    across = "mask.rule" if "mask.rule" in axes else longest(axes, shown) if axes else None
    found = facets(shown, axes, [across] if across else [])
    columns = levels(across, shown) if across else [DASH]
    rows = sorted({row for values in cells.values() for row in values.index}, key=_order(cells))
    most = 3 if len(found.parts) <= 6 else 4
    down = math.ceil(len(found.parts) / columns_of(found, most))
    panel = min(0.03 * _edges(rows)[-1] + 1.2, _HEIGHT / down)
    figure, grid = panel_grid(found, True, height=panel, extra=0.9, most=most)
    for ax, (_, group) in zip(grid, found.parts, strict=True):
        mine = {axis_value(across, o.config) if across else DASH: cells[o.arm] for o in group}
        mesh = _draw(ax, rows, [mine.get(column) for column in columns])
        mesh.set(cmap=scale[0].with_extremes(bad="#d0d0d0"), norm=scale[1])
        names = [fill(pretty(level_label(across, c)), 16) for c in columns] if across else [""]
        ax.set_xticks([i + 0.5 for i in range(len(columns))], names, rotation=90)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        if first_column(ax):
            _label_bands(ax, rows)
    bar = figure.colorbar(
        mesh,
        ax=grid if len(grid) > 1 else grid[0],
        pad=0.02,
        aspect=30,
        extend="max" if over else "neither",
    )
    bar.set_label(label)
    bar.outline.set_visible(False)
    return figure


def _order(cells: Mapping[int, pd.Series]) -> Callable[[Row], tuple[int, int]]:
    """Bands as the models name them first, blocks downwards."""
    bands = list(dict.fromkeys(band for values in cells.values() for band, _ in values.index))
    return lambda row: (bands.index(row[0]), row[1])


def _edges(rows: Sequence[Row]) -> list[float]:
    """Upper edges of the rows and the last lower one; a band of one row is high enough to name."""
    sizes = Counter(band for band, _ in rows)
    edges = [0.0]
    for band, _ in rows:
        edges.append(edges[-1] + (_ALONE if sizes[band] == 1 else 1.0))
    return edges


def _draw(ax: Axes, rows: Sequence[Row], columns: Sequence[pd.Series | None]) -> QuadMesh:
    grid = np.full((len(rows), len(columns)), np.nan)
    for column, values in enumerate(columns):
        if values is not None:
            grid[:, column] = values.reindex(pd.Index(rows, tupleize_cols=False)).to_numpy()
    edges = _edges(rows)
    mesh = ax.pcolormesh(np.arange(len(columns) + 1), edges, np.ma.masked_invalid(grid))
    for index, (band, _) in enumerate(rows[1:], start=1):
        if band != rows[index - 1][0]:
            ax.axhline(edges[index], color="white", lw=1.5)
    ax.set_ylim(edges[-1], 0)
    return mesh


def _label_bands(ax: Axes, rows: Sequence[Row]) -> None:
    """A band's name at its middle."""
    edges = _edges(rows)
    ends: dict[str, tuple[float, float]] = {}
    for index, (band, _) in enumerate(rows):
        top = ends.get(band, (edges[index], 0.0))[0]
        ends[band] = (top, edges[index + 1])
    ax.set_yticks([(top + end) / 2 for top, end in ends.values()], list(ends))
