"""What the analysis found, back in the store: each arm's result; on the study's run the answer,
tables and figures.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from fl_core.study.jobs import SCORE
from fl_core.study.resolved import ResolvedStudy
from fl_core.study.result import chosen_config

if TYPE_CHECKING:
    import pandas as pd

    from fl_analysis.reading.store import StudyRuns
    from fl_analysis.results.outcome import Outcome
    from fl_core.study.tracking.arm_runs import ArmResult
    from fl_core.study.tracking.tracker import Tracker

TABLES = (
    "*.md",
    "*.html",
    "*.csv",
    "*.tex",
    "*.bib",
)  # of a study's folder, each whole or not there
DIGITS = 5  # after the point: MLflow's columns are narrow, and tables are made of the trials


def log_findings(tracker: Tracker, study: ResolvedStudy, runs: StudyRuns, out: Path) -> str | None:
    """Log them; out: the study's folder, with its tables and figures. A warning if not all came."""
    from fl_analysis.results.answer import answer
    from fl_analysis.results.curves import read_curves
    from fl_analysis.results.outcome import outcomes
    from fl_analysis.tables.pivot import pivot_block
    from fl_analysis.tables.render import markdown

    results = outcomes(runs)
    chosen = [found for found in results if found.best is not None]
    if chosen:
        drawn = read_curves(runs).frame
        for found in chosen:
            mine = drawn[drawn["arm"] == found.arm]
            tracker.arm_result(_result(study, found, mine))
    text = f"**{answer(results)}**\n\n{markdown('', [pivot_block(results)]).removeprefix('# ')}"
    tables = [(path, "") for pattern in TABLES for path in sorted(out.glob(pattern))]
    figures = [(path, "figures") for path in sorted((out / "figures").glob("*.*"))]
    return tracker.summary(text, [*tables, *figures])


def _result(study: ResolvedStudy, found: Outcome, curve: pd.DataFrame) -> ArmResult:
    """An arm's result; curve: mean validation accuracy by step."""
    from fl_analysis.results.labels import percent
    from fl_core.study.tracking.arm_runs import ArmResult

    assert found.best is not None
    arm = study.arms[found.arm]
    metrics = {
        SCORE: float(found.best["val_accuracy"]),  # of the best trial of the search
        "test_accuracy": found.mean,
        "test_accuracy_std": found.std,
        "seeds": float(len(found.confirmed)),
        "trials": float(found.trials + found.neighbours),
        "diverged_share": found.diverged,
    }
    seeds, points = len(found.confirmed), zip(curve["step"], curve["mean"], strict=True)
    tested = f"{percent(found.mean, found.std)} % over {seeds} confirmation seeds"
    return ArmResult(
        arm=arm,
        best=chosen_config(arm, found),
        metrics={n: round(value, DIGITS) for n, value in metrics.items() if math.isfinite(value)},
        curve={int(step): round(mean, DIGITS) for step, mean in points},
        answer=f"**Test accuracy {tested}**" if seeds else "Not confirmed.",
    )
