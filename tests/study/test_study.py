"""Whole studies as a user runs them: real processes, real stores (faults: test_faults.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from faults.events import Events
from mlflow import MlflowClient
from mlflow.entities import Run

ROOT = Path(__file__).parents[2]
SHORT = ["--preset", "smoke", "--workers", "1", "--trials", "6", "--seeds", "2"]

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Place:
    """A folder with a study's outputs and its own store."""

    folder: Path

    def command(self, study: str, *argv: str) -> list[str]:
        where = ["--out", str(self.folder / "out"), "--tracking-uri", self.uri]
        return [sys.executable, str(ROOT / f"studies/{study}.py"), *where, *argv]

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder}/mlflow.db"

    def run(self, study: str, *argv: str, figures: bool = True) -> subprocess.CompletedProcess[str]:
        """`figures`: drawing takes longer than a short study."""
        result = subprocess.run(
            self.command(study, *argv),
            cwd=self.folder, capture_output=True, text=True, timeout=300, check=False,
            env=None if figures else self.no_figures,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return result

    @property
    def no_figures(self) -> dict[str, str]:
        """The environment of a study that draws none."""
        return {**os.environ, **Events(self.folder / "events.log").environment}

    def table(self) -> pd.DataFrame:
        return pd.read_csv(self.folder / "out" / "table.csv")

    def runs(self) -> list[Run]:
        client = MlflowClient(self.uri)
        experiments = [e.experiment_id for e in client.search_experiments()]
        return list(client.search_runs(experiments, max_results=1000))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, str]:
    place = Place(tmp_path_factory.mktemp("undisturbed"))
    return place, place.run("fedavg_iid", *SHORT, "--set", "eval_every=1").stdout


def test_outputs(undisturbed: tuple[Place, str]) -> None:
    place, printed = undisturbed
    out = place.folder / "out"
    for name in ("table.md", "table.csv", "table.tex", "study.yaml", "optuna.journal"):
        assert (out / name).stat().st_size > 0
    assert list((out / "figures").glob("*.png"))
    assert (out / "table.md").read_text().strip() in printed
    for where in ("table.csv", "figures", place.uri):
        assert where in printed
    table = place.table()
    assert len(table) == 1
    assert table["federation.sharding"][0] == "iid"
    assert table["seeds"][0] == 2
    assert table["trials"][0] == 6
    assert 0.3 < table["test_accuracy_mean"][0] < 0.85
    assert 0 < table["test_accuracy_std"][0] < 0.1
    resolved = yaml.safe_load((out / "study.yaml").read_text())
    assert resolved["preset"] == "smoke"
    assert resolved["base"]["federation.clients"] == 100
    assert "local.lr" in resolved["space"]


def test_mlflow_structure(undisturbed: tuple[Place, str]) -> None:
    """study -> arm -> trial; complete parameters; test metrics in the confirmation alone."""
    runs = undisturbed[0].runs()
    kinds: dict[str, list[Run]] = {}
    for run in runs:
        kinds.setdefault(run.data.tags["kind"], []).append(run)
    assert {kind: len(found) for kind, found in kinds.items()} == {"study": 1, "arm": 1, "trial": 8}
    study, arm = kinds["study"][0], kinds["arm"][0]
    assert arm.data.tags["mlflow.parentRunId"] == study.info.run_id
    assert {run.info.status for run in (study, arm)} == {"FINISHED"}
    versions = json.loads(study.data.tags["versions"])
    assert {"torch", "timm", "ray", "optuna", "mlflow"} <= set(versions)
    for trial in kinds["trial"]:
        assert trial.data.tags["mlflow.parentRunId"] == arm.info.run_id
        assert trial.data.params["local.lr"] != ""
        assert len(trial.data.params) > 35
        confirming = trial.data.tags["phase"] == "confirm"
        assert ("test_accuracy" in trial.data.metrics) == confirming
        assert ("test_loss" in trial.data.metrics) == confirming
        assert trial.data.tags["status"] == "finished"
    history = MlflowClient(undisturbed[0].uri).get_metric_history(
        kinds["trial"][0].info.run_id, "val_accuracy"
    )
    steps = [metric.step for metric in history]
    assert steps == sorted(set(steps))
    assert steps[-1] == 64


