"""As the command of a study does, before MLflow is imported."""

from __future__ import annotations

from pathlib import Path

import pytest

from fl_core.study import environment

environment.before_mlflow()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, store_cache: Path) -> str:
    """One database for all tests; an experiment a test."""
    from fl_core.study.tracking.tracker import Tracker

    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    Tracker(uri, "set-up", store_cache)
    return uri
