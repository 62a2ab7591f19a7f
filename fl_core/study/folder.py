"""A study's folder: one process at a time, files whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fl_core.base.errors import UserError

MIN_FREE_BYTES = 200e6


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
    try:
        (out / "trials").mkdir(parents=True, exist_ok=True)
        file = (out / ".lock").open("a+")
    except OSError as error:
        raise UserError(f"--out {out}: cannot be written ({error.strerror})") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            raise UserError(
                f"--out {out}: process {file.read().strip() or '?'} is running a study there; wait "
                "for it or choose another --out"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        free = shutil.disk_usage(out).free
        if free < MIN_FREE_BYTES:
            raise UserError(f"--out {out}: only {free / 1e6:.0f} MB free on its disk, 200 needed")
        yield


def write_atomically(path: Path, text: str) -> None:
    """Whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
