"""Stores of many runs: MLflow's client is the oracle of the direct reading of its file."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
import sys
from pathlib import Path
from types import ModuleType

import mlflow
import pandas as pd
import pytest
from bulk_store import write_bulk, write_client
from texts import table_markdown

from fl_analysis.reading import sqlite_runs
from fl_analysis.reading.store import StudyRuns, read_study
from fl_analysis.tables.final import final_table

TRIALS = 60  # 3 arms: 5 trials of the search each, 3 finalists with 5 seeds


@pytest.fixture(scope="session")
def bench() -> ModuleType:
    """tests/benchmarks/read_runs.py, which is a script."""
    place = Path(__file__).parents[1] / "benchmarks" / "read_runs.py"
    spec = importlib.util.spec_from_file_location("read_runs", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["read_runs"] = module  # dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def many(bench: ModuleType, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same study through the client and in bulk, and another study in the same file."""
    path: Path = tmp_path_factory.mktemp("many") / "mlflow.db"
    shutil.copy(folder / "empty.db", path)
    runs = list(bench.study_runs(TRIALS, "many", 3))
    write_client(f"sqlite:///{path}", "client", runs)
    write_bulk(path, "bulk", runs)
    write_bulk(path, "other", bench.study_runs(TRIALS, "other", 3))
    return f"sqlite:///{path}"


def by_client(uri: str, name: str, monkeypatch: pytest.MonkeyPatch) -> StudyRuns:
    with monkeypatch.context() as patch:
        patch.setattr(sqlite_runs, "readable", lambda uri: False)
        return read_study(uri, name)


def same(one: StudyRuns, other: StudyRuns, ids: bool = True) -> None:
    drop = [] if ids else ["run_id"]
    for left, right in ((one.trials, other.trials), (one.arms, other.arms)):
        pd.testing.assert_frame_equal(
            left.drop(columns=drop), right.drop(columns=drop), check_exact=True
        )
        assert [[type(v) for v in row] for row in left.to_numpy()] == [
            [type(v) for v in row] for row in right.to_numpy()
        ]
    assert (one.settings, one.space, one.notes) == (other.settings, other.space, other.notes)


def test_bulk_rows_read_back_as_those_of_the_client(many: str) -> None:
    bulk, client = read_study(many, "bulk"), read_study(many, "client")
    assert len(bulk.trials) == TRIALS
    same(bulk, client, ids=False)
    pd.testing.assert_frame_equal(final_table(bulk), final_table(client), check_exact=True)
    assert final_table(bulk)["seeds"].tolist() == [5, 5, 5]


@pytest.mark.parametrize("name", ["client", "bulk"])
def test_the_file_says_what_the_client_says(
    many: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    same(read_study(many, name), by_client(many, name, monkeypatch))


def test_odd_values_too(uri: str, masked_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN, missing metrics, a test metric in a search, an older study run beside."""
    for store, name in (
        (uri, "golden"),
        (uri, "bare"),
        (masked_uri, "rules"),
        (masked_uri, "front"),
    ):
        one, other = read_study(store, name), by_client(store, name, monkeypatch)
        same(one, other)
        assert table_markdown(one) == table_markdown(other)


def test_deleted_runs_are_gone(many: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(many.removeprefix("sqlite:///"), tmp_path / "copy.db")
    uri = f"sqlite:///{tmp_path / 'copy.db'}"
    gone = str(read_study(uri, "bulk").trials["run_id"][7])
    mlflow.MlflowClient(uri).delete_run(gone)
    runs = read_study(uri, "bulk")
    assert gone not in set(runs.trials["run_id"])
    assert len(runs.trials) == TRIALS - 1
    same(runs, by_client(uri, "bulk", monkeypatch))


def test_other_tables_are_left_to_the_client(many: str, tmp_path: Path) -> None:
    assert sqlite_runs.readable(many)
    assert not sqlite_runs.readable("http://127.0.0.1:5000")
    assert not sqlite_runs.readable(f"sqlite:///{tmp_path / 'none.db'}")
    copy = tmp_path / "copy.db"
    shutil.copy(many.removeprefix("sqlite:///"), copy)
    with sqlite3.connect(copy) as db:
        db.execute("ALTER TABLE latest_metrics RENAME COLUMN is_nan TO nan")
    assert not sqlite_runs.readable(f"sqlite:///{copy}")


def test_reading_never_writes(many: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    shutil.copy(many.removeprefix("sqlite:///"), copy)
    before = copy.read_bytes()
    assert len(list(sqlite_runs.trial_runs(f"sqlite:///{copy}", "1", None))) >= 0
    read_study(f"sqlite:///{copy}", "bulk")
    assert copy.read_bytes() == before


@pytest.mark.parametrize("direct", [True, False])
def test_no_call_per_run(many: str, direct: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    plain = mlflow.MlflowClient.search_runs

    def counted(self: object, *args: object, **kwargs: object) -> object:
        calls.append("search_runs")
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(mlflow.MlflowClient, "search_runs", counted)
    for name in ("get_run", "get_metric_history", "search_experiments"):
        monkeypatch.setattr(mlflow.MlflowClient, name, None)
    if not direct:
        monkeypatch.setattr(sqlite_runs, "readable", lambda uri: False)
    final_table(read_study(many, "bulk"))
    assert len(calls) == (2 if direct else 3)
