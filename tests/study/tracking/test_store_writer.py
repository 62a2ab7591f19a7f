"""The queue before the store: outages, refusals, the end; and real stores that go away."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from benchmarks import store_writers
from mlflow import MlflowClient

from fl_core.config.trial_config import TrialConfig
from fl_core.study.jobs import Arm, Job
from fl_core.study.tracking.outbox import Writer
from fl_core.study.tracking.tracker import Tracker

LIMIT = 300.0  # seconds that a wait may take before the test is given up


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fl_core.study.tracking.outbox.FIRST_PAUSE", 0.001)
    monkeypatch.setattr("fl_core.study.tracking.outbox.LONGEST_PAUSE", 0.01)


def writer(patience: float = LIMIT) -> Writer:
    return Writer(lambda error: isinstance(error, ConnectionError), patience)


class Away:
    """A store that is away for some calls."""

    def __init__(self, calls: float, error: type[Exception] = ConnectionError) -> None:
        self.calls, self.error = calls, error
        self.done: list[str] = []
        self.again: list[bool] = []

    def write(self, name: str) -> Callable[[bool], None]:
        def task(again: bool) -> None:
            self.again.append(again)
            if self.calls > 0:
                self.calls -= 1
                raise self.error("gone\nfor a while")
            self.done.append(name)

        return task


def test_tasks_wait_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    store, queue = Away(5), writer()
    for name in "abc":
        queue.put(store.write(name))
    assert queue.close() is None
    assert store.done == ["a", "b", "c"]
    assert store.again == [False, True, True, True, True, True, False, False]
    lines = [line for line in capsys.readouterr().err.splitlines() if "waiting up" not in line]
    assert lines == [
        "MLflow store does not answer; results wait here (gone)",
        "MLflow store is back",
    ]


def test_a_blip_is_not_worth_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    store, queue = Away(1), writer()
    queue.put(store.write("a"))
    assert queue.close() is None
    assert store.done == ["a"]
    assert capsys.readouterr().err == ""


def test_a_wrong_task_blocks_nobody() -> None:
    store, wrong, queue = Away(0), Away(9, ValueError), writer()
    refused: list[str] = []
    queue.put(wrong.write("wrong"), lambda: refused.append("wrong"))
    queue.put(store.write("right"))
    assert queue.close() == (
        "1 writes to MLflow failed (gone); run the same command again to repair it"
    )
    assert (wrong.again, store.done, refused) == ([False, True, True], ["right"], ["wrong"])


def test_a_store_that_stays_away(capsys: pytest.CaptureFixture[str]) -> None:
    store, queue = Away(float("inf")), writer(patience=0.05)
    for name in "ab":
        queue.put(store.write(name))
    warning = queue.close()
    assert warning is not None
    assert warning.startswith("2 writes to MLflow failed")
    store.calls = 0
    queue.put(store.write("c"))  # it may be used again
    queue.patience = LIMIT
    assert queue.close() is None
    assert store.done == ["c"]


@pytest.mark.parametrize("insists", [False, True])
def test_interrupt_while_closing(
    insists: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C gives what is left a moment; a second one ends the wait."""
    release, queue, done = threading.Event(), writer(), list[str]()
    queue.put(lambda again: release.wait(LIMIT))
    queue.put(lambda again: done.append("last"))
    plain, waits = queue._drain, []

    def drain(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1 or insists:
            raise KeyboardInterrupt
        release.set()
        plain(LIMIT)

    monkeypatch.setattr(queue, "_drain", drain)
    warning = queue.close()
    assert waits == [LIMIT, 10.0]
    assert "waiting up to 10 s for the last results" in capsys.readouterr().err
    if insists:
        assert warning is not None
        assert "2 writes to MLflow failed (not in time)" in warning
        release.set()
    else:
        assert warning is None
        assert done == ["last"]


def test_waiting_counts_what_is_left() -> None:
    release, queue = threading.Event(), writer()
    for _ in range(3):
        queue.put(lambda again: release.wait(LIMIT))
    assert queue.waiting() == 3
    release.set()
    assert queue.close() is None
    assert queue.waiting() == 0


# --- real stores ----------------------------------------------------------------------------------


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.05)


