"""The field reference: whole, true of the configuration, and docs/fields.md is what it prints."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest
import yaml

from fl_core.base.errors import ConfigError
from fl_core.config import meanings, reference
from fl_core.config.meanings import MEANINGS
from fl_core.config.reference import FieldRow, page, rows
from fl_core.config.trial_config import TrialConfig

FIELDS = TrialConfig().to_flat()
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("module", [meanings, reference])
def test_doctests(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_every_field_has_its_row_and_its_meaning() -> None:
    assert [row.name for row in rows()] == list(FIELDS)
    assert MEANINGS.keys() <= FIELDS.keys()
    assert all(row.meaning and row.allowed for row in rows())


def test_the_page_is_current() -> None:
    """Mend: python -m fl_core.config.reference > docs/fields.md"""
    assert (ROOT / "docs" / "fields.md").read_text() == page()


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_what_is_allowed_is_what_the_configuration_says(row: FieldRow) -> None:
    """A value that no field takes is refused in the same words, choices and bounds."""
    wrong = {"whole number": -7, "number": -7.0, "text": 7, "true or false": 7}[row.type]
    with pytest.raises(ConfigError) as error:
        TrialConfig().override({row.name: wrong})
    name, _, said = str(error.value).partition(": must be ")
    said = said.removeprefix("in ").replace(" or in ", " or ")
    said = said.replace(", or your own as package.module:name", " or own").replace(" or ", ", ")
    allowed = row.allowed.removesuffix(", null").replace(" or ", ", ")
    assert name == f"{row.name}={wrong!r}"
    assert said == (allowed.removesuffix(", own") if row.type == "text" == said else allowed)


def test_the_default_is_as_set_takes_it() -> None:
    for row in rows():
        assert yaml.safe_load(row.default) == FIELDS[row.name], row
