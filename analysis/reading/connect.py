"""Opens an MLflow store: quick checks first, then one client; every failure is one line."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sqlite3
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fl_core.base.addresses import check_store_password
from fl_core.base.errors import UserError, first_line
from fl_core.base.stores import sqlite_file

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PAGE = 1000  # runs per search call: of more the memory grows, and they are no faster


class AnalysisError(UserError):
    """A store, study or argument that cannot be used: shown as one line, exit code 2."""


def default_uri() -> str:
    """MLFLOW_TRACKING_URI, or the suite's own sqlite file in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}"


def connect(tracking_uri: str | None) -> tuple[MlflowClient, str]:
    """A client, after a test that answers at once: MLflow itself retries for minutes, and
    creates its tables in whatever sqlite file it is given.
    """
    uri = tracking_uri or default_uri()
    if uri.startswith("sqlite:"):
        _check_sqlite(uri)
    elif uri.startswith(("http:", "https:")):
        check_store_password(uri)
        try:
            urllib.request.urlopen(uri.rstrip("/") + "/health", timeout=5).close()
        except urllib.error.HTTPError:
            pass  # something answers; what it is, the first search will tell
        except (OSError, ValueError) as error:
            raise AnalysisError(f"{uri}: no tracking server answers there ({error})") from None
    elif Path(uri).is_file():
        raise AnalysisError(f"{uri}: is a file; write it as sqlite:///{Path(uri).resolve()}")
    for name in ("alembic", "mlflow.store.db.utils"):  # "Context impl SQLiteImpl." and the like
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no network of its own
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient  # seconds: only once the address looks right

    with one_line(uri):
        return MlflowClient(uri), uri


def _check_sqlite(uri: str) -> None:
    path = sqlite_file(uri) or Path()
    if not path.is_file():
        raise AnalysisError(f"{uri}: no such file; run a study first, or pass --tracking-uri")
    try:
        readonly = f"{path.resolve().as_uri()}?mode=ro"
        with contextlib.closing(sqlite3.connect(readonly, uri=True)) as db:
            found = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        raise AnalysisError(f"{uri}: not a readable sqlite file ({error})") from None
    if not {"experiments", "runs", "tags"} <= found:
        raise AnalysisError(f"{uri}: a sqlite file, but not an MLflow store")


@contextlib.contextmanager
def one_line(uri: str) -> Iterator[None]:
    """Whatever MLflow and its drivers raise, as one line."""
    try:
        yield
    except AnalysisError:
        raise
    except Exception as error:
        raise AnalysisError(f"{uri}: {first_line(error)}") from None


def search(client: MlflowClient, experiments: list[str], query: str) -> list[Run]:
    """All runs that match."""
    return list(pages(client, experiments, query))


def pages(client: MlflowClient, experiments: list[str], query: str) -> Iterator[Run]:
    """The same one by one, a page in memory at a time."""
    token: str | None = None
    while True:
        with _uncollected():
            page = client.search_runs(experiments, query, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def artifact(client: MlflowClient, run_id: str, name: str) -> str | None:
    """A text artifact of a run; None where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return Path(client.download_artifacts(run_id, name, folder)).read_text()
        except Exception:  # the kinds differ by artifact store; all mean: not there
            return None


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the cyclic garbage collector: MLflow makes a hundred objects a run, all alive, and
    looking through them again and again takes as long as the reading itself.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
