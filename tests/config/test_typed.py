"""What `--set NAME=TEXT` means: the type of the field reads the text, and nothing else does."""

from __future__ import annotations

import doctest
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_core.base.errors import ConfigError
from fl_core.config import aliases, fields, typed
from fl_core.config.reference import rows
from fl_core.config.trial_config import TrialConfig, Value

DEFAULT = TrialConfig()


@pytest.mark.parametrize("module", [typed, aliases, fields])
def test_doctests(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("local.lr", "1e-3", 0.001),
        ("local.lr", ".5", 0.5),
        ("rounds", "+7", 7),
        ("rounds", "1e3", 1000),
        ("rounds", "10.0", 10),
        ("seed", "900000000001", 900000000001),
        ("data.flip", "False", False),  # as MLflow shows it
        ("data.flip", "true", True),
        ("federation.alpha", "null", None),
        ("local.blend", "none", "none"),  # a choice, not nothing
        ("head.temperature", "auto", "auto"),
        ("head.temperature", "2", 2.0),
        ("backbone.tag", "2026-11-27", "2026-11-27"),
        ("backbone.tag", "1e3", "1e3"),
        ("backbone.tag", "null", "null"),
    ],
)
def test_texts_are_read_by_their_field(name: str, text: str, value: Value) -> None:
    found = typed.typed(name, text)
    assert found == value
    assert not isinstance(value, bool) or found is value


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-27", "0x10", "0o7", "0b1", "1_000", "010:30", "!!python/name:os.system", "[1",
        "[]", "{}", "&a 1", "*a", "1" * 5000, "[" * 3000, "1e", "e1", "--1", "1 2", "١٢", "true",
        "~", "'5'", "5 # five", "nan", ".nan", "inf", "-.INF", "1e400", "-1e400", "",
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["local.lr", "rounds"])
def test_what_is_no_number_is_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigError) as error:
        DEFAULT.override({name: typed.typed(name, text)})
    said = str(error.value)
    assert said.startswith(f"{name}=")
    assert "\n" not in said
    assert len(said) < 200


@pytest.mark.parametrize("text", ["yes", "on", "1", "y", "TRUE!", "None"])
def test_what_is_neither_true_nor_false_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"data\.flip='.*': must be true or false"):
        DEFAULT.override({"data.flip": typed.typed("data.flip", text)})


def test_what_the_reference_shows_can_be_typed() -> None:
    for row in rows():
        assert typed.typed(row.name, row.default) == DEFAULT.to_flat()[row.name]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.sampled_from([row.name for row in rows()]), st.text(max_size=50))
def test_any_text_is_what_the_field_holds_or_refused(name: str, text: str) -> None:
    with suppress(ConfigError):
        value = typed.typed(name, text)
        assert DEFAULT.override({name: value}).to_flat()[name] == value
