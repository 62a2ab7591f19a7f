"""A SQLite store is whole or not there: kills, a full disk, what plain MLflow left half made."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from faults.disk import small_disk
from mlflow import MlflowClient

from fl_core.base.errors import UserError
from fl_core.study.tracking import sqlite_store
from fl_core.study.tracking.client import connect

EMPTY = [("Default",), ("x",)]


def experiments(file: Path) -> list[tuple[str]]:
    with closing(sqlite3.connect(file)) as store:
        return list(store.execute("select name from experiments order by name"))


@pytest.fixture
def cache(store_cache: Path, tmp_path: Path) -> Path:
    """A folder that holds a copy of an empty store, as the first study leaves it."""
    return shutil.copytree(store_cache, tmp_path / "cache")


def test_a_new_store_is_a_copy_of_the_cache_s(cache: Path, tmp_path: Path) -> None:
    (kept,) = cache.glob("mlflow-*.db")
    before = time.process_time()
    connect(f"sqlite:///{tmp_path}/mlflow.db", "x", cache)
    assert time.process_time() - before < 0.5  # migrations alone take more
    assert experiments(tmp_path / "mlflow.db") == EMPTY
    default = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_experiment("0")
    assert default.artifact_location == (tmp_path / "mlartifacts/0").as_uri()
    assert experiments(kept) == EMPTY[:1]
    assert {path.name for path in tmp_path.glob("*mlflow*")} == {"mlflow.db", ".mlflow.db.lock"}


def test_a_damaged_copy_is_made_again(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept,) = cache.glob("mlflow-*.db")
    whole = kept.read_bytes()
    kept.write_bytes(whole[: len(whole) // 2])
    monkeypatch.setattr(sqlite_store, "_set_up", lambda file: file.write_bytes(whole))
    connect(f"sqlite:///{tmp_path}/mlflow.db", "x", cache)
    assert experiments(tmp_path / "mlflow.db") == EMPTY
    assert experiments(kept) == EMPTY[:1]


def half(file: Path, kept: Path) -> None:
    """As a kill in the middle of MLflow's migrations leaves a store."""
    with closing(sqlite3.connect(kept)) as whole, closing(sqlite3.connect(file)) as store:
        whole.backup(store)
        store.execute("delete from experiments")
        store.execute("drop table scorers")
        store.execute("update alembic_version set version_num = '90e64c465722'")
        store.commit()


def test_a_half_made_store_is_made_again(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (kept,) = cache.glob("mlflow-*.db")
    file = tmp_path / "mlflow.db"
    half(file, kept)
    for name in ("-journal", "-wal"):
        (tmp_path / f"mlflow.db{name}").write_bytes(b"of another file")
    connect(f"sqlite:///{file}", "x", cache)
    assert experiments(file) == EMPTY
    assert "left half made" in capsys.readouterr().err
    assert (tmp_path / "mlflow.db.damaged").exists()


def test_a_half_made_store_with_runs_is_refused_with_the_remedy(
    cache: Path, tmp_path: Path
) -> None:
    (kept,) = cache.glob("mlflow-*.db")
    file = tmp_path / "runs.db"
    half(file, kept)
    with closing(sqlite3.connect(file)) as store:
        store.execute("insert into experiments (experiment_id, name) values (1, 'mine')")
        store.commit()
    before = file.read_bytes()
    with pytest.raises(UserError, match=r"cannot be used .*move runs\.db away"):
        connect(f"sqlite:///{file}", "x", cache)
    assert experiments(file) == [("mine",)]
    assert len(file.read_bytes()) >= len(before)


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "photos.db"
    with closing(sqlite3.connect(file)) as store:
        store.execute("create table photos (name text)")
    before = file.read_bytes()
    with pytest.raises(UserError, match="not an MLflow store"):
        connect(f"sqlite:///{file}", "x")
    assert file.read_bytes() == before


def test_a_deleted_experiment_is_restored(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client, experiment = connect(uri, "x", cache)
    client.delete_experiment(experiment)
    assert connect(uri, "x")[1] == experiment
    assert client.get_experiment(experiment).lifecycle_stage == "active"
    assert "restored" in capsys.readouterr().err


def _connect(uri: str) -> None:
    connect(uri, "x")


@pytest.mark.soak
def test_killed_while_the_store_is_set_up(tmp_path: Path) -> None:
    """At twenty moments from the first on; what is there opens, or is not there."""
    context = multiprocessing.get_context("fork")
    struck = 0
    for moment in range(20):
        file = tmp_path / f"{moment}.db"
        process = context.Process(target=_connect, args=(f"sqlite:///{file}",))
        process.start()
        time.sleep(0.05 + 0.1 * moment)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGTERM if moment % 2 else signal.SIGKILL)
        process.join()
        struck += process.exitcode != 0
        if file.exists():
            assert experiments(file)[:1] == EMPTY[:1]
    assert struck > 5
    connect(f"sqlite:///{file}", "x")
    assert experiments(file) == EMPTY


@pytest.mark.soak
def test_disk_full_while_the_store_is_set_up(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        (disk.folder / "spare").write_bytes(bytes(400_000))
        disk.fill()
        (disk.folder / "spare").unlink()  # room for a part of the migrations
        file = disk.folder / "mlflow.db"
        with pytest.raises(UserError, match=r"full|No space"):
            connect(f"sqlite:///{file}", "x")
        assert not file.exists()
        disk.make_room()
        connect(f"sqlite:///{file}", "x")
        assert experiments(file) == EMPTY
