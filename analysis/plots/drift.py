"""Client drift: at one configuration for all arms, or else at each arm's own.

Drift grows with J x lr / (1 - momentum): where every arm has its own learning rate, the figure
compares the rates that won rather than the arms, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from fl_analysis.plots.curves import log_if_wide, steps_figure
from fl_analysis.results.curves import is_course
from fl_analysis.results.outcome import Outcome
from fl_core.config.vocabulary import cell, compact

_WHAT = (
    "mean over the sampled clients of the L2 distance between a client's parameters after its "
    "local work and the server's before it (equation 4 of Pirilli et al. divides their sum by all "
    "K clients instead: C times this; rounds.csv of every run has both)"
)


def drift_figure(results: Sequence[Outcome], drift: pd.DataFrame) -> Figure | None:
    """Drift against local steps, one line an arm; `drift`: a row (arm, step) with mean and std."""
    drift = drift[drift["mean"] > 0]
    if not is_course(drift):
        return None
    figure = steps_figure(results, drift, "client drift (L2)", 1.0)
    log_if_wide(figure.axes, drift["mean"])
    return figure


def drift_captions(probe: Mapping[str, Any], own: str) -> dict[str, str]:
    """Captions of both figures. probe: what the probes share; own: whose runs the others are."""
    values = ", ".join(f"{compact(name)} = {cell(value)}" for name, value in probe.items())
    return {
        "drift": f"Client drift at one common configuration, {values}, in every arm, and all else "
        f"as the arm has it before its search: {_WHAT}, every round. Short runs of their own, with "
        "the first seeds of the confirmation, tuned by nobody and in no table; mean, band: ± one "
        "sample standard deviation. An arm whose runs diverged at these values is not drawn.",
        "drift_own": f"Client drift at each arm's OWN learning rate and momentum: {_WHAT}. It "
        "grows with J × lr / (1 − momentum), so arms differ here by which rate won as much as by "
        f"their clients. {own}",
    }
