"""Folders of a study for Ray's and Tune's own files: sockets, logs, records. Nothing we need later.

They lie in a folder for temporary files, where everybody may create what they like. So each has a
name that nobody can guess and opens to nobody else; who looks for what earlier studies have left
there touches nothing but these.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from fl_core.base.errors import UserError

PREFIX = "fl-ray-"
LOCK = ".lock"  # held while the study lives; the kernel drops that of a killed one
#: Characters that a path of Ray's base may have: those of its sockets have at most 107 (104 on
#: macOS), of which 63 are Ray's and 18 our folder's.
LONGEST = 22


def base_of_ray() -> Path:
    """Where Ray's folder is made: RAY_TMPDIR, else the folder for temporary files, if Ray can."""
    if named := os.environ.get("RAY_TMPDIR"):
        return Path(named)
    folder = tempfile.gettempdir()
    return Path(folder if len(folder) <= LONGEST else "/tmp")


@contextmanager
def private_folder(base: Path) -> Iterator[Path]:
    """A new folder for this user alone, for the time of a study. What studies that were killed left
    in `base` goes away, too. UserError where none can be made.
    """
    try:
        base.mkdir(parents=True, exist_ok=True)
        _sweep(base)
        new = Path(tempfile.mkdtemp(prefix=".fl-", dir=base))  # mode 0700
    except OSError as error:
        text = f"{base}: no folder for temporary files can be made there ({error.strerror})"
        raise UserError(f"{text}; name another in RAY_TMPDIR and TMPDIR") from error
    with FileLock(new / LOCK):  # before it has the name by which it is swept
        folder = new.rename(new.with_name(PREFIX + new.name.removeprefix(".fl-")))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _sweep(base: Path) -> None:
    """Remove the folders of this user's studies that live no more."""
    for folder in base.glob(f"{PREFIX}*"):
        with suppress(OSError, Timeout):  # another study's, or just swept by one
            if _is_private(folder.lstat()):
                with FileLock(folder / LOCK, timeout=0):
                    shutil.rmtree(folder, ignore_errors=True)


def _is_private(found: os.stat_result) -> bool:
    """A folder (no link to one) of this user, which nobody else may look into."""
    mine = found.st_uid == os.geteuid() and not found.st_mode & 0o077
    return stat.S_ISDIR(found.st_mode) and mine
