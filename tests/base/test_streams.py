"""What a command prints never breaks its work."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fl_core.base import streams

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from fl_core.base.streams import UNREAD, steady
with steady(UNREAD):
    for n in range(20000):
        print(n, "70.1 ± 0.3 — N_c → ∞")
    sys.stdout.flush()
    open(sys.argv[1], "w").write("the work is done")
"""


def run(shell: str, tmp_path: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = shell.replace("PROGRAM", f"{sys.executable} program.py done")
    whole = {**os.environ, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, env=whole, capture_output=True
    )


@pytest.mark.parametrize(
    ("shell", "warned"),
    [
        ("PROGRAM | head -2", True),
        ("PROGRAM > /dev/null 2>&1 | true", False),
        ("PROGRAM 2>&1 | head -2", False),  # there is nobody to be told
        ("PROGRAM >&-", False),
        ("PROGRAM 2>&-", False),
        ("PROGRAM <&- >&- 2>&-", False),
    ],
)
def test_the_work_goes_on_without_a_reader(shell: str, warned: bool, tmp_path: Path) -> None:
    ended = run(shell, tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "done").read_text() == "the work is done"
    lines = ended.stderr.decode().splitlines()
    assert lines == ([streams.UNREAD] if warned else [])


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}],
)  # fmt: skip
def test_ascii_where_the_encoding_knows_no_more(env: dict[str, str], tmp_path: Path) -> None:
    ended = run("PROGRAM", tmp_path, **env)
    assert ended.returncode == 0, ended.stderr
    sign = b"\xb1" if "latin-1" in env.values() else b"+-"
    assert ended.stdout.splitlines()[0] == b"0 70.1 " + sign + b" 0.3 - N_c -> \\u221e"


def test_streams_that_are_no_files_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook."""
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stdout", shown)
    with streams.steady():
        print("70.1 ± 0.3")
    assert sys.stdout is shown
    assert shown.getvalue() == "70.1 ± 0.3\n"


def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "w") as full:
        stream = streams.Steady(full)
        stream.write("lost")
        with pytest.raises(OSError, match="No space left"):
            stream.flush()
        os.dup2(os.open(os.devnull, os.O_WRONLY), full.fileno())
