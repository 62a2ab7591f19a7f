"""A study's folder: one process at a time, put aside when it starts over."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from fl_core.base.errors import UserError
from fl_core.base.files import write_atomically

MIN_FREE_BYTES = 200e6
LOCK, HOLDER = ".lock", ".process"  # its own file: opening a lock file may empty it
GENERATION = "generation"  # how often a study started over (--fresh)
SEARCH = "search"  # the name of the search (`search_name`)
STUDY = "study.yaml"
#: What a study writes there as files, and as folders.
_FILES = (HOLDER, GENERATION, SEARCH, STUDY, "optuna.journal", "failures.log",
          "table.csv", "table.md", "table.html", "table.tex", "appendix.tex", "references.bib",
          "pairs.csv", "epochs.csv", "finalists.csv", "front.csv")  # fmt: skip
_FOLDERS = ("trials", "figures")


def check_fresh(out: Path, name: str) -> None:
    """UserError unless a folder may be put aside: a study of this name began there, or it is empty.

    Anything else in it is the user's.
    """
    if not out.exists():
        return
    if out in (here := Path.cwd().resolve(), *here.parents):
        raise UserError(f"--fresh: {out} holds the working directory; give the study's own --out")
    try:
        found = {path.name for path in out.iterdir()}
        first = (out / STUDY).read_text().partition("\n")[0] if STUDY in found else ""
    except (OSError, ValueError) as error:
        raise UserError(f"--fresh: {out} cannot be read ({error})") from error
    begun = found <= {LOCK, HOLDER, GENERATION, SEARCH, "trials", "optuna.journal"}
    if first != f"study: {name}" and not begun:
        raise UserError(f"--fresh: {out} is no folder of study {name}; nothing was put aside")


def start_over(out: Path) -> None:
    """Put what is in a study's folder, which the caller has locked, aside under the first free
    name, and go on in a new one with the lock.
    """
    number = _aside(out)
    new = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        (new / "trials").mkdir(parents=True)
        (new / GENERATION).write_text(str(number))
        (out / HOLDER).rename(new / HOLDER)
        (out / LOCK).rename(new / LOCK)
        out.rename(out.with_name(f"{out.name}.{number}"))
        new.rename(out)
    except OSError as error:
        raise UserError(f"--fresh: {out} cannot be put aside ({error.strerror})") from error


def _aside(out: Path) -> int:
    """The number of the next folder that is put aside."""
    number = 1
    while out.with_name(f"{out.name}.{number}").exists():
        number += 1
    return number


def generation(out: Path) -> int:
    """How often the study of this folder started over."""
    path = out / GENERATION
    try:
        return int(path.read_text())
    except FileNotFoundError:
        return 0
    except ValueError:  # damaged: what was put aside is still there
        return max(1, _aside(out) - 1)


def name_search(out: Path) -> None:
    """A new name for the search of a folder, that no other folder's has."""
    write_atomically(out / SEARCH, uuid4().hex[:16])


def search_name(out: Path) -> str:
    """Tells the runs of this folder's search in a store from those of every other search of the
    same study; empty where an earlier version began it.
    """
    path = out / SEARCH
    return path.read_text(errors="replace").strip() if path.is_file() else ""


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """The study's folder, for this process alone. The kernel drops the lock of a killed one."""
    lock = FileLock(out / LOCK, timeout=0)
    _check_kinds(out)
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


def _check_kinds(out: Path) -> None:
    """UserError where a file of the study would have to replace a folder, or the reverse."""
    folders = [name for name in (LOCK, *_FILES) if (out / name).is_dir()]
    files = [name for name in _FOLDERS if (out / name).exists() and not (out / name).is_dir()]
    for name, kind in [*((n, "folder") for n in folders), *((n, "file") for n in files)]:
        raise UserError(f"--out {out}: {name} is a {kind} there; move it away")


def _named(out: Path) -> str:
    path = out / HOLDER
    return path.read_text() if path.exists() else "?"
