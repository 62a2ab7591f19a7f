"""An MLflow store in a SQLite file: whole or not there, whatever ends the process that makes it.

MLflow sets a new store up in some sixty migrations, in place. A kill or a full disk among them
leaves a file that no later command can open. So a new store is made under another name and then
renamed; a copy in the cache folder serves the next one. A file that was left half made (by plain
MLflow, or an older version of this project) is put aside and made again if it holds no runs.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient

from fl_core.base.errors import UserError
from fl_core.base.files import aside_of, replacing

#: What SQLite keeps beside a file while it writes: to a new file of the same name, poison.
_BESIDE = ("-journal", "-wal", "-shm")
_OWN_ROWS = {"alembic_version", "workspaces"}  # tables that MLflow itself puts rows into
_SETTLED = 2.0  # seconds without a change after which nobody is at work on a file
_PATIENCE = 60.0  # seconds for another process to set the same store up


@contextmanager
def alone(file: Path) -> Iterator[None]:
    """One process after the other: several that set up one fresh file ruin it."""
    lock = FileLock(file.with_name(f".{file.name}.lock"), timeout=_PATIENCE)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UserError(f"{file}: another process is setting this store up, for long") from error
    except OSError:  # where no file can be written next to it, no database can: MLflow says so
        yield
        return
    with lock:
        yield


def provide(file: Path, cache: Path | None) -> None:
    """Make a whole store of a file that is none yet. The caller is `alone`.

    cache: a folder for copies, or None. Raises UserError for a database that is something else,
    OSError and MLflow's own errors where none can be made.
    """
    if file.exists() and file.stat().st_size:
        if not half_made(file):
            return
        aside = aside_of(file)
        file.rename(aside)
        line = f"{file}: was left half made and holds no runs: now {aside.name}, and made again"
        print(line, file=sys.stderr)
    for left in file.parent.glob(f".{file.name}.*"):  # of processes killed while they made it
        if left.suffix.removeprefix(".").partition("-")[0].isdigit():
            left.unlink(missing_ok=True)
    artifacts = (file.resolve().parent / "mlartifacts" / "0").as_uri()
    with replacing(file) as temporary:
        kept = cache and cache / f"mlflow-{mlflow.__version__}.db"
        if kept is None or not _copied(kept, temporary, artifacts):
            _set_up(temporary)
            if kept is not None:
                _keep(temporary, kept)
        for ending in _BESIDE:
            file.with_name(file.name + ending).unlink(missing_ok=True)


def _set_up(file: Path) -> None:
    """By MLflow itself, which never again opens in this process what it opened under a name."""
    new = file.resolve().with_name(f"{file.name}-{time.monotonic_ns()}")
    try:
        MlflowClient(f"sqlite:///{new}").search_experiments(max_results=1)
        new.rename(file)
    finally:
        for left in new.parent.glob(f"{new.name}*"):
            left.unlink()


def _keep(file: Path, kept: Path) -> None:
    """A copy for later stores: an attempt."""
    with (
        suppress(OSError, sqlite3.Error),
        replacing(kept) as temporary,
        closing(sqlite3.connect(file)) as source,
        closing(sqlite3.connect(temporary)) as copy,
    ):
        source.backup(copy)


def _copied(kept: Path, file: Path, artifacts: str) -> bool:
    """Whether a sound copy could be taken. Its default experiment, the only one, gets this place
    for its artifacts.
    """
    with suppress(OSError, sqlite3.Error):
        shutil.copyfile(kept, file)
        with closing(sqlite3.connect(file)) as store:
            sound: bool = store.execute("pragma quick_check").fetchone() == ("ok",)
            found = store.execute("update experiments set artifact_location = ?", (artifacts,))
            store.commit()
            if sound and found.rowcount == 1:
                return True
    file.unlink(missing_ok=True)
    return False


def half_made(file: Path) -> bool:
    """Whether MLflow began to make a store here, did not come to its end, and nobody goes on: the
    next study makes it again.

    Plain MLflow, which knows nothing of our lock, may be at it.
    """
    before = None
    while _is_unfinished(file):
        now = file.stat().st_mtime_ns, file.stat().st_size
        if now == before:
            return True
        before = now
        time.sleep(_SETTLED)
    return False


def _is_unfinished(file: Path) -> bool:
    """Whether it holds a part of a store, and nothing of a user's. Waits for who writes there;
    UserError for a database that is none of MLflow's.
    """
    try:
        with closing(sqlite3.connect(file, _PATIENCE, isolation_level=None)) as store:
            store.execute("begin immediate")  # also undoes what a kill left unfinished
            found = store.execute("select name from sqlite_master where type = 'table'")
            tables = {name for (name,) in found if not name.startswith("sqlite_")}
            if tables and "experiments" not in tables:
                raise UserError(f"{file}: a SQLite file, but not an MLflow store; name another")
            return _holds_nothing(store, tables)
    except sqlite3.Error:
        return False  # damaged, no database, read-only: MLflow says so


def _holds_nothing(store: sqlite3.Connection, tables: set[str]) -> bool:
    """Nothing, not even the default experiment, which is MLflow's last step of a set-up."""
    filled = (f'select 1 from "{table}" limit 1' for table in tables - _OWN_ROWS)
    return not any(store.execute(query).fetchone() for query in filled)
