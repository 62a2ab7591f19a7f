"""Drift at one configuration for all arms: what a study's probes measured, round by round."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from fl_analysis.reading.fetch import every_round
from fl_analysis.reading.frames import json_tag
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.matching import same


def probe_values(runs: StudyRuns) -> Mapping[str, Any]:
    """The nuisance values that the study's probes share; none where it has no probes."""
    return json_tag(runs.tags, "probe", {})


def read_probes(runs: StudyRuns) -> pd.DataFrame:
    """Mean and std (0 for one run) of client drift over an arm's probes, at every round that all of
    them did: a row (arm, step) with mean, std, runs. Probes of other values, or that diverged, are
    left out.
    """
    values = probe_values(runs)
    rows = runs.trials[(runs.trials["phase"] == "probe") & (runs.trials["status"] == "finished")]
    rows = rows[same(rows, values, list(values))] if values else rows.iloc[:0]
    if runs.seeds and len(rows):
        rows = rows[rows["seed"].isin(runs.seeds)]
    owner = dict(zip(rows["run_id"], rows["arm"], strict=True))
    table = every_round(runs, list(owner))
    table["arm"] = table["run_id"].map(owner)
    frame = (
        table.groupby(["arm", "round"])
        .agg(
            step=("local_steps", "mean"),  # where J varies, runs differ in it
            mean=("client_drift", "mean"),
            std=("client_drift", "std"),
            runs=("client_drift", "size"),
        )
        .reset_index()
    )
    most = frame.groupby("arm")["runs"].transform("max")
    return frame[frame["runs"] == most].fillna({"std": 0.0})
