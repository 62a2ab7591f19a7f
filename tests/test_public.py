"""What `fl_core` offers to studies, users and notebooks, and that offering it costs nothing."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import fl_core

ROOT = Path(__file__).parents[1]
TREE = ast.parse((ROOT / "fl_core/__init__.py").read_text())


def typed() -> dict[str, str]:
    """Name -> module, as a type checker reads them."""
    return {
        alias.name: node.module
        for node in ast.walk(TREE)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fl_core.")
        for alias in node.names
    }


def test_type_checkers_see_the_same_names() -> None:
    assert typed() == {name: f"fl_core.{module}" for name, module in fl_core._HOMES.items()}
    assert set(fl_core._HOMES) <= set(dir(fl_core))


@pytest.mark.parametrize("name", sorted(fl_core._HOMES))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(fl_core, name) is getattr(importlib.import_module(typed()[name]), name)


def test_an_unknown_name_is_an_ordinary_error() -> None:
    with pytest.raises(AttributeError, match="module 'fl_core' has no attribute 'nothing'"):
        fl_core.nothing  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'nothing'"):
        from fl_core import nothing  # noqa: F401


@pytest.mark.parametrize(
    ("code", "most"),
    [
        ("import fl_core", {"fl_core"}),
        ("from fl_core import TrialConfig; TrialConfig()", {"fl_core"}),
        ("from fl_core import Study, Preset, main, grid, shardings, each", {"fl_core"}),
        ("from fl_core import SparseSGDM, run_trial", {"fl_core", "numpy", "torch"}),
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str, most: set[str]) -> None:
    heavy = "{'fl_core', 'numpy', 'torch', 'torchvision', 'timm', 'ray', 'mlflow', 'optuna'}"
    code += f"; import sys; print(*(sys.modules.keys() & {heavy}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert set(done.stdout.split()) <= most


@pytest.mark.parametrize(
    "path",
    sorted([*ROOT.glob("studies/*.py"), *ROOT.glob("search_spaces/*.py")]),
    ids=lambda p: p.stem,
)
def test_studies_and_spaces_use_public_names_alone(path: Path) -> None:
    deep = [
        node.module
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fl_core.")
    ]
    assert deep == []
