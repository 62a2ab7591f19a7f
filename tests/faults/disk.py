"""A small disk that can be filled and emptied again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

SIZE = 256 * 2**20  # a study wants 200 MB free when it starts


@dataclass(frozen=True)
class Disk:
    """A file system of its own in memory."""

    folder: Path

    def fill(self) -> None:
        """To the last page."""
        with (self.folder / "ballast").open("wb") as file:
            while free := self._free():
                end = file.seek(0, os.SEEK_END)
                os.posix_fallocate(file.fileno(), end, free)
                file.seek(0, os.SEEK_END)

    def make_room(self) -> None:
        (self.folder / "ballast").unlink()

    def _free(self) -> int:
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Mounted for the time of a test, which is skipped where that is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"a full disk needs a small one, and there is no mount here: {error}")
    if done.returncode:
        pytest.skip(f"a full disk needs a small one, which takes root: {done.stderr.strip()}")
    try:
        yield Disk(folder)
    finally:
        # lazily: a process that is still ending may have a file open
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
