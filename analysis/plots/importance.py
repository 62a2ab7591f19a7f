"""Which hyper-parameters decided the search: importance as bars, chance as ticks."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fl_analysis.plots.style import COLUMN, OKABE_ITO, new_figure, pretty
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.importance import importance
from fl_core.config.vocabulary import compact


def importance_figure(runs: StudyRuns) -> Figure | None:
    """PED-ANOVA importance as bars, chance as ticks; None when too few trials ran."""
    table = importance(runs.trials, runs.space)
    if table.empty:
        return None
    figure = new_figure(COLUMN, 0.95 + 0.24 * len(table))
    ax = figure.add_subplot()
    places = np.arange(len(table))
    ax.barh(places, table["importance"], height=0.6, color=OKABE_ITO[0], label="importance")
    ax.vlines(
        table["chance"], places - 0.4, places + 0.4, colors=OKABE_ITO[1], lw=1.6, label="chance"
    )
    ax.set_yticks(places, [pretty(compact(name)) for name in table["name"]])
    ax.invert_yaxis()
    ax.set_xlabel("PED-ANOVA importance (bars sum to 1)")
    ax.set_xlim(left=0)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.grid(axis="x")
    ax.set_axisbelow(True)
    figure.legend(loc="outside upper center", ncols=2, handlelength=1.2)
    return figure
