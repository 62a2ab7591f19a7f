"""`--fields`: the fields of the configuration, their defaults, what is allowed, their meaning."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import textwrap
from typing import Any

from fl_core.config.aliases import meant
from fl_core.config.reference import FieldRow, rows


class ShowFields(argparse.Action):
    """The option that shows the fields and ends the program."""

    def __call__(self, parser: argparse.ArgumentParser, _space: Any, text: Any, *_: Any) -> None:
        found = matching(text or "")
        if not found:
            likely = meant(text, [row.name for row in rows()])
            hint = f"; did you mean {likely}?" if likely else ""
            parser.error(f"--fields {text[:80]}: no field has that in its name{hint}")
        try:
            print("\n".join(listed(found, _width())), flush=True)
        except BrokenPipeError:  # who reads has seen enough; no second complaint when Python ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        parser.exit()


def matching(text: str) -> list[FieldRow]:
    """The fields that have this in their name, or else what it is an alias of."""
    every = rows()
    within = [row for row in every if text.lower() in row.name.lower()]
    alias = meant(text, [row.name for row in every]).split()
    return within or [row for row in every if row.name in alias]


def listed(fields: list[FieldRow], width: int | None) -> list[str]:
    """A paragraph a field: `name=default`, what is allowed, the meaning. width: None = one line.

    >>> listed([FieldRow("local.lr", "number", "0.1", "(0, 1]", "learning rate")], None)
    ['local.lr=0.1  (0, 1]: learning rate']
    """
    lines = [f"{row.name}={row.default}  {row.allowed}: {row.meaning}" for row in fields]
    if width is None:
        return lines
    return [textwrap.fill(line, width, subsequent_indent="    ") for line in lines]


def _width() -> int | None:
    """The terminal's; what is piped stays one line a field, for grep."""
    return max(40, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None
