"""Errors that are told in one line: what is wrong, and what to do."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user or a broken environment: shown as one line, exit code 2."""


class ConfigError(UserError):
    """A configuration field with a value that is not allowed."""


class Differs(Exception):
    """A trial that was run again did not come to the same numbers; each is on the screen."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line, not too long; its kind if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def kind_and_line(error: BaseException) -> str:
    """The same for an error that needs its kind to be understood, as a KeyError does."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"
