"""Fields of a configuration that check their own type and bounds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import cache
from typing import Any, ClassVar, TypeVar

from fl_core.base.errors import ConfigError
from fl_core.config.own import is_own

Value = str | int | float | bool | None
S = TypeVar("S", bound="Section")
#: A number above this is a mistake where nothing nearer says so: rates end in infinities, counts in
#: no lifetime.
MOST = 1_000_000
MOST_BYTES = 255  # of a text: it becomes part of a file's name


def number(
    default: float | int | None,
    low: float,
    high: float = MOST,
    *,
    above: bool = False,
    below: bool = False,
) -> Any:
    """A field within [low, high]; `above` / `below` make an end exclusive."""
    return field(
        default=default, metadata={"low": low, "high": high, "above": above, "below": below}
    )


def word_or_number(default: str, low: float, high: float = MOST, *, above: bool = False) -> Any:
    """A field that is this word, or a number as `number` takes it."""
    meta = {"word": default, "low": low, "high": high, "above": above, "below": False}
    return field(default=default, metadata=meta)


def choice(default: str, *allowed: str, own: bool = False, form: str = "") -> Any:
    """A field with one of these values; `own`: or the user's own, `package.module:name`; `form`: or
    what begins as this does, up to its colon ("hf:OWNER/NAME").
    """
    return field(default=default, metadata={"choices": allowed, "own": own, "form": form})


def text(default: str, *, own: bool = False) -> Any:
    """A field with any text; `own`: `package.module:name` in it is the user's own."""
    return field(default=default, metadata={"own": own})


NO_PATH = "none"


def path() -> Any:
    """A field that names a file or a folder of the user's: its content is what names a trial."""
    return field(default=NO_PATH, metadata={"path": True})


def refuse(name: str, value: object, allowed: str) -> ConfigError:
    """The error for a field, its value and what is allowed."""
    return ConfigError(f"{name}={shown(value)}: {allowed}")


def shown(value: object) -> str:
    """A value in a line: of a long one the beginning."""
    try:
        text = repr(value)
    except Exception:  # an int of thousands of digits; an object of the user's
        text = f"{type(value).__name__} that cannot be shown"
    return text if len(text) <= 80 else f"{text[:60]}… ({len(text)} characters)"


def interval(spec: dataclasses.Field[Any]) -> str:
    """The bounds of a number, as (0, 1] or [1, 1e+06]."""
    meta = spec.metadata
    left = "(" if meta["above"] else "["
    right = ")" if meta["below"] else "]"
    return f"{left}{meta['low']:g}, {meta['high']:g}{right}"


def checked(name: str, value: object, spec: dataclasses.Field[Any]) -> object:
    """`value` in the field's own type, or a ConfigError that names field, value and bounds."""
    kinds = str(spec.type).split(" | ")
    if value is None:
        if "None" in kinds:
            return None
        raise refuse(name, value, f"needs a value of type {kinds[0]}")
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    kind = kinds[0]
    if kind == "bool":
        if not isinstance(value, bool):
            raise refuse(name, value, "must be true or false")
        return value
    if kind == "str":
        choices, own = spec.metadata.get("choices"), spec.metadata.get("own")
        if isinstance(value, str) and not is_name(value):
            raise refuse(name, value, f"must be printable and of at most {MOST_BYTES} bytes")
        form = spec.metadata.get("form", "")
        start = form.partition(":")[0] + ":"
        formed = form and isinstance(value, str) and value.startswith(start)
        if isinstance(value, str) and (not choices or value in choices or (own and is_own(value))):
            return value
        if formed:  # the section looks at the rest
            return value
        also = f", {form}" if form else ""
        also += ", or your own as package.module:name" if own and choices else ""
        raise refuse(name, value, "must be " + (" or ".join(choices or ("text",))) + also)
    word = spec.metadata.get("word")
    if isinstance(value, str) and value == word:
        return value
    instead = "" if word is None else f"{word} or "
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse(name, value, f"must be {instead}a number ({kind})")
    if isinstance(value, float) and not math.isfinite(value):
        raise refuse(name, value, "must be finite")
    if kind == "int" and value != int(value):
        raise refuse(name, value, "must be a whole number")
    low, high = spec.metadata["low"], spec.metadata["high"]
    above, below = spec.metadata["above"], spec.metadata["below"]
    if value < low or value > high or (above and value == low) or (below and value == high):
        raise refuse(name, value, f"must be {instead}in {interval(spec)}")
    return int(value) if kind == "int" else float(value) + 0.0  # no -0.0: one digest for both


