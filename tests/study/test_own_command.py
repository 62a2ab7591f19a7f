"""The docs' command for a method of one's own, as it stands; `test_own` has the method itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from pages import ROOT, commands, own_methods


@pytest.mark.soak
@pytest.mark.parametrize("how", [["--serial"], ["--workers", "2"]], ids=["serial", "ray"])
def test_the_command_of_the_docs(how: list[str], tmp_path: Path) -> None:
    """From the folder that holds the file, with and without Ray."""
    (tmp_path / "my_methods.py").write_text(own_methods())
    (words,) = (c.words for c in commands() if "local.rule=my_methods:prox" in c.line)
    _, study, *options = words
    command = [sys.executable, str(ROOT / study), *options, "--preset", "smoke", *how]
    done = subprocess.run([*command, "--out", "out"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert len(table) > 1
    assert table["test_accuracy_mean"].notna().all()
