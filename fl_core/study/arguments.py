"""How a command line is read: the kinds of values, and mistakes in one line.

Standard library only: the doctor, which reads its own with it, starts where no package does.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from fl_core.base.errors import UserError, hidden

MOST_SECONDS = 10_000 * 3600  # more than a year
MOST_SHARES = 1000  # of a GPU
MOST_BYTES, MOST_CHARACTERS = 250, 2000  # of a file's name, of a whole path or address
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_NUMBER = re.compile(r"[+-]?([0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})([eE][+-]?[0-9]{1,3})?")


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, a hint for misspelt options, and a mistake as a UserError:
    whoever reads a command line reads it within `told`.
    """

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, which would take --option=-- for an empty list (until Python 3.13)."""
        for word in sys.argv[1:] if args is None else args:
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"argument {word[:-3]}: -- is not a value")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        _, unknown, words = message.partition("unrecognized arguments: ")
        if unknown:
            wrong = (words.split() or ["an empty word"])[0].split("=")[0]
            close = difflib.get_close_matches(wrong, self._option_string_actions, n=1)
            message = f"{wrong}: no such option" + (f"; did you mean {close[0]}?" if close else "")
        message = re.sub(r"\S{300,}", lambda word: brief(word[0]), message)[:1000]
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
    print(f"error: {hidden(' '.join(message.split()))}", file=sys.stderr)
    raise SystemExit(2)


def started_as(study: str) -> str:
    """The program that runs a study, to be typed again: fl-study, or python and the file."""
    if len(sys.orig_argv) > 3 and Path(sys.orig_argv[1]).name == "fl-study":
        return f"fl-study run {sys.orig_argv[3]}"
    file = Path(sys.argv[0])
    own = file.suffix == ".py" and file.parent.name != "studies"
    own = own and not file.name.endswith(("__main__.py", "kernel_launcher.py"))  # a notebook's
    return f"python {file if own else f'studies/{study}.py'}"


def positive(text: str) -> int:
    """A whole number from 1."""
    value = natural(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: must be at least 1")
    return value


def natural(text: str) -> int:
    """A whole number from 0, in decimal digits."""
    if not re.fullmatch(r"[+-]?[0-9]{1,30}", text):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a whole number")
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: must not be negative")
    return value


def seconds(text: str) -> float:
    """A time with its unit: 90s, 30m, 8h."""
    number, unit = text[:-1], text[-1:]
    if _NUMBER.fullmatch(text):
        examples = f"{text}s, {text}m or {text}h?"
        raise argparse.ArgumentTypeError(f"{text} has no unit: {examples} (such as 30m, 8h)")
    if unit not in _SECONDS or not _NUMBER.fullmatch(number):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a time; 90s, 30m or 8h")
    value = float(number) * _SECONDS[unit]
    if not 0 < value <= MOST_SECONDS:
        allowed = f"must be above 0 and at most {MOST_SECONDS // 3600}h"
        raise argparse.ArgumentTypeError(f"{text} is not allowed: {allowed}")
    return value


def fraction(text: str) -> float | None:
    """1 / n as a number or `auto`, which is None."""
    if text == "auto":
        return None
    if not _NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a number")
    value = float(text)
    parts = 1 / value if value > 1 / MOST_SHARES else 0.0
    if not parts > 0 or value > 1 or abs(parts - round(parts)) > 0.01:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: 1, 0.5, 0.33, 0.25, … (1/n)")
    return 1 / round(parts)


def amount(text: str) -> float:
    """A number above 0."""
    if not _NUMBER.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not a number")
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not allowed: must be above 0")
    return value


def share(text: str) -> float:
    """A number in (0, 1]."""
    value = amount(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: must be in (0, 1], as 0.7")
    return value


def words(text: str) -> str:
    """A text: an address, a name."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty: give a value, or leave the option out")
    if not text.isprintable():
        raise argparse.ArgumentTypeError(f"{brief(ascii(text))} is not printable text")
    if len(text) > MOST_CHARACTERS:
        raise argparse.ArgumentTypeError(f"{brief(text)} is too long")
    return text


def path(text: str) -> Path:
    """A file or a folder, whether it is there or not."""
    for part in Path(words(text)).parts:
        if len(os.fsencode(part)) > MOST_BYTES:
            said = f"{brief(part)}: a name has at most {MOST_BYTES} bytes"
            raise argparse.ArgumentTypeError(said)
    return Path(text)


def port(text: str) -> int:
    """The number of a TCP port."""
    value = natural(text)
    if not 0 < value < 2**16:
        raise argparse.ArgumentTypeError(f"{text} is not allowed: must be in [1, 65535]")
    return value


def device(text: str) -> str:
    """auto, cpu, cuda, or one of several GPUs."""
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", text):
        raise argparse.ArgumentTypeError(f"{brief(text)} is not allowed: auto, cpu or cuda")
    return text


def brief(text: str) -> str:
    """What was given, of a long one the beginning."""
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"
