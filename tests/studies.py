"""Study files as Python sees them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fl_core.study.study import Study

ROOT = Path(__file__).parents[1]


def study_file(name: str) -> Path:
    """Where a study of this project is written."""
    return ROOT / "studies" / f"{name}.py"


def load_study(study: str | Path) -> Study:
    """What a study's file names STUDY; the file is run, its command is not."""
    path = study_file(study) if isinstance(study, str) else study
    spec = importlib.util.spec_from_file_location(f"studies_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.STUDY
    assert isinstance(found, Study)
    return found
