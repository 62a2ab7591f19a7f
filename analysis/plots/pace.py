"""How much clients did in a round, where that follows the training: J, and the size of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from fl_analysis.plots.curves import steps_figure
from fl_analysis.results.curves import WORK, Curves, is_course
from fl_analysis.results.outcome import Outcome

_AXES = dict(zip(WORK, ("J (local steps)", "examples of a local step"), strict=True))
PACE_CAPTIONS: Mapping[str, str] = {
    "steps_round": "J of each round against the work done, where J follows the training loss. Mean "
    "over the confirmation seeds, band: ± one sample standard deviation.",
    "batch_round": "Examples of a client's step against the work done, where batches follow the "
    "gradients' noise scale; a client with fewer takes all it has. Mean over the "
    "confirmation seeds, band: ± one sample standard deviation.",
}


def pace_figures(results: Sequence[Outcome], data: Curves) -> dict[str, Figure | None]:
    """A figure each, a line an arm whose work changes; None where there is no such arm."""
    found: dict[str, Figure | None] = {}
    for name, axis in _AXES.items():
        frame = data.over_runs(name)
        found[name] = steps_figure(results, frame, axis, 1.0) if is_course(frame) else None
    return found
