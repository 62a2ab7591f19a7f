"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cifar_dir() -> Path:
    """The folder that holds torchvision's cifar-100-python: FL_DATA_DIR, or the test is skipped."""
    folder = os.environ.get("FL_DATA_DIR", "")
    if not folder or not (Path(folder) / "cifar-100-python").is_dir():
        pytest.skip("FL_DATA_DIR names no folder with cifar-100-python")
    return Path(folder)