@dataclasses.dataclass(frozen=True)
class Section:
    """A group of fields and of further sections; checks each field's type and bounds.

    prefix: what stands before the name of a field wherever it is named.
    """

    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if not isinstance(value, Section):
                value = checked(self.prefix + spec.name, value, spec)
                object.__setattr__(self, spec.name, value)

    def only_for(self, choice: str, reads: Mapping[str, Sequence[str]]) -> None:
        """Refuse a field that was set though the choice made does not read it.

        reads: the fields that each choice alone reads. What the user's own choice reads is not
        known: it may read any.
        """
        made = getattr(self, choice)
        if is_own(made):
            return
        defaults = {spec.name: spec.default for spec in dataclasses.fields(self)}
        for name in {one for fields in reads.values() for one in fields} - set(reads[made]):
            value = getattr(self, name)
            if value != defaults[name]:
                need = " or ".join(option for option, fields in reads.items() if name in fields)
                raise refuse(self.prefix + name, value, f"only for {self.prefix}{choice}={need}")

    def to_flat(self) -> dict[str, Value]:
        """Dotted names to plain values, in declaration order."""
        flat: dict[str, Value] = {}
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            flat |= (
                value.to_flat() if isinstance(value, Section) else {self.prefix + spec.name: value}
            )
        return flat

    def own(self) -> dict[str, str]:
        """The fields that name something of the user's own, with what they name."""
        found: dict[str, str] = {}
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, Section):
                found |= value.own()
            elif spec.metadata.get("own") and is_own(value):
                found[self.prefix + spec.name] = value
        return found

    def paths(self) -> dict[str, str]:
        """The fields that name a file or a folder of the user's, with its path."""
        return {
            name: str(value)
            for name, value in self.to_flat().items()
            if value != NO_PATH and specs(type(self))[name].metadata.get("path")  # type: ignore[arg-type]
        }

    def changed(self) -> dict[str, Value]:
        """The part of `to_flat` that differs from the defaults: what a name by content hashes.

        A field that is added later, with a default under which nothing is different, leaves it as
        it is; who changes a default gives the same text another meaning and must raise the version
        that is hashed beside it.
        """
        usual = _defaults(type(self))  # type: ignore[arg-type]  # a class is hashable
        return {name: value for name, value in self.to_flat().items() if value != usual[name]}


def is_name(text: str) -> bool:
    r"""Whether a text can stand in a file's name, on a terminal and in a table.

    >>> is_name("vit_tiny"), is_name("two\nlines"), is_name(256 * "x")
    (True, False, False)
    """
    return text.isprintable() and len(text.encode(errors="replace")) <= MOST_BYTES


@cache
def specs(section: type[Section]) -> dict[str, dataclasses.Field[Any]]:
    """Dotted name -> field, of all sections below too, in the order of their declaration."""
    found: dict[str, dataclasses.Field[Any]] = {}
    for spec in dataclasses.fields(section):
        inner = spec.default_factory
        if isinstance(inner, type) and issubclass(inner, Section):
            found |= specs(inner)
        else:
            found[section.prefix + spec.name] = spec
    return found


@cache
def _defaults(section: type[Section]) -> dict[str, Value]:
    return section().to_flat()


def is_read(name: str, reads: Sequence[str]) -> bool:
    """Whether a stage that reads these fields reads this one: by its name, or its group ("local.").

    >>> is_read("local.lr", ("rounds", "local.")), is_read("rounds_x", ("rounds", "local."))
    (True, False)
    """
    return any(name == one or (one[-1] == "." and name.startswith(one)) for one in reads)


def from_flat(section: type[S], flat: Mapping[str, Value], prefix: str = "") -> S:
    """The section that has these values, by dotted name, and its defaults for the others."""
    values: dict[str, Any] = {}
    for spec in dataclasses.fields(section):
        name, inner = prefix + spec.name, spec.default_factory
        if isinstance(inner, type) and issubclass(inner, Section):
            values[spec.name] = from_flat(inner, flat, f"{name}.")
        elif name in flat:
            values[spec.name] = flat[name]
    return section(**values)
