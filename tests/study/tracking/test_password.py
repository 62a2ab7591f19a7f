"""A tracking server that asks for a password: a study gets its table, and keeps no password."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from werkzeug.serving import WSGIRequestHandler, make_server

from fl_analysis import final_tables
from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.store import read_study
from fl_core.base.errors import UserError
from fl_core.config.trial_config import TrialConfig
from fl_core.study.jobs import Arm, Job
from fl_core.study.tracking import sqlite_store
from fl_core.study.tracking.tracker import Tracker

USER, PASSWORD = "me", "correct-horse"
#: A warning of a package that MLflow's server imports.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:starlette")
KEY = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
Application = Callable[[dict[str, Any], Callable[..., object]], Iterable[bytes]]


def guarded(application: Application) -> Application:
    """Nothing of it for those who don't know the password."""

    def answer(request: dict[str, Any], start: Callable[..., object]) -> Iterable[bytes]:
        if request.get("HTTP_AUTHORIZATION") == f"Basic {KEY}":
            return application(request, start)
        start("401 Unauthorized", [("WWW-Authenticate", "Basic"), ("Content-Length", "0")])
        return [b""]

    return answer


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """A line a request says nothing here."""


@pytest.fixture
def server(tmp_path: Path, store_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """MLflow's own server in this process (in another it takes 13 s to start); its address."""
    from mlflow.server import app, constants

    sqlite_store.provide(tmp_path / "server" / "mlflow.db", store_cache)
    for name, value in (
        (constants.BACKEND_STORE_URI_ENV_VAR, f"sqlite:///{tmp_path}/server/mlflow.db"),
        (constants.SERVE_ARTIFACTS_ENV_VAR, "true"),
        (constants.ARTIFACTS_DESTINATION_ENV_VAR, str(tmp_path / "server" / "artifacts")),
        (constants.ARTIFACT_ROOT_ENV_VAR, "mlflow-artifacts:/"),
    ):
        monkeypatch.setenv(name, value)
    listening = make_server("127.0.0.1", 0, guarded(app), threaded=True, request_handler=_Quiet)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    listening.server_close()


def log_study(uri: str) -> None:
    """One arm, one trial of the search, one confirmation."""
    arm = Arm("iid", {}, TrialConfig())
    facts: dict[str, Any] = {"study": "s", "preset": "smoke", "arms": [{}], "seeds": [1]}
    tracker = Tracker(uri, "s")
    tracker.open("d", {**facts, "trials": 1, "space": {}}, [arm])
    ended = {"local_steps": 4, "round": 1, "train_loss": 1.0}
    for phase, metric in (("search", "val_accuracy"), ("confirm", "test_accuracy")):
        job = Job(phase, 0, 1, arm.config.override({"seed": 1}), {"local.lr": 0.1})
        tracker.job_started(job)
        tracker.job_record(job, {**ended, metric: 0.625})
        tracker.job_ended(job, "finished", "")
    assert tracker.close("FINISHED") is None


def test_a_table_and_no_password(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", USER)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    log_study(server)
    assert "62.5" in final_tables.write_tables(read_study(server, "s"), tmp_path / "out")
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert {"mlflow.db", "study.json", "table.csv"} <= {file.name for file in files}
    for file in files:
        content = file.read_bytes()
        assert PASSWORD.encode() not in content, file
        assert KEY.encode() not in content, file

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "wrong-horse")
    for refused in (lambda: Tracker(server, "s"), lambda: read_study(server, "s")):
        with pytest.raises((UserError, AnalysisError), match="401") as told:
            refused()
        assert "wrong-horse" not in str(told.value)
    assert {file.name for file in tmp_path.iterdir()} == {"server", "out"}
