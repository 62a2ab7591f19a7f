"""Files whole or not at all, and nothing left of those that a kill cut short."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fl_core.base.errors import UserError
from fl_core.base.files import replacing, sweep, write_atomically


def test_a_file_is_there_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "folder" / "a.txt"
    with replacing(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
    assert target.read_text() == "half"
    assert [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("before")

    def half() -> None:
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        half()
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "a.txt", "text")


def test_a_kill_between_write_and_rename_leaves_nothing_for_long(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from fl_core.base.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    target = tmp_path / "trial.safetensors"
    subprocess.run([sys.executable, "-c", program, str(target)], check=False)
    (left,) = tmp_path.iterdir()
    ours = tmp_path / f".other.safetensors.{os.getpid()}"  # being written now
    for path in (ours, tmp_path / ".hidden", tmp_path / "trial.safetensors.7"):
        path.touch()
    sweep(tmp_path)
    assert not left.exists()
    kept = {".hidden", "trial.safetensors.7", ours.name}
    assert {path.name for path in tmp_path.iterdir()} == kept
    sweep(tmp_path / "not there")
