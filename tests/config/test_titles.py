"""Methods have names in print, one each, and papers that are in the bibliography."""

from __future__ import annotations

import doctest

import pytest

from fl_analysis.tables.bibliography import bibliography
from fl_analysis.tables.render import Block
from fl_analysis.tables.sources import SOURCES, source
from fl_core.config import titles
from fl_core.config.methods import METHODS
from fl_core.config.papers import PAPERS
from fl_core.config.titles import (
    FEDAVG,
    TITLES,
    TOGETHER,
    WHOLE,
    cited,
    method_fields,
    method_title,
)

NAMED = [*(named for choices in TITLES.values() for named in choices.values()),
         *(named for _, named in WHOLE)]  # fmt: skip
CITED = {named.cite for named in NAMED if named.cite}


def test_the_examples() -> None:
    assert doctest.testmod(titles).failed == 0


def test_what_is_cited_is_known_and_the_other_way_round() -> None:
    assert {*PAPERS, *SOURCES} >= CITED
    assert set(PAPERS) <= CITED
    names = [source(key).name for key in CITED]
    assert len(set(names)) == len(names)  # a note cites by them


@pytest.mark.parametrize("name", TITLES)
def test_no_two_choices_are_called_alike(name: str) -> None:
    shown = [named.name for named in TITLES[name].values()]
    assert len(set(shown)) == len(shown)
    if name in TOGETHER:
        assert shown[0] == FEDAVG


@pytest.mark.parametrize("name", sorted(set(METHODS) & set(TITLES)))
def test_every_choice_has_a_name_in_print(name: str) -> None:
    assert set(METHODS[name]) <= set(TITLES[name])


def test_the_bibliography_of_methods() -> None:
    configs = [{"local.rule": "scaffold"}, {"server.optimiser": "adam", "local.rule": "plain"}]
    papers = cited(configs)
    assert list(papers) == [FEDAVG, "SCAFFOLD", "FedAdam"]
    assert cited([{"local.rule": "plain"}, {}]) == {}
    block = Block("", "", [], [], [], [], sources={key: source(key) for key in papers.values()})
    text = bibliography([block])
    assert text is not None
    assert text.count("@misc{") == 3
    assert "author = {{Karimireddy}, S. P. and {Kale}, S. and" in text


def test_which_fields_make_a_method() -> None:
    arms = [
        {"federation.sharding": "iid", "local.rule": "plain", "server.lr": 1.0, "local.steps": 4},
        {"federation.sharding": "iid", "server.optimiser": "adam", "local.steps": 4},
    ]
    assert method_fields(arms) == ["local.rule", "server.lr", "server.optimiser"]
    assert method_fields([{"local.mu": 0.1}, {"local.mu": 1.0}]) == []
    assert method_title({"local.rule": "scaffold", "personal.rule": None}) == "SCAFFOLD"
