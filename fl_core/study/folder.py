"""A study's folder: one process at a time, put aside when it starts over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from fl_core.base.errors import UserError

MIN_FREE_BYTES = 200e6
LOCK, HOLDER = ".lock", ".process"  # its own file: opening a lock file may empty it
GENERATION = "generation"  # how often a study started over (--fresh)


def start_over(out: Path) -> int:
    """Put what is in a study's folder aside, under the first free name; how often that was done."""
    with locked(out):
        number = 1
        while (aside := out.with_name(f"{out.name}.{number}")).exists():
            number += 1
        new = out.with_name(f".{out.name}.{os.getpid()}")
        try:
            new.mkdir()
            (new / GENERATION).write_text(str(number))
            out.rename(aside)
            new.rename(out)
        except OSError as error:
            raise UserError(f"--fresh: {out} cannot be put aside ({error.strerror})") from error
    return number


def generation(out: Path) -> int:
    """How often the study of this folder started over."""
    path = out / GENERATION
    return int(path.read_text()) if path.exists() else 0


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """The study's folder, for this process alone. The kernel drops the lock of a killed one."""
    lock = FileLock(out / LOCK, timeout=0)
    try:
        (out / "trials").mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise UserError(
            f"--out {out}: process {_named(out)} is running a study there; wait for it or choose "
            "another --out"
        ) from error
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror})") from error
    with lock:
        (out / HOLDER).write_text(str(os.getpid()))
        free = shutil.disk_usage(out).free
        if free < MIN_FREE_BYTES:
            raise UserError(f"--out {out}: only {free / 1e6:.0f} MB free on its disk, 200 needed")
        yield


def holder(out: Path) -> str:
    """The process that is running a study in a folder, or nothing."""
    try:
        with FileLock(out / LOCK, timeout=0):
            return ""
    except Timeout:
        return _named(out)


def _named(out: Path) -> str:
    path = out / HOLDER
    return path.read_text() if path.exists() else "?"
