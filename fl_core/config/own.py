"""A choice of the user's own: `package.module:name` where a field else takes one of our names.

The module lies beside the study file or in the folder where the command starts, or is installed.
It is imported when it is used, by every worker for itself. The sha256 of its source is part of
what names a trial, so that results of another version of it are never taken for these. It may
also be the study's own file: see `_science`.
"""

from __future__ import annotations

import ast
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
    if takes is not None and not can_take(found, *takes):
        _refuse(field, value, f"must be callable with ({', '.join(takes)})")
    return found


@cache
def source_sha256(module: str) -> str | None:
    """Hex sha256 of a module's source, without importing it; None where it has none.

    Kept for the life of the process, as the imported module is.
    """
    importlib.invalidate_caches()
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    return hashlib.sha256(_science(Path(spec.origin).read_bytes())).hexdigest()


def _science(source: bytes) -> bytes:
    r"""A module's source; of one that makes a `Study`, without the lines that only say what is run
    (its docstring, the study, the last lines): what is found does not depend on them, and another
    arm or question must not make all that is finished run again. All of it where anything else
    reads the docstring or the study.

    >>> _science(b"'Why?'\nfrom fl_core import Study\nSTUDY = Study(question=__doc__)")
    b'from fl_core import Study\n'
    """
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):  # the import will say so
        return source
    studies = [one for one in statements if _declares_a_study(one)]
    if not studies or not any(map(_imports_study, statements)):
        return source
    aside = {*studies, *(one for one in statements if _asks_for_main(one))}
    if isinstance(statements[0], ast.Expr):
        aside.add(statements[0])
    rest = [one for one in statements if one not in aside]
    made = {"__doc__"} | {node.id for one in studies for node in _named(one) if _binds(node)}
    if any(node.id in made for one in rest for node in _named(one)):
        return source
    cut = {line for one in aside for line in _lines(one)} - {n for one in rest for n in _lines(one)}
    return b"".join(
        text for line, text in enumerate(source.splitlines(keepends=True), 1) if line not in cut
    )


def _imports_study(statement: ast.stmt) -> bool:
    """Whether the name `Study` is ours."""
    match statement:
        case ast.ImportFrom(module="fl_core", names=names):
            return any(one.name == "Study" and one.asname is None for one in names)
    return False


def _declares_a_study(statement: ast.stmt) -> bool:
    match statement:
        case ast.Assign(value=made) | ast.AnnAssign(value=made):
            return isinstance(made, ast.Call) and ast.unparse(made.func) == "Study"
    return False


def _asks_for_main(statement: ast.stmt) -> bool:
    """Whether nothing of it is done when the module is imported."""
    match statement:
        case ast.If(test=test, orelse=[]):
            return ast.unparse(test) == "__name__ == '__main__'"
    return False


def _named(statement: ast.stmt) -> list[ast.Name]:
    return [node for node in ast.walk(statement) if isinstance(node, ast.Name)]


def _binds(name: ast.Name) -> bool:
    return isinstance(name.ctx, ast.Store)


def _lines(statement: ast.stmt) -> range:
    return range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)


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


def can_take(found: object, *takes: object, **named: object) -> bool:
    """Whether this can be called with these arguments."""
    if not callable(found):
        return False
    try:
        inspect.signature(found).bind(*takes, **named)
    except TypeError:
        return False
    except ValueError:  # built in: it has no signature to ask
        return True
    return True


def _places() -> str:
    return "it must lie beside the study file or in the current folder, or be installed"


def _refuse(field: str, value: str, why: str) -> NoReturn:
    raise ConfigError(f"{field}={value!r}: {' '.join(why.split())}")
