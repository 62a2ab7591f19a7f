"""Fixtures that several test modules share."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from once import once

if TYPE_CHECKING:
    from faults.place import Place

    from fl_core.base.machine import Machine


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-mask", action="store_true", help="all pairs of methods with all kinds of masks"
    )


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Nobody here cuts the power: that searches and stores wait until the disk has everything is
    most of their time.
    """
    real = sqlite3.dbapi2.connect

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        store = real(*args, **kwargs)
        with suppress(sqlite3.DatabaseError):  # a damaged file: whoever reads it is to hear of it
            store.execute("PRAGMA synchronous = OFF")
        return store

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        patch.setattr(sqlite3.dbapi2, "connect", connect)
        yield


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A place for trials on the features of `toy`; what they set in this process is undone."""
    import torch
    from toy import machine_of, write_features

    from fl_core.models.features import forget_features

    threads, machine = torch.get_num_threads(), machine_of(tmp_path)
    write_features(machine.cache_dir)
    yield machine
    torch.set_num_threads(threads)
    forget_features()


@pytest.fixture(scope="session")
def cifar_dir() -> Path:
    """The folder that holds torchvision's cifar-100-python: FL_DATA_DIR, or the test is skipped."""
    folder = os.environ.get("FL_DATA_DIR", "")
    if not folder or not (Path(folder) / "cifar-100-python").is_dir():
        pytest.skip("FL_DATA_DIR names no folder with cifar-100-python")
    return Path(folder)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A short study that nothing disturbed: what all others must come to. Only to be read."""
    from faults import expect
    from faults.place import Place

    def fill(folder: Path) -> None:
        place = Place.at(folder)
        place.run_here()
        expect.every_round_once(place)
        expect.whole_store(place.runs())
        expect.tidy(place)

    return Place.of(once(tmp_path_factory, "undisturbed", fill))


@pytest.fixture(scope="session")
def store_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with a copy of an empty MLflow store, which takes seconds to make. Only to be
    read: `fl_core.study.tracking.client.connect` makes new stores of it.
    """
    from fl_core.study import environment

    environment.before_mlflow()
    from fl_core.study.tracking.client import connect

    def fill(folder: Path) -> None:
        connect(f"sqlite:///{folder}/first/mlflow.db", "x", folder)

    return once(tmp_path_factory, "store-cache", fill)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A shell's background job ignores SIGINT, and so would every process it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