class Server:
    """`mlflow server` on 127.0.0.1, which can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.uri, self.folder = f"http://127.0.0.1:{port}", folder
        self.command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1",
                        "--port", str(port), "--workers", "1",
                        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
                        "--artifacts-destination", str(folder / "artifacts")]  # fmt: skip
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        env = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                self.command, env=env, stdout=log, stderr=log, start_new_session=True
            )
        until(self.answers)

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def stop(self) -> None:
        """At once, with its workers: nobody says good-bye."""
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path)
    found.start()
    yield found
    found.stop()


def record(step: int) -> dict[str, Any]:
    return {"local_steps": step, "round": step // 4, "train_loss": 1 / step}


@pytest.mark.soak
def test_a_server_that_is_restarted(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    arm = Arm("iid", {}, TrialConfig())
    jobs = [Job("search", 0, n, arm.config.override({"seed": n})) for n in range(3)]
    tracker = Tracker(server.uri, "outage")
    tracker.open("d", {"study": "s", "preset": "p", "arms": "[{}]"}, [arm])
    for job in jobs[:2]:
        tracker.job_started(job)
        tracker.job_record(job, record(4))
    until(lambda: tracker._writer.waiting() == 0)

    server.stop()
    errors: list[str] = []
    for step in (8, 12):
        tracker.job_record(jobs[0], record(step))
    tracker.job_ended(jobs[0], "finished", "")
    tracker.job_started(jobs[2])
    tracker.job_record(jobs[2], {**record(4), "tables": {"t.csv": "a\n1\n"}})
    tracker.job_ended(jobs[2], "pruned", "")

    def announced() -> bool:
        errors.append(capsys.readouterr().err)
        return "MLflow store does not answer" in "".join(errors)

    until(announced)
    assert tracker._writer.waiting() > 0
    server.start()
    tracker.job_ended(jobs[1], "diverged", "")
    assert tracker.close("FINISHED") is None
    text = "".join([*errors, capsys.readouterr().err])
    assert text.count("does not answer") == text.count("MLflow store is back") == 1

    client = MlflowClient(server.uri)
    found = client.search_runs([tracker.experiment], "tags.kind = 'trial'")
    assert sorted((r.data.tags["number"], r.data.tags["status"]) for r in found) == [
        ("0", "finished"), ("1", "diverged"), ("2", "pruned")
    ]  # fmt: skip
    steps = {
        r.data.tags["number"]: [m.step for m in client.get_metric_history(r.info.run_id, "round")]
        for r in found
    }
    assert steps == {"0": [4, 8, 12], "1": [4], "2": [4]}
    assert all(len(r.data.params) == len(arm.config.to_flat()) for r in found)
    (third,) = (r.info.run_id for r in found if r.data.tags["number"] == "2")
    assert Path(client.download_artifacts(third, "t.csv")).read_text() == "a\n1\n"
    assert {r.info.status for r in client.search_runs([tracker.experiment])} == {
        "FINISHED",
        "KILLED",  # the pruned one
    }


def _open_store(uri: str, gate: Any, number: int) -> None:
    gate.wait()
    Tracker(uri, f"experiment{number % 2}")


@pytest.mark.soak
def test_eight_processes_open_a_fresh_store_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["fl_core.study.tracking.tracker", "mlflow.store.tracking.sqlalchemy_store"]
    )
    gate, uri = context.Barrier(8), f"sqlite:///{tmp_path}/new/mlflow.db"
    processes = [context.Process(target=_open_store, args=(uri, gate, n)) for n in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(LIMIT)
    assert [process.exitcode for process in processes] == [0] * 8
    names = [found.name for found in MlflowClient(uri).search_experiments()]
    assert sorted(names) == ["Default", "experiment0", "experiment1"]


@pytest.mark.soak
@pytest.mark.parametrize("shared", [False, True])
def test_eight_writers_lose_nothing(tmp_path: Path, shared: bool) -> None:
    found = store_writers.measure(tmp_path, 4.0, 8, shared)
    assert found["faults"] == []
    assert found["warnings"] == []
    assert found["fewest"] > 0
