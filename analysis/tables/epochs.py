"""When the runs of each arm were best, for studies that keep the best evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.curves import NEAR, Peak, in_epochs, peaks, read_curves
from fl_analysis.results.outcome import Outcome
from fl_analysis.tables.escapes import csv
from fl_analysis.tables.render import Block
from fl_core.config.vocabulary import DASH


def _kept(runs: StudyRuns, results: Sequence[Outcome]) -> Mapping[int, Peak]:
    """The arms that keep their best evaluation and have a curve."""
    if not any(o.config.get("keep") == "best" for o in results):
        return {}
    found = peaks(results, read_curves(runs))
    return {arm: peak for arm, peak in found.items() if peak.arm.config.get("keep") == "best"}


def epochs_block(runs: StudyRuns, results: Sequence[Outcome]) -> Block | None:
    """One row an arm; None where no arm keeps its best evaluation."""
    found = _kept(runs, results)
    if not found:
        return None
    one, many = ("epoch", "epochs") if in_epochs(results) else ("round", "rounds")
    rows = [
        [peak.arm.name, *map(_mean_std, (peak.best, peak.needed, peak.ran)), str(peak.runs)]
        for peak in found.values()
    ]
    text = (
        f"When the runs were best: best {one}: that of the highest validation accuracy (the first "
        f"of equals), whose parameters count; {many} needed: until the first evaluation within "
        f"{100 * NEAR:g} points of the run's best; {many} run: until it stopped. Mean ± sample "
        "standard deviation (ddof = 1) over the confirmation seeds, or the chosen search trial "
        "alone where these have no validation accuracy."
    )
    header = ["arm", f"best {one}", f"{many} needed", f"{many} run", "runs"]
    return Block("epochs", text, header, rows, [], [])


def epochs_csv(runs: StudyRuns, results: Sequence[Outcome]) -> str | None:
    """The block at full precision; None as for the block."""
    records = [
        {
            "arm": peak.arm.name,
            "unit": "epochs" if in_epochs(results) else "rounds",
            **{
                f"{name}_{part}": value
                for name, pair in (("best", peak.best), ("needed", peak.needed), ("run", peak.ran))
                for part, value in zip(("mean", "std"), pair, strict=True)
            },
            "runs": peak.runs,
        }
        for peak in _kept(runs, results).values()
    ]
    return csv(pd.DataFrame(records)) if records else None


def _mean_std(pair: tuple[float, float]) -> str:
    mean, std = pair
    return f"{mean:.1f} ± {f'{std:.1f}' if math.isfinite(std) else DASH}"
