"""The tracker against a real SQLite store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from fl_core.config import TrialConfig, UserError
from fl_core.jobs import Arm, Job
from fl_core.options import check_uri
from fl_core.tracking import Tracker

TAGS = {"study": "s", "preset": "smoke", "arms": "[]"}


def arm(name: str = "iid", seed: int = 0) -> Arm:
    return Arm(name, {"seed": seed}, TrialConfig().override({"seed": seed}))


def job(number: int = 0, lr: float = 0.1, phase: str = "search", index: int = 0) -> Job:
    config = arm().config.override({"local.lr": lr, "seed": number})
    return Job(phase, index, number, config, {"local.lr": lr})


def record(step: int, **more: Any) -> dict[str, Any]:
    values = {"local_steps": step, "round": step // 4, "train_loss": 1.0, "val_accuracy": 0.5}
    return {**values, "done": False, "diverged": False, "trial_id": "x", **more}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One database for all tests (setting one up takes seconds); an experiment a test."""
    folder = tmp_path_factory.mktemp("store")
    Tracker(f"sqlite:///{folder}/mlflow.db", "set-up")
    return f"sqlite:///{folder}/mlflow.db"


def runs(store: str, experiment: str) -> dict[str, Any]:
    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    return {run.info.run_name: run for run in client.search_runs([found.experiment_id])}


def test_tree_parameters_and_ends(store: str) -> None:
    tracker = Tracker(store, "tree")
    study = tracker.open("d", TAGS, [arm()])
    for number, status in enumerate(("finished", "pruned", "diverged", "failed")):
        tracker.job_started(job(number))
        tracker.job_record(job(number), record(4))
        tracker.job_ended(job(number), status, "why" if status == "failed" else "")
    tracker.text(tracker.arm_run(arm()), "a: 1\n", "best.yaml")
    assert tracker.close("FINISHED") is None
    tree = runs(store, "tree")
    trials = [f"iid #{number} lr=0.1" for number in range(4)]
    assert set(tree) == {"s (smoke)", "iid", *trials}
    assert tree["iid"].data.tags["mlflow.parentRunId"] == study
    ends = {
        name: (run.info.status, run.data.tags["status"])
        for name, run in tree.items()
        if "#" in name
    }
    assert ends == {
        "iid #0 lr=0.1": ("FINISHED", "finished"),
        "iid #1 lr=0.1": ("KILLED", "pruned"),
        "iid #2 lr=0.1": ("FINISHED", "diverged"),
        "iid #3 lr=0.1": ("FAILED", "failed"),
    }
    assert tree["iid #3 lr=0.1"].data.tags["message"] == "why"
    trial = tree["iid #1 lr=0.1"]
    flat = job(1).config.to_flat()
    assert trial.data.params == {name: str(value) for name, value in flat.items()}
    assert trial.data.tags["digest"] == job(1).config.digest()
    assert json.loads(trial.data.tags["chosen"]) == {"local.lr": 0.1}
    assert trial.data.tags["mlflow.parentRunId"] == tree["iid"].info.run_id
    names = {"local_steps", "round", "train_loss", "val_accuracy"}
    assert set(trial.data.metrics) == names  # and no bookkeeping of Tune's
    client = MlflowClient(store)
    assert [a.path for a in client.list_artifacts(tree["iid"].info.run_id)] == ["best.yaml"]


def test_resumed_trial_continues_its_own_run(store: str) -> None:
    first = Tracker(store, "resume")
    first.open("d", TAGS, [arm()])
    first.job_started(job())
    for step in (4, 8):
        first.job_record(job(), record(step))
    first.close("KILLED")  # the driver ended; the trial did not

    second = Tracker(store, "resume")
    second.open("d", {**TAGS, "trials": "9"}, [arm()])
    assert second.knows(job())
    assert not second.knows(job(1))
    second.job_started(job())
    for step in (4, 8, 12, 16):  # the recorded curve, then new rounds
        second.job_record(job(), record(step))
    second.job_ended(job(), "finished", "")
    second.close("FINISHED")
    tree = runs(store, "resume")
    assert set(tree) == {"s (smoke)", "iid", "iid #0 lr=0.1"}
    assert tree["s (smoke)"].data.tags["trials"] == "9"
    history = MlflowClient(store).get_metric_history(tree["iid #0 lr=0.1"].info.run_id, "round")
    assert [(metric.step, metric.value) for metric in history] == [(4, 1), (8, 2), (12, 3), (16, 4)]


