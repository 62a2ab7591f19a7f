"""What is in a file of the user's, or in a folder of many: listed, and named by its content.

A trial is named by the content of what it reads, and its name is asked for all the time, so what
was found is kept in memory, and it is looked whether anything has changed: at a file whenever it
is asked for, at the files of a folder every few seconds (10,000 take 30 ms).
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

PAUSE = 10  # seconds after which it is looked again whether a folder has changed
CHUNK = 1 << 20  # bytes that are read at a time


class Listing(NamedTuple):
    """The files below a folder, without hidden ones."""

    sizes: dict[str, int]  # bytes, by path relative to the folder, with slashes, in order
    state: str  # another one when a file came, went or was written


def listing(folder: str) -> Listing:
    """What lies below a folder; OSError where it cannot be looked into. Links are followed."""
    return _listing(folder, int(time.monotonic() / PAUSE))


def content(path: str) -> str:
    """Hex sha256 of a file's bytes, or of the paths and bytes of all files below a folder."""
    if os.path.isdir(path):
        return _of_folder(path, listing(path).state)
    found = os.stat(path)
    return _of_file(path, found.st_size, found.st_mtime_ns)


def forget_contents() -> None:
    """Look again: at a folder that changed within the last seconds."""
    for kept in (_listing, _of_folder, _of_file):
        kept.cache_clear()


@lru_cache(maxsize=8)
def _listing(folder: str, moment: int) -> Listing:
    return _look(folder)


def _look(folder: str) -> Listing:
    found = sorted(_files(Path(folder), ""))
    state = hashlib.sha256(repr(found).encode()).hexdigest()
    return Listing({name: size for name, size, _ in found}, state)


def _files(folder: Path, start: str) -> Iterator[tuple[str, int, int]]:
    """(path from `start` on, bytes, time of the last change) of each file."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            found, name = entry.stat(), start + entry.name
            if stat.S_ISDIR(found.st_mode):
                yield from _files(folder / entry.name, f"{name}/")
            elif stat.S_ISREG(found.st_mode):
                yield name, found.st_size, found.st_mtime_ns


@lru_cache(maxsize=8)
def _of_folder(folder: str, state: str) -> str:
    digest = hashlib.sha256()
    for name in _look(folder).sizes:
        digest.update(f"{name}\0{_sha256(Path(folder) / name)}\0".encode())
    return digest.hexdigest()


@lru_cache(maxsize=8)
def _of_file(path: str, size: int, changed: int) -> str:
    return _sha256(Path(path))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
