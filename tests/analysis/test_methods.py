"""A study whose arms are methods: each is compared with FedAvg under the same conditions."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_study import confirm, search, study
from test_answer import arm

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.answer import answer
from fl_analysis.results.outcome import Outcome, outcomes
from fl_analysis.results.pivot import pivot
from fl_analysis.results.significance import pairs
from fl_analysis.tables.bibliography import bibliography
from fl_analysis.tables.final import blocks
from fl_analysis.tables.latex import paper_appendix
from fl_analysis.tables.pairs import pairs_block
from fl_core.study.arms import each, grid, shardings

METHODS = [{"local.rule": "plain"}, {"local.rule": "scaffold"}, {"server.optimiser": "adam"}]
ARMS = grid(shardings(None, 1), METHODS)
#: By hand, of each arm: its test accuracy by seed; at N_c=1 the second and third change places.
TESTS = ([0.70, 0.71, 0.72], [0.71, 0.72, 0.74], [0.60, 0.61, 0.62],
         [0.50, 0.51, 0.52], [0.40, 0.42, 0.44], [0.55, 0.57, 0.58])  # fmt: skip


@pytest.fixture
def made() -> list[Outcome]:
    return [arm(n, one, tests) for n, (one, tests) in enumerate(zip(ARMS, TESTS, strict=True))]


def test_methods_run_down_and_the_best_of_each_column_is_bold(made: list[Outcome]) -> None:
    found = pivot(made)
    assert found.row_heads == ("method",)
    assert found.rows == (("FedAvg",), ("SCAFFOLD",), ("FedAdam",))
    assert found.column_names == ("iid", "N_c=1")
    assert found.bold == {(1, 0), (2, 1)}
    assert found.text(2, 1) == "56.7 ± 1.5"


def test_each_is_tested_against_fedavg_with_all_else_the_same(made: list[Outcome]) -> None:
    found = pairs(made)
    assert [(p.one.name, p.other.name) for p in found] == [
        ("iid, SCAFFOLD", "iid, FedAvg"), ("iid, FedAdam", "iid, FedAvg"),
        ("N_c=1, SCAFFOLD", "N_c=1, FedAvg"), ("N_c=1, FedAdam", "N_c=1, FedAvg"),
    ]  # fmt: skip
    assert found[2].difference.mean == pytest.approx(-0.09)
    block = pairs_block(made)
    assert block is not None
    assert "(each method against FedAvg, all else the same)" in block.caption


def test_the_answer_names_the_best_of_each_setting(made: list[Outcome]) -> None:
    assert answer(made) == (
        "best by validation: SCAFFOLD 72.3 % at iid (+1.3 points [-0.1, +2.8] to FedAvg); "
        "FedAdam 56.7 % at N_c=1 (+5.7 points [+4.2, +7.1] to FedAvg)."
    )
    plain = [one for one in made if one.arm in (0, 2)]
    assert answer(plain) == "best by validation: FedAvg 71.0 %."


def test_arms_of_other_kinds_are_compared_as_ever(made: list[Outcome]) -> None:
    arms = grid([{"local.rule": "prox"}], each("local.mu", (0.1, 1.0)))
    some = [arm(n, one, tests) for n, (one, tests) in enumerate(zip(arms, TESTS, strict=False))]
    assert [(p.one.name, p.other.name) for p in pairs(some)] == [
        ("FedProx, local.mu=0.1", "FedProx, local.mu=1.0")
    ]


@pytest.fixture
def runs() -> StudyRuns:
    """FedAvg as it is, with a rate of the server that is searched, and SCAFFOLD."""
    rows = [search(0, 0.7, n) for n in range(3)]
    rows += [confirm(0, seed, 0.7, 0.7 + n / 100, n) for n in range(3) for seed in (1, 2, 3)]
    for row in rows:
        row["server.lr"] = None if row["arm"] == 0 else 1.5
    made = study(rows, arms=3)
    arms = [{"local.rule": "plain", "server.lr": 1.0}, *METHODS[:2]]
    space = {**made.space, "server.lr": {"low": 0.5, "high": 2.0, "log": True}}
    return replace(made, settings=tuple(arms), space=space)


def test_what_one_arm_sets_others_search(runs: StudyRuns) -> None:
    found = outcomes(runs)
    assert [o.config["server.lr"] for o in found] == [1.0, 1.5, 1.5]
    assert pivot(found).rows == (("FedAvg, server.lr=1.0",), ("FedAvg",), ("SCAFFOLD",))
    assert [(p.one.arm, p.other.arm) for p in pairs(found)] == [(0, 1), (2, 1)]
    block, *_ = blocks(runs)
    at = block.header.index("server lr")
    assert [row[at] for row in block.rows] == ["1", "1.5", "1.5"]


def test_methods_are_cited(runs: StudyRuns) -> None:
    found = blocks(runs)
    assert list(found[0].sources) == ["mcmahan2017", "karimireddy2020"]
    text = paper_appendix("mine", found)
    assert r"methods: FedAvg \cite{mcmahan2017}, SCAFFOLD \cite{karimireddy2020}." in text
    entries = bibliography(found)
    assert entries is not None
    assert entries.count("@misc") == 2
