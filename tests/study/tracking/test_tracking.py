"""The tracker against a real SQLite store."""

from __future__ import annotations

import itertools
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

from fl_analysis.reading.frames import trials_frame
from fl_core.base.errors import UserError
from fl_core.config.record import METRICS
from fl_core.config.trial_config import TrialConfig
from fl_core.study.jobs import Arm, Job
from fl_core.study.tracking import load as machine_load
from fl_core.study.tracking.client import is_outage
from fl_core.study.tracking.load import MachineLoad
from fl_core.study.tracking.metrics import split
from fl_core.study.tracking.notes import NOTE
from fl_core.study.tracking.tracker import Tracker

FACTS: dict[str, Any] = {"study": "s", "preset": "smoke", "arms": []}


def arm(name: str = "iid", seed: int = 0) -> Arm:
    return Arm(name, {"seed": seed}, TrialConfig().override({"seed": seed}))


def job(number: int = 0, lr: float = 0.1, phase: str = "search", index: int = 0) -> Job:
    config = arm().config.override({"local.lr": lr, "seed": number})
    return Job(phase, index, number, config, {"local.lr": lr})


def record(step: int, **more: Any) -> dict[str, Any]:
    values = {"local_steps": step, "round": step // 4, "train_loss": 1.0, "val_accuracy": 0.5}
    return {**values, "done": False, "diverged": False, "trial_id": "x", **more}


def runs(store: str, experiment: str) -> dict[str, Any]:
    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    return {run.info.run_name: run for run in client.search_runs([found.experiment_id])}


def test_tree_parameters_and_ends(store: str) -> None:
    tracker = Tracker(store, "tree")
    study = tracker.open("d", FACTS, [arm()])
    for number, status in enumerate(("finished", "pruned", "diverged", "failed")):
        tracker.job_started(job(number))
        tracker.job_record(job(number), record(4))
        tracker.job_ended(job(number), status, "why" if status == "failed" else "")
    tracker.text(tracker.arm_run(arm()), "a: 1\n", "best.yaml")
    assert tracker.close("FINISHED") is None
    tree = runs(store, "tree")
    trials = [f"iid #{number}" for number in range(4)]
    assert set(tree) == {"s (smoke)", "iid", *trials}
    assert tree["iid"].data.tags["mlflow.parentRunId"] == study
    ends = {
        name: (run.info.status, run.data.tags["status"])
        for name, run in tree.items()
        if "#" in name
    }
    assert ends == {
        "iid #0": ("FINISHED", "finished"),
        "iid #1": ("KILLED", "pruned"),
        "iid #2": ("FINISHED", "diverged"),
        "iid #3": ("FAILED", "failed"),
    }
    assert tree["iid #3"].data.tags["message"] == "why"
    trial = tree["iid #1"]
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
    first.open("d", FACTS, [arm()])
    first.job_started(job())
    for step in (4, 8):
        first.job_record(job(), record(step))
    first.close("KILLED")  # the driver ended; the trial did not

    second = Tracker(store, "resume")
    second.open("d", {**FACTS, "trials": "9"}, [arm()])
    assert not second.knows(job())  # it has not ended
    assert not second.knows(job(1))
    second.job_started(job())
    for step in (4, 8, 12, 16):  # the recorded curve, then new rounds
        second.job_record(job(), record(step))
    second.job_ended(job(), "finished", "")
    second.close("FINISHED")
    assert second.knows(job())
    tree = runs(store, "resume")
    assert tree["iid #0"].info.status == "FINISHED"
    assert tree["iid #0"].data.tags["status"] == "finished"
    assert set(tree) == {"s (smoke)", "iid", "iid #0"}
    assert tree["s (smoke)"].data.tags["trials"] == "9"
    history = MlflowClient(store).get_metric_history(tree["iid #0"].info.run_id, "round")
    assert [(metric.step, metric.value) for metric in history] == [(4, 1), (8, 2), (12, 3), (16, 4)]


def test_past_trials_fill_a_new_store(store: str) -> None:
    tracker = Tracker(store, "past")
    tracker.open("d", FACTS, [arm()])
    tracker.log_past(job(), "pruned", [record(4), record(8)])
    tracker.close("FINISHED")
    trial = runs(store, "past")["iid #0"]
    assert trial.data.tags["status"] == "pruned"
    assert trial.data.metrics["round"] == 2


def test_another_winner_gets_another_confirmation_run(store: str) -> None:
    tracker = Tracker(store, "winner")
    tracker.open("d", FACTS, [arm()])
    for lr in (0.1, 0.2):
        tracker.job_started(job(1, lr, "confirm"))
        tracker.job_ended(job(1, lr, "confirm"), "finished", "")
    tracker.close("FINISHED")
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("winner").experiment_id
    found = client.search_runs([experiment], "tags.phase = 'confirm'")
    assert sorted(run.data.params["local.lr"] for run in found) == ["0.1", "0.2"]


def test_metrics_of_messages_and_masks(store: str) -> None:
    """What no table reads is in a file; an objective is a metric whatever its name, and so is a
    number that nobody has heard of.
    """
    wanting = Arm("iid", {}, arm().config, ("bytes_down_index",))
    tracker = Tracker(store, "families")
    tracker.open("d", FACTS, [wanting])
    logged = {"bytes_up": 8.0, "bytes_up_dense": 9.0, "bytes_down_index": 4.0, "mask_active": 5.0,
              "mask_excess": 0.1, "client_drift_active": 0.2, "of_my_own_rule": 7.0}  # fmt: skip
    tracker.job_started(job())
    for step in (8, 4):
        details = {"bytes_up_bitmap": step / 2, "messages_up_values": 3}
        rows = [{"round": n, "client_drift": n / 8} for n in (step - 1, step)]
        values = record(step, **logged, **details, bytes_encoding="bitmap", rounds=rows)
        tracker.job_record(job(), values)
    tracker.job_ended(job(), "finished", "")
    assert tracker.close("FINISHED") is None
    run = runs(store, "families")["iid #0"]
    names = {"local_steps", "round", "train_loss", "val_accuracy"}
    assert set(run.data.metrics) == names | set(logged)
    assert {name: run.data.metrics[name] for name in logged} == logged
    file = MlflowClient(store).download_artifacts(run.info.run_id, "messages.csv")
    assert Path(file).read_text() == (
        "local_steps,bytes_up_bitmap,messages_up_values\n4,2.0,3.0\n8,4.0,3.0\n"
    )
    file = MlflowClient(store).download_artifacts(run.info.run_id, "rounds.csv")
    assert Path(file).read_text() == "round,client_drift\n3,0.375\n4,0.5\n7,0.875\n8,1.0\n"


def test_what_analysis_reads_is_a_metric() -> None:
    """And nothing that it reads goes into the file of details."""
    trials, _ = trials_frame([], {}, set())
    read = [name for name in trials.columns if name in METRICS]
    assert {"val_accuracy", "test_accuracy", "bytes_up", "bytes_down", "bytes_up_dense"} <= {*read}
    metrics, details = split(dict.fromkeys(read, 1.0), ())
    assert (list(metrics), details) == (read, {})


def test_tables_of_a_trial_are_its_artifacts(store: str) -> None:
    """Also when the driver was killed between the last metrics and the tables."""
    confirming = job(1, phase="confirm")
    last = record(8, test_accuracy=0.4)
    with_tables = {**last, "tables": {"masks.csv": "layer,active\nhead,10\n", "drift.csv": "1\n"}}
    for records in ([record(4), last], [record(4), with_tables]):
        tracker = Tracker(store, "tables")
        tracker.open("d", FACTS, [arm()])
        tracker.job_started(confirming)
        for one in records:
            tracker.job_record(confirming, one)
        tracker.job_ended(confirming, "finished", "")
        assert tracker.close("FINISHED") is None
    run = runs(store, "tables")["iid seed 1"]
    client = MlflowClient(store)
    assert [a.path for a in client.list_artifacts(run.info.run_id)] == ["drift.csv", "masks.csv"]
    text = Path(client.download_artifacts(run.info.run_id, "masks.csv")).read_text()
    assert text == "layer,active\nhead,10\n"
    assert "tables" not in run.data.metrics
    history = client.get_metric_history(run.info.run_id, "test_accuracy")
    assert [(metric.step, metric.value) for metric in history] == [(8, 0.4)]


def test_a_driver_that_was_killed_leaves_interrupted_trials(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fl_core.study.tracking.tracker.FLUSH_SECONDS", -1.0)
    first = Tracker(store, "killed")
    first.open("d", FACTS, [arm()])
    client = MlflowClient(store)
    for number in (0, 1):
        first.job_started(job(number))
        first.job_record(job(number), record(4))
    assert first._writer.close() is None
    assert {run.info.status for run in runs(store, "killed").values()} == {"RUNNING"}

    second = Tracker(store, "killed")
    second.open("d", FACTS, [arm()])
    second.job_started(job(1))  # this one goes on
    assert second._writer.close() is None
    tree = runs(store, "killed")
    left, resumed = tree["iid #0"], tree["iid #1"]
    assert (left.info.status, left.data.tags["status"]) == ("KILLED", "interrupted")
    (last,) = client.get_metric_history(left.info.run_id, "round")
    assert left.info.end_time == last.timestamp
    assert (resumed.info.status, resumed.data.tags["status"]) == ("RUNNING", "running")

    assert second.close("KILLED") is None
    tree = runs(store, "killed")
    resumed = tree["iid #1"]
    assert (resumed.info.status, resumed.data.tags["status"]) == ("KILLED", "interrupted")
    assert {tree[name].info.status for name in ("iid", "s (smoke)")} == {"KILLED"}
    assert not second.knows(job(1))


def test_a_run_whose_driver_died_before_its_parameters_came_gets_them(store: str) -> None:
    """Else it would be found again by its tags, and read as another configuration."""
    tracker = Tracker(store, "bare")
    tracker.open("d", FACTS, [arm()])
    tracker.job_started(job())
    assert tracker._writer.close() is None
    assert runs(store, "bare")["iid #0"].data.params == {}  # they wait for the first batch
    second = Tracker(store, "bare")
    second.open("d", FACTS, [arm()])
    assert not second.knows(job())
    second.job_started(job())
    second.job_ended(job(), "finished", "")
    assert second.close("FINISHED") is None
    found = runs(store, "bare")["iid #0"]
    assert found.data.params["local.lr"] == str(job().config.local.lr)
    assert len(found.data.params) == len(job().config.to_flat())


def test_a_driver_killed_between_the_two_writes_of_an_end(store: str) -> None:
    tracker = Tracker(store, "between")
    tracker.open("d", FACTS, [arm()])
    tracker.job_started(job())
    assert tracker._writer.close() is None
    (run,) = tracker._store.running_trials()
    tracker._store.flush(run)
    tracker.client.set_tag(run, "status", "pruned")
    second = Tracker(store, "between")
    second.open("d", FACTS, [arm()])
    assert second.close("FINISHED") is None
    left = runs(store, "between")["iid #0"]
    assert (left.info.status, left.data.tags["status"]) == ("KILLED", "pruned")
    assert second.knows(job())


def test_a_replayed_trial_keeps_its_end(store: str) -> None:
    """A finished study that is run again replays its confirmation."""
    ends = []
    for _ in range(2):
        tracker = Tracker(store, "replay")
        tracker.open("d", FACTS, [arm()])
        tracker.job_started(job())
        tracker.job_record(job(), record(4))
        tracker.job_ended(job(), "finished", "")
        assert tracker.close("FINISHED") is None
        ends.append(runs(store, "replay")["iid #0"].info.end_time)
    assert ends[0] == ends[1]


def test_a_failed_trial_that_is_tried_again(store: str) -> None:
    for status in ("failed", "finished"):
        tracker = Tracker(store, "retried")
        tracker.open("d", FACTS, [arm()])
        tracker.job_started(job())
        tracker.job_ended(job(), status, "")
        assert tracker.close("FINISHED") is None
    run = runs(store, "retried")["iid #0"]
    assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "finished")


def test_a_store_that_fails_does_not_end_the_search(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(store, "broken")
    tracker.open("d", FACTS, [arm()])
    monkeypatch.setattr("fl_core.study.tracking.outbox.FIRST_PAUSE", 0.001)

    def broken(*args: object, **kwargs: object) -> None:
        raise OSError("disk on fire\nand more")

    monkeypatch.setattr(tracker.client, "create_run", broken)
    tracker.job_started(job())
    warning = tracker.close("FINISHED")
    assert warning is not None
    assert "1 writes to MLflow failed (disk on fire)" in warning


def test_a_refused_curve_costs_neither_the_end_nor_the_others(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Tracker(store, "refused")
    tracker.open("d", FACTS, [arm()])
    monkeypatch.setattr("fl_core.study.tracking.outbox.FIRST_PAUSE", 0.001)
    plain = tracker.client.log_batch

    def picky(run: str, metrics: Any = (), params: Any = (), tags: Any = ()) -> None:
        if any(metric.value == 13 for metric in metrics):
            raise ValueError("thirteen")
        plain(run, metrics, params, tags)

    monkeypatch.setattr(tracker.client, "log_batch", picky)
    for number, loss in enumerate((1.0, 13.0, 2.0)):
        tracker.job_started(job(number))
        tracker.job_record(job(number), record(4, train_loss=loss))
        tracker.job_ended(job(number), "finished", "")
    warning = tracker.close("FINISHED")
    assert warning is not None
    assert "1 writes to MLflow failed (thirteen)" in warning
    tree = runs(store, "refused")
    trials = [tree[f"iid #{number}"] for number in range(3)]
    assert [run.data.tags["status"] for run in trials] == ["finished"] * 3
    assert [run.data.metrics.get("train_loss") for run in trials] == [1.0, None, 2.0]


def test_nothing_is_doubled_when_answers_are_lost(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write is carried out, and its answer does not arrive."""
    tracker = Tracker(store, "answers")
    tracker.open("d", FACTS, [arm()])
    monkeypatch.setattr("fl_core.study.tracking.outbox.FIRST_PAUSE", 0.001)
    for name in ("create_run", "log_batch", "set_terminated", "log_text"):
        monkeypatch.setattr(tracker.client, name, _deaf(getattr(tracker.client, name)))
    for number in range(2):
        tracker.job_started(job(number))
        for step in (4, 8):
            tracker.job_record(job(number), record(step, messages_up_values=1))
        tracker.job_ended(job(number), "finished", "")
    assert tracker.close("FINISHED") is None
    client = MlflowClient(store)
    found = client.search_runs([tracker.experiment], "tags.kind = 'trial'")
    assert sorted(run.data.tags["number"] for run in found) == ["0", "1"]
    for run in found:
        assert (run.info.status, run.data.tags["status"]) == ("FINISHED", "finished")
        assert len(run.data.params) == len(job().config.to_flat())
        history = client.get_metric_history(run.info.run_id, "round")
        assert [(metric.step, metric.value) for metric in history] == [(4, 1), (8, 2)]


def _deaf(call: Any) -> Any:
    """Every other answer is lost on the way."""
    answers = itertools.cycle((False, True))

    def lost(*args: Any, **kwargs: Any) -> Any:
        answer = call(*args, **kwargs)
        if next(answers):
            return answer
        raise requests.ConnectionError("reset by peer")

    return lost


@pytest.mark.parametrize(
    ("error", "away"),
    [
        (requests.ConnectionError("refused"), True),
        (requests.Timeout("slow"), True),
        (MlflowException("locked", TEMPORARILY_UNAVAILABLE), True),
        (MlflowException("database or disk is full", TEMPORARILY_UNAVAILABLE), False),
        (RestException({"error_code": "TEMPORARILY_UNAVAILABLE", "message": ""}), True),
        (RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": ""}), False),
        (RestException({"error_code": "INTERNAL_ERROR", "message": ""}), False),
        (requests.exceptions.RetryError("too many 502 error responses"), True),
        (sqlite3.OperationalError("database is locked"), True),
        (ValueError("x"), False),
        (OSError("No space left on device"), False),
    ],
)
def test_what_is_waited_for(error: Exception, away: bool) -> None:
    assert is_outage(error) == away
    with pytest.raises(MlflowException) as wrapped:  # MLflow wraps without `from`
        _wrap(error)
    assert is_outage(wrapped.value) == away


def _wrap(error: Exception) -> None:
    try:
        raise error
    except Exception:
        raise MlflowException("API request failed") from None


def test_a_description_that_somebody_wrote_stays(store: str) -> None:
    for _ in range(2):
        tracker = Tracker(store, "described")
        tracker.open("d", FACTS, [arm()])
        assert tracker.close("FINISHED") is None
        tracker.client.set_experiment_tag(tracker.experiment, NOTE, "mine")
    assert tracker.client.get_experiment(tracker.experiment).tags[NOTE] == "mine"


def test_the_load_of_the_machine_is_on_the_study_run(store: str) -> None:
    tracker = Tracker(store, "load", load_seconds=0.001)
    published = threading.Event()
    plain = tracker._store.log

    def log(run: str, values: Any, step: int, at: int) -> None:
        plain(run, values, step, at)
        published.set()

    tracker._store.log = log  # type: ignore[method-assign]
    study = tracker.open("d", FACTS, [arm()])
    assert published.wait(60)
    assert tracker.close("FINISHED") is None
    metrics = MlflowClient(store).get_run(study).data.metrics
    assert {"system/cpu_utilization_percentage", "system/system_memory_usage_megabytes"} <= set(
        metrics
    )


def test_a_long_study_has_few_points_of_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each point means what it says, however many samples it averages."""
    monkeypatch.setattr("fl_core.study.tracking.load.POINTS", 2)
    samples = iter(range(1, 100))
    monkeypatch.setattr("fl_core.study.tracking.load._monitors", lambda: [_Counting(samples)])
    points: list[float] = []
    full = threading.Event()

    def publish(means: Any, step: int) -> None:
        points.append(means["system/x"])
        if len(points) >= 5:
            full.set()

    load = MachineLoad(publish, 0.0, interval=0.001)
    assert full.wait(60)
    load.stop()
    assert points[:5] == [1, 2, 3.5, 5.5, 8.5]


class _Counting:
    """1, 2, 3 …; fails after 20 samples, as a driver may."""

    def __init__(self, samples: Any) -> None:
        self.samples, self.seen = samples, list[int]()

    def collect_metrics(self) -> None:
        self.seen.append(next(self.samples))
        if self.seen[-1] > 20:
            raise RuntimeError("no such device")

    def aggregate_metrics(self) -> dict[str, float]:
        return {"x": sum(self.seen) / len(self.seen)}

    def clear_metrics(self) -> None:
        self.seen.clear()


def test_a_machine_without_monitors(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    assert machine_load._monitors() == []


def test_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database at all, by any means" * 40)
    with pytest.raises(UserError, match="cannot be used"):
        Tracker(f"sqlite:///{tmp_path}/mlflow.db", "x")
