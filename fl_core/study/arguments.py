"""How a command line is read: the kinds of values, and mistakes in one line.

Standard library only: the doctor, which reads its own with it, starts where no package does.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from fl_core.base.errors import UserError


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, a hint for misspelt options, and a mistake as a UserError:
    whoever reads a command line reads it within `told`.
    """

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: --"):
            wrong = message.split()[2].split("=")[0]
            close = difflib.get_close_matches(wrong, self._option_string_actions, n=1)
            message = f"{wrong}: no such option" + (f"; did you mean {close[0]}?" if close else "")
        raise UserError(f"{message} (--help lists the options)")


@contextmanager
def told() -> Iterator[None]:
    """A user's mistake within ends the program: `fail`."""
    try:
        yield
    except UserError as error:
        fail(str(error))


def fail(message: str) -> NoReturn:
    """One line on stderr, exit code 2."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)


def started_as(study: str) -> str:
    """The program that runs a study, to be typed again: fl-study, or python and the file."""
    if len(sys.orig_argv) > 3 and Path(sys.orig_argv[1]).name == "fl-study":
        return f"fl-study run {sys.orig_argv[3]}"
    file = Path(sys.argv[0])
    own = file.suffix == ".py" and file.name != "__main__.py" and file.parent.name != "studies"
    return f"python {file if own else f'studies/{study}.py'}"


def positive(text: str) -> int:
    """A whole number from 1."""
    value = natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: must be at least 1")
    return value


def natural(text: str) -> int:
    """A whole number from 0."""
    try:
        value = int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number") from error
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: must not be negative")
    return value


def seconds(text: str) -> float:
    """A time: 90s, 30m, 8h; without a unit, seconds."""
    number, unit = (text[:-1], text[-1]) if text[-1:] in ("s", "m", "h") else (text, "s")
    try:
        value = float(number) * {"s": 1, "m": 60, "h": 3600}[unit]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not a time; 90s, 30m or 8h") from error
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not allowed: must be above 0")
    return value


def fraction(text: str) -> float | None:
    """1 / n as a number or `auto`, which is None."""
    if text == "auto":
        return None
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is not a number") from error
    parts = 1 / value if value > 0 else 0.0
    if not 0 < value <= 1 or abs(parts - round(parts)) > 0.01:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: 1, 0.5, 0.33, 0.25, … (1/n)")
    return 1 / round(parts)
