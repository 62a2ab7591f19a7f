"""README's command for a method of one's own, as it stands; `test_own` has the method itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.soak
@pytest.mark.parametrize("how", [["--serial"], ["--workers", "2"]], ids=["serial", "ray"])
def test_readmes_command(how: list[str], tmp_path: Path) -> None:
    """From the folder that holds the file, with and without Ray."""
    (text,) = re.findall(r"```python\n(# my_methods\.py\n.*?)```", README, re.DOTALL)
    (tmp_path / "my_methods.py").write_text(text)
    (line,) = re.findall(r"^    python studies/(\S+ --set local\.rule=my_methods.*)$", README, re.M)
    study, *options = line.split()
    command = [sys.executable, str(ROOT / "studies" / study), *options, "--preset", "smoke", *how]
    done = subprocess.run([*command, "--out", "out"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert len(table) > 1
    assert table["test_accuracy_mean"].notna().all()
