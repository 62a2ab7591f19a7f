"""The expected best of n random trials: against all samples, which trials count, who is ahead."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from typing import Any

import numpy as np
import pytest
from made_study import search, study

from fl_analysis.plots.captions import captions
from fl_analysis.plots.expected import expected_figure
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.expected import (
    Expected,
    ahead,
    best_std,
    expected_best,
    read_expected,
    unsuitable,
    wins,
)
from fl_analysis.results.outcome import outcomes
from fl_analysis.tables.expected import ahead_text, expected_block, expected_csv

SCORES = [0.30, 0.71, 0.55, 0.71, 0.01]
METHODS: list[dict[str, Any]] = [{}, {"local.rule": "prox"}, {"server.optimiser": "adam"}]
SHARDS: list[dict[str, Any]] = [
    {"federation.sharding": "iid"},
    {"federation.sharding": "classes", "federation.classes_per_client": 1},
]


@pytest.mark.parametrize("n", range(1, len(SCORES) + 1))
def test_against_every_ordered_sample(n: int) -> None:
    """Without replacement for the mean, with it for its spread and for who wins."""
    different = [max(sample) for sample in itertools.permutations(SCORES, n)]
    assert expected_best(SCORES)[n - 1] == pytest.approx(statistics.mean(different), abs=1e-14)
    drawn = [max(sample) for sample in itertools.product(SCORES, repeat=n)]
    assert best_std(SCORES)[n - 1] == pytest.approx(statistics.pstdev(drawn), abs=1e-14)
    other = [max(sample) for sample in itertools.product([0.3, 0.55, 0.6], repeat=n)]
    won = [1.0 if a > b else 0.5 if a == b else 0.0 for a in drawn[:625] for b in other[:81]]
    if n < 5:  # all of them
        assert wins(SCORES, [0.3, 0.55, 0.6], n) == pytest.approx(statistics.mean(won), abs=1e-14)


def test_the_mean_is_unbiased_where_draws_with_replacement_are_too_low() -> None:
    """Of a known distribution, uniform on [0, 1]: E[max of 5] = 5/6."""
    rng = np.random.default_rng(0)
    samples = rng.random((4000, 6))
    mean = np.mean([expected_best(s)[4] for s in samples])
    plug = np.mean([np.sort(s) @ np.diff((np.arange(7) / 6) ** 5) for s in samples])
    assert mean == pytest.approx(5 / 6, abs=0.006)
    assert plug < 5 / 6 - 0.04
    assert expected_best(SCORES)[0] == pytest.approx(statistics.mean(SCORES))
    assert expected_best(SCORES)[-1] == max(SCORES)


def methods(**tags: str) -> StudyRuns:
    """Two shardings of three methods, four trials each; FedAvg's second diverged."""
    settings = [{**shard, **method} for shard in SHARDS for method in METHODS]
    better = {1: 0.02, 2: -0.01, 4: -0.01, 5: 0.03}
    rows = [
        search(n, 0.6 + better.get(arm, 0.0) + 0.01 * n, place=arm)
        for arm in range(len(settings)) for n in range(4)
    ]  # fmt: skip
    for row in rows:
        if row["place"] in (0, 3) and row["number"] == 1:
            row |= {"status": "diverged", "val_accuracy": 0.9}
    runs = study(rows, **{"searcher": "random", "scheduler": "none", **tags})
    arms = runs.arms.loc[[0] * len(settings)].reset_index(drop=True)
    names = sorted({name for setting in settings for name in setting})
    neutral = {"local.rule": "plain", "server.optimiser": "sgd"}
    for name in names:
        values = [s.get(name, neutral.get(name)) for s in settings]
        arms[name] = np.array([*values, None], dtype=object)[:-1]
    arms["arm_name"] = [f"arm {i}" for i in range(len(settings))]
    trials = runs.trials.assign(arm=[row["place"] for row in rows])
    return dataclasses.replace(runs, settings=tuple(settings), arms=arms, trials=trials)


def found(runs: StudyRuns) -> list[Expected]:
    return read_expected(runs, outcomes(runs))


def test_arms_are_compared_with_fedavg_of_their_sharding() -> None:
    arms = found(methods())
    assert [a.stratum for a in arms] == ["iid"] * 3 + ["N_c=1"] * 3
    assert [a.label for a in arms[:3]] == ["FedAvg", "FedProx", "FedAdam"]
    assert [a.fedavg for a in arms] == [True, False, False] * 2
    assert arms[0].scores == (0.01, 0.60, 0.62, 0.63)  # the diverged one is a guess
    block = expected_block(arms)
    assert block is not None
    assert [row[0] for row in block.rows[:2]] == ["iid, FedAvg", "iid, FedProx"]
    assert block.rows[0][5:] == ["—", "—", "—"]
    assert block.rows[1][5:7] == ["+2.0", "every n"]
    assert block.rows[2][5:7] == [
        "-1.0",
        "1",
    ]  # by hand: 0.605 against 0.465, then 0.6133 against 0.6217
    text = expected_csv(arms)
    assert text is not None
    assert text.splitlines()[0] == "stratum,arm,n,expected_best,std"
    assert len(text.splitlines()) == 1 + 6 * 4


def test_a_panel_a_sharding_and_a_line_an_arm() -> None:
    figure = expected_figure(found(methods()))
    assert figure is not None
    assert [ax.get_title() for ax in figure.axes] == ["iid", "$N_c$=1"]
    for ax in figure.axes:
        assert len(ax.lines) == 3
        assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 3
    last = [float(np.asarray(line.get_ydata())[-1]) for line in figure.axes[0].lines]
    assert last == pytest.approx([63, 65, 62])
    assert "Dodge" in captions(outcomes(methods()), [], {})["expected"]


def test_only_random_draws_that_ran_to_their_end_count() -> None:
    assert unsuitable(methods()) is None
    tpe = methods(searcher="tpe")
    assert "tpe proposes are not drawn independently" in str(unsuitable(tpe))
    assert "asha stops trials early" in str(unsuitable(methods(scheduler="asha")))
    assert found(tpe) == []
    assert expected_figure([]) is expected_block([]) is expected_csv([]) is None
    begun = found(methods(first="2"))  # two points of the study's own
    assert begun[1].scores == pytest.approx((0.64, 0.65))
    visited = methods()
    last = visited.trials["number"] == 3
    trials = visited.trials.assign(neighbour=np.where(last, "other", ""))
    assert found(dataclasses.replace(visited, trials=trials))[1].scores[-1] == pytest.approx(0.64)


def test_ahead_in_spans() -> None:
    one, other = (
        dataclasses.replace(found(methods())[0], mean=np.array(mean))
        for mean in ([0.1, 0.5, 0.5, 0.7, 0.8], [0.2, 0.4, 0.5, 0.6])
    )
    assert ahead(one, other) == [(2, 2), (4, 4)]
    assert ahead_text(ahead(one, other), 4) == "2, from 4"
