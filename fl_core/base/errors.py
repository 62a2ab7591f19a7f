"""Errors that are told in one line: what is wrong, and what to do."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user or a broken environment: shown as one line, exit code 2."""


class ConfigError(UserError):
    """A configuration field with a value that is not allowed."""
