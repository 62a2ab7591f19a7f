"""Synthetic stores for the whole folder, in the schema that fl_core.study.tracking.tracker writes.

Making a database costs seconds, so each is made once; every number in it is made by hand.
"""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_store import SHARDS, Store, Trial, confirm, params
from masked_studies import write_masked_studies
from once import once

from fl_analysis.reading.store import StudyRuns, read_study

ARMS: list[dict[str, Any]] = [
    {**SHARDS["iid"], "local.steps": 4, "rounds": 100},
    {**SHARDS["iid"], "local.steps": 8, "rounds": 50},
    {**SHARDS[1], "local.steps": 4, "rounds": 100},
    {**SHARDS[1], "local.steps": 8, "rounds": 50},  # never run
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds the filled mlflow.db and an empty.db, a store without a single study."""
    return once(tmp_path_factory, "golden", _write_golden)


@pytest.fixture(scope="session")
def uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'mlflow.db'}"


@pytest.fixture(scope="session")
def empty_uri(folder: Path) -> str:
    return f"sqlite:///{folder / 'empty.db'}"


@pytest.fixture(scope="session")
def old_run(folder: Path) -> str:
    """An earlier run of the study `golden`, with one arm."""
    return (folder / "old_run").read_text()


def _write_golden(path: Path) -> None:
    store = Store(path)
    shutil.copy(path / "mlflow.db", path / "empty.db")
    old = store.study("golden", ARMS[:1])
    arm = store.arm("golden", old, ARMS[0])
    store.trial("golden", arm, ARMS[0], confirm(params(0.1), 0, 0.01))
    (path / "old_run").write_text(old)
    _golden(store)
    store.study("bare", ARMS[:1])
    store.experiment("foreign")


def _golden(store: Store) -> None:
    """By hand: arm 0 has 0.69 0.70 0.71 -> 0.70 and std 0.01; arm 2 has 0.40 0.44 -> 0.42 and
    std sqrt(0.0008); arm 1 has one seed; arm 3 has no run."""
    study = store.study("golden", ARMS)
    counts = np.full((4, 3), 5)

    first = store.arm("golden", study, ARMS[0], counts)
    best = params(0.1)
    for trial in (
        Trial("a1", params(0.01), curve={200: 0.30, 400: 0.50}),
        Trial("a2", best, curve={200: 0.40, 400: 0.60}),
        Trial("a3", params(0.2), curve={200: 0.39, 400: 0.60}),  # a tie: the lower digest wins
        confirm(best, 0, 0.69),
        confirm(best, 1, 0.70),
        confirm(best, 2, 0.71),
    ):
        store.trial("golden", first, ARMS[0], trial)

    second = store.arm("golden", study, ARMS[1])
    edge = params(0.98, decay=9e-3)
    for trial in (Trial("b1", edge, curve={400: 0.55}), confirm(edge, 0, 0.58)):
        store.trial("golden", second, ARMS[1], trial)

    third = store.arm("golden", study, ARMS[2], np.eye(3, dtype=int) * 7)
    good = params(0.05, momentum=0.3)
    for trial in (
        Trial("d1", params(0.5), status="pruned", curve={200: 0.90}),
        Trial("d2", params(0.9), status="diverged", curve={200: 0.2, 400: math.nan}),
        Trial("d3", good, curve={200: 0.20, 400: 0.45}),
        Trial("d4", params(0.3), curve={400: 0.35}, test=0.99),  # a search must never do this
        Trial("d5", params(0.3), status="failed"),
        confirm(good, 0, 0.40),
        confirm(good, 1, 0.44),
        confirm(good, 2, None, status="diverged"),
        confirm(params(0.3), 0, 0.97),  # of a configuration that was not chosen
        confirm(good, 9, 0.98),  # of a seed that nobody asked for
    ):
        store.trial("golden", third, ARMS[2], trial)


@pytest.fixture(scope="session")
def golden(uri: str) -> StudyRuns:
    return read_study(uri, "golden")


@pytest.fixture(scope="session")
def masked_uri(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A store with the studies `rules` (masks of every client) and `front` (two objectives)."""

    def fill(path: Path) -> None:
        shutil.copy(folder / "empty.db", path / "mlflow.db")
        write_masked_studies(Store(path))

    return f"sqlite:///{once(tmp_path_factory, 'masked', fill) / 'mlflow.db'}"


@pytest.fixture(scope="session")
def rules(masked_uri: str) -> StudyRuns:
    return read_study(masked_uri, "rules")


@pytest.fixture(scope="session")
def front(masked_uri: str) -> StudyRuns:
    return read_study(masked_uri, "front")
