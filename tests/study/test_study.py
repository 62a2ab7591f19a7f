"""Whole studies as a user runs them: real stores, a real process, Ray (faults: tests/faults)."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from faults import expect
from faults.place import SEEDS, TRIALS, Place
from mlflow import MlflowClient
from mlflow.entities import Run
from once import once


@pytest.fixture(scope="session")
def with_ray(tmp_path_factory: pytest.TempPathFactory) -> tuple[Place, str]:
    """The command with all its defaults, in an empty folder; what it printed."""

    def fill(folder: Path) -> None:
        (folder / "first.txt").write_text(Place.of(folder).run(figures=True).printed)

    place = Place.of(once(tmp_path_factory, "with-ray", fill))
    return place, (place.folder / "first.txt").read_text()


def test_outputs(with_ray: tuple[Place, str]) -> None:
    place, printed = with_ray
    for name in ("table.md", "table.csv", "table.tex", "study.yaml", "optuna.journal"):
        assert (place.out / name).stat().st_size > 0
    assert list((place.out / "figures").glob("*.png"))
    mean, std = place.frame()[["test_accuracy_mean", "test_accuracy_std"]].iloc[0] * 100
    assert f"{mean:.1f} ± {std:.1f}" in printed
    for where in ("table.csv", "figures", place.uri):
        assert where in printed
    table = place.frame()
    assert len(table) == 1
    assert table["federation.sharding"][0] == "iid"
    assert table["seeds"][0] == 2
    assert table["trials"][0] == 6
    assert 0.3 < table["test_accuracy_mean"][0] < 0.85
    assert 0 < table["test_accuracy_std"][0] < 0.1
    resolved = yaml.safe_load((place.out / "study.yaml").read_text())
    assert resolved["preset"] == "smoke"
    assert resolved["base"]["federation.clients"] == 100
    assert "local.lr" in resolved["space"]


def test_with_ray_and_without_it_is_the_same(
    with_ray: tuple[Place, str], undisturbed: Place
) -> None:
    place, _ = with_ray
    expect.every_round_once(place)
    expect.same_results(place, undisturbed)
    assert not list(place.scratch.iterdir()), "temporary files are left"


def test_mlflow_structure(with_ray: tuple[Place, str]) -> None:
    """study -> arm -> trial; complete parameters; test metrics in the confirmation alone."""
    place, _ = with_ray
    kinds: dict[str, list[Run]] = {}
    for run in place.runs():
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
    client = MlflowClient(place.uri)
    files = {file.path for file in client.list_artifacts(study.info.run_id)}
    assert {"table.md", "table.csv", "table.tex", "appendix.tex"} <= files
    history = client.get_metric_history(kinds["trial"][0].info.run_id, "val_accuracy")
    steps = [metric.step for metric in history]
    assert steps == sorted(set(steps))
    assert steps[-1] == 64


@pytest.mark.parametrize("ray", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_same_command_again_repeats_nothing(ray: bool, with_ray: tuple[Place, str]) -> None:
    place, first = with_ray
    trials = {path: path.stat().st_mtime_ns for path in place.trial_files()}
    before = len(place.runs())
    again = place.run(figures=True) if ray else place.run_here(figures=True)
    assert {path: path.stat().st_mtime_ns for path in place.trial_files()} == trials
    assert len(place.runs()) == before
    assert len(trials) == TRIALS + SEEDS
    strip = lambda text: text[text.index("Test accuracy [%]") : text.index("done in")]  # noqa: E731
    assert strip(again.printed) == strip(first)


@pytest.mark.soak
def test_smoke_study_twice_gives_the_same_table(tmp_path: Path) -> None:
    """The main study, from scratch in two places: two trials at a time, and one without Ray. Its
    arms keep their order.
    """
    short = ("--preset", "smoke", "--trials", "2", "--seeds", "1")
    two, one = (Place.at(tmp_path / name, "fedavg_noniid", short) for name in ("two", "one"))
    two.run(figures=True)
    one.run_here()
    assert two.table() == one.table()
    table = one.frame()
    assert list(table["local.steps"]) == [4, 8, 16] * 5
    assert set(table["trials"]) == {2}
    assert set(table["seeds"]) == {1}


def test_centralized_smoke(tmp_path: Path) -> None:
    place = Place.at(
        tmp_path,
        "centralized",
        ("--preset", "smoke", "--trials", "2", "--seeds", "1", "--no-neighbours"),
    )
    place.run_here()
    table = place.frame()
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
STUDY = Study("bytes", __doc__, BASE, ARMS, space, PRESETS, objectives=("bytes_up",))

if __name__ == "__main__":
    main(STUDY)
'''


@pytest.mark.parametrize("ray", [False, pytest.param(True, marks=pytest.mark.soak)])
def test_front_of_a_study_with_two_objectives(ray: bool, tmp_path: Path) -> None:
    """Every point of the front is confirmed with every seed; a second run repeats nothing."""
    file = tmp_path / "bytes.py"
    file.write_text(OBJECTIVES)
    place = replace(Place.at(tmp_path), file=file, options=("--preset", "smoke", "--workers", "2"))
    printed = (place.run(figures=True) if ray else place.run_here()).printed
    place.run_here()
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
    assert "confirm 4/4 trials" in printed