def test_same_command_again_repeats_nothing(undisturbed: tuple[Place, str]) -> None:
    place, printed = undisturbed
    trials = {p: p.stat().st_mtime_ns for p in (place.folder / "out/trials").iterdir()}
    before = len(place.runs())
    again = place.run("fedavg_iid", *SHORT, "--set", "eval_every=1").stdout
    assert {p: p.stat().st_mtime_ns for p in (place.folder / "out/trials").iterdir()} == trials
    assert len(place.runs()) == before
    strip = lambda text: text[text.index("# fedavg_iid") : text.index("done in")]  # noqa: E731
    assert strip(again) == strip(printed)


def test_smoke_study_twice_gives_the_same_table(tmp_path: Path) -> None:
    """The main study, from scratch in two places: two trials at a time, and one without Ray."""
    tables = []
    for name, options in {"two": [], "one": ["--serial"]}.items():
        place = Place(tmp_path / name)
        place.folder.mkdir()
        place.run("fedavg_noniid", "--preset", "smoke", *options, figures=not options)
        tables.append((place.folder / "out" / "table.csv").read_text())
    assert tables[0] == tables[1]
    assert len(tables[0].splitlines()) == 16


def test_centralized_smoke(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run("centralized", "--preset", "smoke", "--trials", "3", "--serial", figures=False)
    table = place.table()
    assert list(table["schedule.name"]) == ["constant", "step", "cosine", "warmup_cosine"]
    assert (table["test_accuracy_mean"] > 0.5).all()


OBJECTIVES = '''
"""Accuracy against bytes."""
from fl_core.study.command import main
from fl_core.study.presets import Preset
from fl_core.study.study import Study


def space(trial):
    return {
        "local.lr": trial.suggest_float("local.lr", 0.01, 1.0, log=True),
        "federation.participation": trial.suggest_categorical(
            "federation.participation", [0.02, 0.1]
        ),
    }


BASE = {"federation.clients": 100}
ARMS = [{"local.steps": 4}]
PRESETS = {"smoke": Preset("short", budget=32, eval_steps=16, trials=6, seeds=2)}
main(Study("bytes", __doc__, BASE, ARMS, space, PRESETS, objectives=("bytes_up",)))
'''


def test_front_of_a_study_with_two_objectives(tmp_path: Path) -> None:
    """Every point of the front is confirmed with every seed; a second run repeats nothing."""
    place = Place(tmp_path)
    (tmp_path / "bytes.py").write_text(OBJECTIVES)
    command = place.command("fedavg_iid", "--preset", "smoke", "--workers", "2")
    command[1] = str(tmp_path / "bytes.py")
    printed = []
    for options in ([], ["--serial"]):
        result = subprocess.run(
            [*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=300,
            env=None if not options else place.no_figures, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        printed.append(result.stdout)
    runs = place.runs()
    (study,) = [run for run in runs if run.data.tags["kind"] == "study"]
    assert json.loads(study.data.tags["objectives"]) == ["bytes_up"]
    trials = [run for run in runs if run.data.tags["kind"] == "trial"]
    search = [run for run in trials if run.data.tags["phase"] == "search"]
    points = {(run.data.metrics["score"], run.data.metrics["bytes_up"]) for run in search}
    front = {p for p in points if not any(q != p and q[0] >= p[0] and q[1] <= p[1] for q in points)}
    confirmed = [run for run in trials if run.data.tags["phase"] == "confirm"]
    assert len(search) == 6
    assert len(front) == 2  # one for each participation
    assert len(confirmed) == 2 * len(front)
    assert len({run.data.params["federation.participation"] for run in confirmed}) == 2
    assert all("test_accuracy" in run.data.metrics for run in confirmed)
    assert "confirm 4/4 trials" in printed[0]
