"""Reaching an MLflow store: set-up, and what its errors mean."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

import requests
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException, RestException

from fl_core.base.errors import UserError, first_line, hidden
from fl_core.base.stores import sqlite_file
from fl_core.study.tracking import sqlite_store
from fl_core.study.tracking.notes import NOTE
from fl_core.study.tracking.outbox import FIRST_PAUSE

AT_START = 30.0  # seconds that a study's start waits for a store that is away (or locked)
_AWAY = (requests.ConnectionError, requests.Timeout, ConnectionError, TimeoutError)
_WAIT = {429, 502, 503, 504}
_T = TypeVar("_T")


@contextmanager
def one_line(uri: str) -> Iterator[None]:
    """MLflow, SQLAlchemy and requests each raise their own: one clear line for all."""
    try:
        yield
    except UserError as error:
        raise UserError(f"--tracking-uri {hidden(uri)}: {error}") from error
    except Exception as error:
        line = f"--tracking-uri {hidden(uri)}: cannot be used ({first_line(error)})"
        file = sqlite_file(uri)
        if file is not None and file.exists() and not is_outage(error) and not _is_full(error):
            line += (
                f"; move {file.name} away, and the same command logs the study, from its folder, "
                "into a new one"
            )
        raise UserError(line) from error


def is_outage(error: BaseException) -> bool:
    """Whether the store is away for now, rather than this one write wrong.

    A full disk is not an absence: nobody makes room by waiting.
    """
    if _is_full(error):
        return False
    causes = _causes(error)
    return any(isinstance(cause, _AWAY) or _status(cause) in _WAIT for cause in causes)


def is_server_error(error: BaseException) -> bool:
    """A server's "500": its trouble, or a request that it cannot digest."""
    return any(_status(cause) == 500 for cause in _causes(error))


def insist(task: Callable[[], _T]) -> _T:
    """What a study's start needs from the store, tried for `AT_START` seconds. Must be
    repeatable.
    """
    end, pause = time.monotonic() + AT_START, FIRST_PAUSE
    while True:
        try:
            return task()
        except Exception as error:
            if not is_outage(error) or time.monotonic() > end:
                raise
        time.sleep(pause)
        pause *= 2


def connect(uri: str, experiment: str, cache: Path | None = None) -> tuple[MlflowClient, str]:
    """A client, and the id of the experiment, which is created if it is new.

    cache: where a copy of an empty SQLite store is kept, for the next one to be made of.
    """
    file = sqlite_file(uri)

    def reach() -> tuple[MlflowClient, str]:
        with nullcontext() if file is None else sqlite_store.alone(file):
            if file is not None:
                sqlite_store.provide(file, cache)
            client = MlflowClient(uri)
            return client, _experiment(client, uri, experiment)

    with one_line(uri):
        return insist(reach)


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    """The id of an experiment, new or known; one that was deleted is restored, with its runs."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, _artifact_location(uri)))
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if not found:
                raise  # else another driver was faster
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
        print(f"experiment {name}: was deleted in MLflow; restored, with its runs", file=sys.stderr)
    return str(found.experiment_id)


def tag_experiment(client: MlflowClient, experiment: str, tags: Mapping[str, str]) -> None:
    """Set those of the experiment's tags that differ; a description that is there stays."""
    present = client.get_experiment(experiment).tags
    for name, value in tags.items():
        if name not in present or (name != NOTE and present[name] != value):
            client.set_experiment_tag(experiment, name, value)


def _is_full(error: BaseException) -> bool:
    """Whether the disk is."""
    full = ("is full", "No space left")
    return any(word in str(cause) for cause in _causes(error) for word in full)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what led to it: MLflow wraps, with and without `from`."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _status(error: BaseException) -> int | None:
    """The HTTP status that an error stands for; a locked database counts as 503."""
    if isinstance(error, RestException) or (
        isinstance(error, MlflowException) and error.error_code == "TEMPORARILY_UNAVAILABLE"
    ):
        return int(error.get_http_status_code())
    if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
        return 503
    response = getattr(error, "response", None)
    if response is not None:
        return int(response.status_code)
    if isinstance(error, requests.exceptions.RetryError):  # "too many 503 error responses"
        return next((s for s in (*_WAIT, 500) if f"too many {s} " in str(error)), None)
    return None


def _artifact_location(uri: str) -> str | None:
    """Beside the SQLite file; a server decides for itself."""
    file = sqlite_file(uri)
    return None if file is None else (file.resolve().parent / "mlartifacts").as_uri()
