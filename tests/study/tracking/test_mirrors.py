"""Logs beside MLflow's: what TensorBoard's file and W&B's calls hold, and that neither can hurt."""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fl_core.base.errors import UserError
from fl_core.config.trial_config import TrialConfig
from fl_core.study.jobs import Arm, Job
from fl_core.study.tracking.mirrors import check_mirrors, opened

ARM = Arm("iid, J=4", {}, TrialConfig())
JOB = Job("search", 0, 9, ARM.config, {"local.lr": 0.1})


def run_through(wanted: str, out: Path) -> None:
    with opened([wanted], "s", [ARM], out) as mirror:
        mirror.job_started(JOB)
        for step, accuracy in ((4, 0.5), (8, 0.75)):
            record = {"local_steps": step, "val_accuracy": accuracy, "done": False, "tables": {}}
            mirror.job_record(JOB, record)
        mirror.job_ended(JOB, "finished", "")


def scalars(file: Path) -> list[tuple[str, int, float]]:
    """A file of TensorBoard: length, checksum, event, checksum, over and over."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    data, found = file.read_bytes(), []
    while data:
        (size,) = struct.unpack("<Q", data[:8])
        event = event_pb2.Event.FromString(data[12 : 12 + size])
        found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
        data = data[16 + size :]
    return found


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    run_through("tensorboard", tmp_path)
    (folder,) = (tmp_path / "tensorboard").iterdir()
    assert folder.name.startswith("iid, J=4 #9 ")
    (file,) = folder.iterdir()
    seen = [row for row in scalars(file) if row[0] == "val_accuracy"]
    assert seen == [("val_accuracy", 4, 0.5), ("val_accuracy", 8, 0.75)]


class FakeRun:
    """Keeps what it is told."""

    def __init__(self, **given: Any) -> None:
        self.given, self.rows, self.summary = given, list[tuple[int, float]](), dict[str, str]()
        self.ended: int | None = None

    def log(self, metrics: dict[str, float], step: int) -> None:
        self.rows.append((step, metrics["val_accuracy"]))

    def finish(self, exit_code: int = 0) -> None:
        self.ended = exit_code


def test_weights_and_biases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[FakeRun] = []

    def init(**given: Any) -> FakeRun:
        runs.append(FakeRun(**given))
        return runs[-1]

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Settings=dict))
    for _ in range(2):
        run_through("wandb:mine", tmp_path)
    one, again = runs
    assert (one.given["project"], one.given["name"]) == ("mine", "iid, J=4 #9")
    assert (one.given["group"], one.given["job_type"]) == ("iid, J=4", "search")
    assert one.given["config"]["local.lr"] == ARM.config.local.lr
    assert one.given["id"] == again.given["id"]  # a job that goes on continues its run
    assert one.rows == [(4, 0.5), (8, 0.75)]
    assert (one.summary, one.ended) == ({"status": "finished"}, 0)


def test_a_log_that_fails_costs_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def init(**given: Any) -> None:
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, Settings=dict))
    run_through("wandb", tmp_path)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "warning: no more WeightsAndBiases: OSError: no network"


def test_logs_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="--also neptune: must be tensorboard or wandb"):
        check_mirrors(["neptune"])
    monkeypatch.setattr("fl_core.study.tracking.mirrors.find_spec", lambda name: None)
    with pytest.raises(UserError, match="--also wandb:x: wandb is missing; pip install wandb"):
        check_mirrors(["wandb:x"])
