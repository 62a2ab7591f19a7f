"""Drift is compared at one configuration, or shown as what it is: each arm's own."""

from __future__ import annotations

import json
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from made_study import confirm, search, study

from fl_analysis.plots.drift import drift_captions, drift_figure
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results import probes
from fl_analysis.results.outcome import outcomes
from fl_analysis.results.probes import probe_values, read_probes
from fl_analysis.tables.final import final_table

RATE = {"local.lr": 0.1, "local.momentum": 0.0}


def probe(arm: int, seed: int, **more: Any) -> dict[str, Any]:
    return {"phase": "probe", "number": seed, "seed": seed, "arm": arm, "val_accuracy": 0.99,
            "digest": f"p{arm}.{seed}", **RATE, **more}  # fmt: skip


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> StudyRuns:
    """Two arms, two probes each, and ones that must not count."""
    rows = [
        row for arm in (0, 1) for row in (search(0, 0.8, arm), confirm(0, 1, 0.7, 0.6, arm),
        probe(arm, 1), probe(arm, 2))
    ]  # fmt: skip
    rows += [probe(0, 3, **{"local.lr": 0.7}), probe(1, 3, status="diverged"), probe(0, 9)]
    made = study(rows, arms=2, probe=json.dumps(RATE))

    def every_round(of: StudyRuns, run_ids: list[str]) -> pd.DataFrame:
        seeds = of.trials.set_index("run_id")
        return pd.DataFrame([
            {"run_id": run, "round": n, "local_steps": n * seeds.at[run, "local.steps"],
             "client_drift": 10.0 * (seeds.at[run, "arm"] + 1) + seeds.at[run, "seed"] + n}
            for run in run_ids for n in (1, 2)
        ], columns=["run_id", "round", "local_steps", "client_drift"])  # fmt: skip

    monkeypatch.setattr(probes, "every_round", every_round)
    return made


def test_probes_of_the_common_values_are_averaged(runs: StudyRuns) -> None:
    frame = read_probes(runs)
    assert frame[["arm", "step", "runs"]].to_numpy().tolist() == [
        [0, 4, 2], [0, 8, 2], [1, 8, 2], [1, 16, 2],
    ]  # fmt: skip
    assert frame["mean"].tolist() == [12.5, 13.5, 22.5, 23.5]
    assert frame["std"].tolist() == pytest.approx([0.5**0.5] * 4)


def test_probes_enter_no_table(runs: StudyRuns) -> None:
    """Their validation accuracy is the highest of all."""
    for outcome in outcomes(runs):
        assert outcome.best is not None
        assert (outcome.best["val_accuracy"], outcome.trials) == (0.8, 1)
        assert outcome.confirmed["phase"].tolist() == ["confirm"]
    assert final_table(runs)["test_accuracy_mean"].tolist() == [0.6, 0.6]


def test_the_figure_and_its_caption_name_the_rate(runs: StudyRuns) -> None:
    figure = drift_figure(outcomes(runs), read_probes(runs))
    assert figure is not None
    lines = [line for ax in figure.axes for line in ax.get_lines() if len(line.get_xdata()) == 2]
    assert len(lines) == 2
    plt.close(figure)
    text = drift_captions(probe_values(runs), "")
    assert "one common configuration, lr = 0.1, momentum = 0" in text["drift"]
    assert "OWN learning rate" in text["drift_own"]


def test_without_probes_there_is_nothing_common(runs: StudyRuns) -> None:
    assert read_probes(study([search(0, 0.8), confirm(0, 1, 0.7, 0.6)])).empty
    assert drift_figure(outcomes(runs), pd.DataFrame({"arm": [], "mean": []})) is None
