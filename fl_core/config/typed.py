"""The value of a configuration field as a person types it: `--set NAME=VALUE`.

A text is read by the type of its field and by nothing else: no date, no octal number and no list
comes out of it, as from YAML.
"""

from __future__ import annotations

import re

from fl_core.config.fields import Value, refuse, specs
from fl_core.config.trial_config import TrialConfig, unknown_field

#: A number in decimal digits: 10, -0.5, 1e-3.
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[+-]?\.?(nan|inf|infinity)", re.IGNORECASE)
_MOST_DIGITS = 40
_NOTHING = ("null", "none")
_TRUTH = {"true": True, "false": False}


def typed(name: str, text: str) -> Value:
    """The value that a text has in this field; ConfigError for no such field, or no such value.

    Bounds and choices are the configuration's to check.

    >>> typed("local.lr", "1e-3"), typed("rounds", "1e2"), typed("federation.alpha", "null")
    (0.001, 100, None)
    """
    known = specs(TrialConfig)
    if name not in known:
        raise unknown_field(name)
    spec, lower = known[name], text.lower()
    kind, *others = str(spec.type).split(" | ")
    if not text:
        raise refuse(name, text, "give a value")
    if "None" in others and lower in _NOTHING:
        return None
    if kind == "str" or text == spec.metadata.get("word"):
        return text
    if kind == "bool":
        return _TRUTH.get(lower, text)
    return _number(text, kind)


def _number(text: str, kind: str) -> Value:
    """A number; what is none stays a text, which the field refuses."""
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", ""))
    if len(text) > _MOST_DIGITS or not NUMBER.fullmatch(text):
        return text
    value = float(text)
    return int(value) if kind == "int" and value.is_integer() else value
