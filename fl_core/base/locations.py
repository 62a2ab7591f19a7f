"""Folders that may lie elsewhere: paths, and fsspec URLs such as s3://bucket/folder.

A URL becomes a `upath.UPath`, which has the methods of `pathlib.Path` that this project uses.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from fl_core.base.addresses import check_no_password
from fl_core.base.errors import UserError, first_line
from fl_core.base.files import resolved

PASSWORDS = "set AWS_SECRET_ACCESS_KEY, FSSPEC_SFTP_PASSWORD or what else its file system reads"


def location(text: str) -> Path:
    """The folder that a path or a URL names; UserError where no such URL can be opened."""
    scheme, found, rest = text.partition("://")
    if not found or scheme in ("file", "local"):
        try:
            return resolved(Path(rest if found else text))
        except OSError as error:
            raise UserError(f"--storage {text}: cannot be opened ({error.strerror})") from error
    check_no_password("--storage", text, PASSWORDS)
    from upath import UPath

    try:
        place = UPath(text)
        place.fs  # noqa: B018  (opens the file system: its protocol or package may be missing)
    except Exception as error:  # every file system of fsspec raises its own kinds
        raise UserError(f"--storage {text}: cannot be opened ({reason(error)})") from error
    return cast("Path", place)


def is_local(path: Path) -> bool:
    """Whether the operating system knows this path."""
    return isinstance(path, os.PathLike) and type(path).__module__.startswith("pathlib")


def make_folder(folder: Path) -> None:
    """With all above it. An object store has no folders, and would make a missing bucket."""
    if not is_local(folder):
        from upath.implementations.cloud import CloudPath

        if isinstance(folder, CloudPath):
            return
    folder.mkdir(parents=True, exist_ok=True)


def remove_folder(folder: Path) -> None:
    """With all in it, if it is there."""
    try:
        if is_local(folder):
            shutil.rmtree(folder)
        elif folder.is_dir():
            folder.rmdir()  # a UPath's takes all below with it
    except FileNotFoundError:
        return
    except Exception as error:  # as below
        raise UserError(f"{folder}: cannot be removed ({reason(error)})") from error


@contextmanager
def local_copy(path: Path) -> Iterator[Path]:
    """A local file with the content of `path`, which may be remote: UserError for a file system
    that does not answer, which says nothing about the file.
    """
    if is_local(path):
        yield path
        return
    try:
        content = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError, MemoryError):
        raise
    except Exception as error:  # as above
        raise UserError(f"{path}: cannot be read ({reason(error)})") from error
    with tempfile.TemporaryDirectory(prefix="fl-") as folder:
        copy = Path(folder) / path.name
        copy.write_bytes(content)
        yield copy


def check_writable(folder: Path) -> None:
    """UserError unless a file can be written there, read again and removed."""
    try:
        probe = folder / f".probe-{socket.gethostname()}-{os.getpid()}"
        make_folder(folder)
        probe.write_bytes(b"ok")
        if probe.read_bytes() != b"ok":
            raise OSError("what was written is not what is read")
        probe.unlink()
    except Exception as error:  # as above
        raise UserError(f"--storage {folder}: cannot be used ({reason(error)})") from error


def reason(error: Exception) -> str:
    """What a file system says, in one line."""
    if isinstance(error, NotImplementedError):
        return "its file system cannot be written to"
    return first_line(error)
