"""Errors that are told in one line: what is wrong, and what to do."""

from __future__ import annotations

import re

#: The password of user:password@host (greedy: one may hold an @ or a /), and of a query.
_SECRET = re.compile(r"(\w://[^\s/:@\[]*:)(?!\d+(?:/|\s|$))\S+(@)")
_QUERY_SECRET = re.compile(
    r"([?&;]\w*(?:password|passwd|pwd|secret|token)=)[^\s&;]+", re.IGNORECASE
)


class UserError(Exception):
    """A mistake of the user or a broken environment: shown as one line, exit code 2."""


class ConfigError(UserError):
    """A configuration field with a value that is not allowed."""


class Differs(Exception):
    """A trial that was run again did not come to the same numbers; each is on the screen."""


def hidden(text: str) -> str:
    """A text without the passwords of the addresses in it: what is printed or kept.

    >>> hidden("cannot reach postgresql://me:secret@host/runs?sslpassword=x")
    'cannot reach postgresql://me:***@host/runs?sslpassword=***'
    """
    return _QUERY_SECRET.sub(r"\1***", _SECRET.sub(r"\1***\2", text))


def first_line(error: BaseException) -> str:
    """What an error says, in one line, not too long; its kind if it says nothing."""
    return hidden((str(error).strip().splitlines() or [type(error).__name__])[0])[:200]


def kind_and_line(error: BaseException) -> str:
    """The same for an error that needs its kind to be understood, as a KeyError does."""
    kind, line = type(error).__name__, first_line(error)
    return kind if line == kind else f"{kind}: {line}"
