"""Whole studies as a user runs them: real processes, real signals, real stores."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

ROOT = Path(__file__).parents[1]
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

    def run(self, study: str, *argv: str) -> subprocess.CompletedProcess[str]:
        result = subprocess.run(
            self.command(study, *argv),
            cwd=self.folder, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        return result

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


@pytest.mark.parametrize(
    ("moment", "progress"), [("search", 3), ("confirmation", 7)], ids=lambda value: str(value)
)
def test_killed_driver_continues_to_the_same_table(
    moment: str, progress: int, undisturbed: tuple[Place, str], tmp_path: Path
) -> None:
    """SIGKILL in mid-study; the same command finishes it with the undisturbed run's numbers."""
    place = Place(tmp_path)
    options = [*SHORT, "--set", "eval_every=1"]
    process = subprocess.Popen(
        place.command("fedavg_iid", *options),
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    trials = tmp_path / "out" / "trials"
    deadline = time.monotonic() + 180
    while not trials.exists() or len(list(trials.glob("*.safetensors"))) < progress:
        assert process.poll() is None, "finished before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    process.wait()
    done = {p: p.stat().st_mtime_ns for p in trials.glob("*.safetensors")}
    place.run("fedavg_iid", *options)
    pd.testing.assert_frame_equal(place.table(), undisturbed[0].table())
    kept = [p for p, written in done.items() if p.stat().st_mtime_ns == written]
    assert len(kept) >= len(done) - 1  # at most the one that was running was touched
    runs = [run for run in place.runs() if run.data.tags["kind"] == "trial"]
    keys = [(run.data.tags["phase"], run.data.tags["number"]) for run in runs]
    assert sorted(keys) == sorted(set(keys))
    assert {run.data.tags["status"] for run in runs} == {"finished"}


def test_interrupt_says_how_to_go_on_and_trials_extend(tmp_path: Path) -> None:
    place = Place(tmp_path)
    options = ["--preset", "smoke", "--workers", "1", "--seeds", "1"]
    process = subprocess.Popen(
        place.command("fedavg_iid", *options, "--trials", "50"),
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    journal = tmp_path / "out" / "trials"
    deadline = time.monotonic() + 180
    while not journal.exists() or not list(journal.glob("*.safetensors")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from here" in errors
    assert "Traceback" not in errors
    ended = len(list(journal.glob("*.safetensors")))
    place.run("fedavg_iid", *options, "--trials", str(ended + 2))
    assert place.table()["trials"][0] == ended + 2


def test_smoke_study_twice_gives_the_same_table(tmp_path: Path) -> None:
    """The main study, two trials at a time, from scratch in two places."""
    tables = []
    for name in ("one", "two"):
        place = Place(tmp_path / name)
        place.folder.mkdir()
        place.run("fedavg_noniid", "--preset", "smoke")
        tables.append((place.folder / "out" / "table.csv").read_text())
    assert tables[0] == tables[1]
    assert len(tables[0].splitlines()) == 16


def test_centralized_smoke(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.run("centralized", "--preset", "smoke", "--trials", "3")
    table = place.table()
    assert list(table["schedule.name"]) == ["constant", "step", "cosine", "warmup_cosine"]
    assert (table["test_accuracy_mean"] > 0.5).all()


OBJECTIVES = '''
"""Accuracy against bytes."""
from fl_core.command import main
from fl_core.study import Preset, Study


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
    for _ in range(2):
        result = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
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
