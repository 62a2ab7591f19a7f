"""MLflow stores in a SQLite file: which file, and whether one can be there (standard library).

MLflow itself tries for two minutes to open a folder as a database, and takes a database in memory,
which ends with the process, for a store like any other.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlparse

from fl_core.base.errors import UserError
from fl_core.base.files import check_room, resolved

LONGEST = 200  # bytes of a file's name: SQLite and locks add to it, and 255 is the end


def sqlite_file(uri: str) -> Path | None:
    """The file that a SQLite URI names; None for other URIs."""
    parsed = urlparse(uri, allow_fragments=False)  # a folder may be called a#b
    return Path(parsed.path.removeprefix("/")) if parsed.scheme == "sqlite" else None


def check_sqlite(uri: str) -> None:
    """UserError for a SQLite URI that names no file that can be read and written; others pass."""
    file, option = sqlite_file(uri), f"--tracking-uri {uri}"
    if file is None:
        return
    parsed = urlparse(uri, allow_fragments=False)
    if parsed.netloc:
        raise UserError(f"{option}: three slashes before a path, four before an absolute one")
    in_memory = file.name.startswith((":memory:", "file:")) or "mode=memory" in parsed.query
    if in_memory or file == Path():
        raise UserError(f"{option}: would end with this process; give sqlite:////abs/file.db")
    try:
        if file.is_dir():
            raise UserError(f"{option}: is a folder; give a file, e.g. {uri.rstrip('/')}/mlflow.db")
        if file.exists() and not file.is_file():
            raise UserError(f"{option}: not a file that a store could be in")
        if len(os.fsencode(file.name)) > LONGEST:
            raise UserError(f"{option}: the file's name is longer than {LONGEST} bytes")
        if file.exists():
            file.open("r+b").close()
        check_room(resolved(file).parent)
    except OSError as error:
        raise UserError(f"{option}: cannot be used ({error.strerror})") from error