def test_past_trials_fill_a_new_store(store: str) -> None:
    tracker = Tracker(store, "past")
    tracker.open("d", TAGS, [arm()])
    tracker.log_past(job(), "pruned", [record(4), record(8)])
    tracker.close("FINISHED")
    trial = runs(store, "past")["iid #0 lr=0.1"]
    assert trial.data.tags["status"] == "pruned"
    assert trial.data.metrics["round"] == 2


def test_another_winner_gets_another_confirmation_run(store: str) -> None:
    tracker = Tracker(store, "winner")
    tracker.open("d", TAGS, [arm()])
    for lr in (0.1, 0.2):
        tracker.job_started(job(1, lr, "confirm"))
        tracker.job_ended(job(1, lr, "confirm"), "finished", "")
    tracker.close("FINISHED")
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("winner").experiment_id
    found = client.search_runs([experiment], "tags.phase = 'confirm'")
    assert sorted(run.data.params["local.lr"] for run in found) == ["0.1", "0.2"]


def test_metrics_of_messages_and_masks(store: str) -> None:
    tracker = Tracker(store, "families")
    tracker.open("d", TAGS, [arm()])
    logged = {"bytes_up": 8.0, "bytes_up_bitmap": 2.0, "messages_values": 3, "mask_active": 5.0,
              "mask_jaccard_excess": 0.1, "client_drift_active": 0.2}  # fmt: skip
    tracker.job_started(job())
    tracker.job_record(job(), record(4, **logged, bytes_encoding="bitmap", pid=7))
    assert tracker.close("FINISHED") is None
    metrics = runs(store, "families")["iid #0 lr=0.1"].data.metrics
    names = {"local_steps", "round", "train_loss", "val_accuracy"}
    assert set(metrics) == names | set(logged)
    assert {name: metrics[name] for name in logged} == logged


def test_tables_of_a_trial_are_its_artifacts(store: str) -> None:
    """Also when the driver was killed between the last metrics and the tables."""
    confirming = job(1, phase="confirm")
    last = record(8, test_accuracy=0.4)
    with_tables = {**last, "tables": {"masks.csv": "layer,active\nhead,10\n", "drift.csv": "1\n"}}
    for records in ([record(4), last], [record(4), with_tables]):
        tracker = Tracker(store, "tables")
        tracker.open("d", TAGS, [arm()])
        tracker.job_started(confirming)
        for one in records:
            tracker.job_record(confirming, one)
        tracker.job_ended(confirming, "finished", "")
        assert tracker.close("FINISHED") is None
    run = runs(store, "tables")["iid seed 1 lr=0.1"]
    client = MlflowClient(store)
    assert [a.path for a in client.list_artifacts(run.info.run_id)] == ["drift.csv", "masks.csv"]
    text = Path(client.download_artifacts(run.info.run_id, "masks.csv")).read_text()
    assert text == "layer,active\nhead,10\n"
    assert "tables" not in run.data.metrics
    history = client.get_metric_history(run.info.run_id, "test_accuracy")
    assert [(metric.step, metric.value) for metric in history] == [(8, 0.4)]


def test_a_store_that_fails_does_not_end_the_search(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(store, "broken")
    tracker.open("d", TAGS, [arm()])
    monkeypatch.setattr("fl_core.tracking.time.sleep", lambda seconds: None)

    def broken(*args: object, **kwargs: object) -> None:
        raise OSError("disk on fire\nand more")

    monkeypatch.setattr(tracker.client, "create_run", broken)
    tracker.job_started(job())
    warning = tracker.close("FINISHED")
    assert warning is not None
    assert "1 writes to MLflow failed (disk on fire)" in warning


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://127.0.0.1:9", "no server answers"),
        ("https://localhost:9", "no server answers"),
        ("file:./mlruns", "sqlite"),
        ("mlruns", "sqlite"),
    ],
)
def test_stores_that_cannot_be_used(uri: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        check_uri(uri)


def test_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database at all, by any means" * 40)
    with pytest.raises(UserError, match="cannot be used"):
        Tracker(f"sqlite:///{tmp_path}/mlflow.db", "x")
