"""A choice of the user's own: `package.module:name` where a field else takes one of our names.

The module lies beside the study file or in the folder where the command starts, or is installed.
It is imported when it is used, by every worker for itself. The sha256 of its source is part of
what names a trial, so that results of another version of it are never taken for these.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from fl_core.base.contents import content
from fl_core.base.errors import ConfigError

T = TypeVar("T")
_OWN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


def is_own(value: object) -> bool:
    """Whether this names something of the user's own.

    >>> is_own("my_rules:prox"), is_own("my.rules:Prox"), is_own("prox"), is_own("a:b:c")
    (True, True, False, False)
    """
    return isinstance(value, str) and _OWN.fullmatch(value) is not None


def resolve(
    table: Mapping[str, T], value: str, field: str, takes: Sequence[str] | None = None
) -> T:
    """What a name stands for: an entry of the table, or the user's own.

    takes: the arguments that it will be called with, by position; None for what is not called.
    """
    return table[value] if value in table else imported(value, field, takes)


def imported(value: str, field: str, takes: Sequence[str] | None = None) -> Any:
    """The user's own `package.module:name`; a ConfigError of one line where it is none."""
    module, _, name = value.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as error:
        _refuse(field, value, f"there is no module {error.name}; {_places()}")
    except AttributeError:
        _refuse(field, value, f"{module} has no {name}")
    except Exception as error:  # whatever the user's module does when it is imported
        _refuse(field, value, f"importing {module} fails ({type(error).__name__}: {error})")
    if takes is not None and not _can_take(found, takes):
        _refuse(field, value, f"must be callable with ({', '.join(takes)})")
    return found


@cache
def source_sha256(module: str) -> str | None:
    """Hex sha256 of a module's source file, without importing it; None where it has none.

    Kept for the life of the process, as the imported module is.
    """
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def source_of(value: str, field: str) -> str:
    """The sha256 of the source of the user's own choice; a ConfigError where there is none."""
    module = value.partition(":")[0]
    found = source_sha256(module)
    if found is None:
        _refuse(field, value, f"there is no module {module}; {_places()}")
    return found


def content_of(path: str, field: str) -> str:
    """The sha256 of a file of the user's, or of all files below a folder; a ConfigError where one
    cannot be read.
    """
    try:
        return f"sha256:{content(path)}"
    except OSError as error:
        which = "" if error.filename in (None, path) else f"{error.filename}: "
        _refuse(field, path, f"cannot be read ({which}{error.strerror})")


def make_importable(*folders: Path) -> None:
    """Let modules in these folders be imported, after all that can be imported already."""
    for folder in map(str, folders):
        if folder not in sys.path:
            sys.path.append(folder)


def _can_take(found: Any, takes: Sequence[str]) -> bool:
    if not callable(found):
        return False
    try:
        inspect.signature(found).bind(*takes)
    except TypeError:
        return False
    except ValueError:  # built in: it has no signature to ask
        return True
    return True


def _places() -> str:
    return "it must lie beside the study file or in the current folder, or be installed"


def _refuse(field: str, value: str, why: str) -> NoReturn:
    raise ConfigError(f"{field}={value!r}: {' '.join(why.split())}")
