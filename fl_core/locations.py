"""Folders that may lie elsewhere: paths, and fsspec URLs such as s3://bucket/folder (layer 0).

A URL becomes a `upath.UPath`, which has the methods of `pathlib.Path` that this project uses.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from fl_core.fields import UserError


def location(text: str) -> Path:
    """The folder that a path or a URL names; UserError where no such URL can be opened."""
    scheme, found, rest = text.partition("://")
    if not found:
        return Path(text).resolve()
    if scheme in ("file", "local"):
        return Path(rest).resolve()
    from upath import UPath

    try:
        place = UPath(text)
        place.fs  # noqa: B018  (opens the file system: the protocol may be unknown)
    except (ImportError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"--storage {text}: cannot be opened ({reason})") from error
    return cast("Path", place)


def is_local(path: Path) -> bool:
    """Whether the operating system knows this path."""
    return isinstance(path, os.PathLike) and type(path).__module__.startswith("pathlib")


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """A local file with the content of `path`, which may be remote."""
    if is_local(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(path.read_bytes())
        yield copy


def check_writable(folder: Path) -> None:
    """UserError unless a file can be written there and read again."""
    probe = folder / f".probe-{os.getpid()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"ok")
        if probe.read_bytes() != b"ok":
            raise OSError("what was written is not what is read")
        probe.unlink()
    except Exception as error:  # every file system of fsspec raises its own kinds
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"--storage {folder}: cannot be used ({reason})") from error
