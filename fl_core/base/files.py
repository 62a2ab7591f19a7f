"""Files whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fl_core.base.errors import UserError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder, renamed to `path` at the end; gone after an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def sweep(folder: Path) -> None:
    """Remove what `replacing` began here in processes that were killed since."""
    for path in list(folder.glob(".*.*")) if folder.is_dir() else ():
        pid = path.suffix.removeprefix(".")
        if pid.isdigit() and not _lives(int(pid)):
            path.unlink(missing_ok=True)


def working_directory() -> Path:
    """UserError where it was deleted."""
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        line = "the working directory is not there any more; change to one that is"
        raise UserError(line) from error


def resolved(path: Path) -> Path:
    """The absolute path without symbolic links; OSError where they go round and round, or where the
    working directory is gone.
    """
    try:
        return path.resolve()
    except RuntimeError as error:
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path)) from error


def absolute(option: str, path: Path) -> Path:
    """The same of a path that the user gives with this option; UserError where there is none."""
    try:
        return resolved(path)
    except OSError as error:
        raise UserError(f"{option} {path}: cannot be used ({error.strerror})") from error


def check_room(folder: Path) -> None:
    """OSError unless something can be written in a folder, or where it would be made."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    with tempfile.TemporaryFile(dir=there) as file:
        file.write(b"ok")


def aside_of(path: Path) -> Path:
    """Where a damaged file is kept: the first free `<name>.damaged`, `<name>.damaged.2` ..."""
    number, aside = 1, path.with_name(f"{path.name}.damaged")
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged.{number}")
    return aside


def _lives(pid: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def write_atomically(path: Path, text: str) -> None:
    """A text as a file; UserError where it cannot be written."""
    try:
        with replacing(path) as temporary:
            temporary.write_text(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
