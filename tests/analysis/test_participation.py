"""How often each client was selected: which arms are drawn, and what uniform selection gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_study import confirm, search, study

from fl_analysis.plots.captions import captions
from fl_analysis.plots.participation import participation_figure
from fl_analysis.reading import fetch
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.outcome import Outcome, outcomes
from fl_analysis.results.participation import Participation, read_participation, undrawn

FIVE = {"federation.sharding": "classes", "federation.classes_per_client": 5}
IID = {"federation.sharding": "iid", "federation.classes_per_client": None}
SELECTED: list[dict[str, Any]] = [
    {"select.rule": "uniform"},
    {"select.rule": "cyclic"},
    {"select.rule": "dirichlet", "select.gamma": 0.5},
    {"select.rule": "dirichlet", "select.gamma": 0.5, "select.reweight": "unbiased"},
]
#: Of four clients, two a round, eight rounds; by seed.
COUNTS = {1: (0, 8, 6, 2), 2: (4, 4, 0, 8)}


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> StudyRuns:
    """Each selection in each of two shardings, two seeds; the last one's seeds counted nothing."""
    settings = tuple({**shards, **how} for shards in (FIVE, IID) for how in SELECTED)
    size = {"federation.clients": 4, "federation.participation": 0.5}
    rows = []
    for arm, setting in enumerate(settings):
        more = {"select.gamma": 1.0, **size, **setting, "round": 8.0}
        rows.append(search(0, 0.8, arm, **more))
        rows += [confirm(0, seed, 0.7, 0.6, arm, **more) for seed in COUNTS]
    made = study(rows, arms=len(settings))
    by_run = made.trials.set_index("run_id")

    def texts(of: StudyRuns, run_ids: Sequence[str], name: str) -> dict[str, str]:
        assert name == "selections.csv"
        lines = {
            run: [f"{k},{n}" for k, n in enumerate(COUNTS[by_run.at[run, "seed"]])]
            for run in run_ids
            if by_run.at[run, "arm"] != 5
        }
        return {run: "\n".join(["client,rounds", *rest, ""]) for run, rest in lines.items()}

    monkeypatch.setattr(fetch, "_texts", texts)
    return replace(made, settings=settings)


def read(runs: StudyRuns) -> list[Participation]:
    return read_participation(runs, outcomes(runs))


def test_selections_that_are_not_uniform_are_read(runs: StudyRuns) -> None:
    """Without the arm that nobody counted, and the one that averages otherwise alone."""
    found = read(runs)
    assert [(p.others, p.label) for p in found] == [
        ("N_c=5", "cyclic"), ("N_c=5", "Dirichlet, γ=0.5"), ("iid", "Dirichlet, γ=0.5"),
    ]  # fmt: skip
    for one in found:
        assert one.shares.tolist() == [[1, 0.75, 0.25, 0], [1, 0.5, 0.5, 0]]
        assert (one.rounds, one.uniform) == (8, 0.5)


def test_the_band_is_binomial(runs: StudyRuns) -> None:
    """19 of 20 fair coins, tossed eight times, fall on heads once to seven times."""
    assert read(runs)[0].band == (1 / 8, 7 / 8)
    many = replace(read(runs)[0], rounds=1000, uniform=0.1)
    drawn = np.random.default_rng(0).binomial(1000, 0.1, 100_000) / 1000
    assert many.band == pytest.approx(np.quantile(drawn, [0.025, 0.975]))
    assert replace(many, uniform=1.0).band == (1, 1)


def test_the_figure_has_a_panel_for_what_else_arms_set(runs: StudyRuns) -> None:
    figure = participation_figure(read(runs))
    assert figure is not None
    assert [ax.get_title() for ax in figure.axes] == ["$N_c$=5", "iid"]
    level, first, _ = figure.axes[0].lines
    assert set(level.get_ydata()) == {50.0}
    assert first.get_xydata().tolist() == [[1, 100], [2, 62.5], [3, 37.5], [4, 0]]
    assert first.get_color() != figure.axes[1].lines[1].get_color()  # one selection, one colour
    assert figure.axes[0].lines[2].get_color() == figure.axes[1].lines[1].get_color()
    assert participation_figure([]) is None
    assert "binomial" in captions(outcomes(runs), (), {})["selections"]


def test_why_nothing_is_drawn(runs: StudyRuns) -> None:
    results = outcomes(runs)
    plain = [o for o in results if o.config["select.rule"] == "uniform"]
    central = [replace(o, config={**o.config, "federation.clients": 1}) for o in results]
    older = [_without_rule(o) for o in plain]
    assert undrawn(results) is None
    assert undrawn(central) is None
    for uniform in (plain, older):
        assert undrawn(uniform) == "every arm draws its clients uniformly"
        assert read_participation(runs, uniform) == []


def _without_rule(outcome: Outcome) -> Outcome:
    rest = {name: value for name, value in outcome.config.items() if name != "select.rule"}
    return replace(outcome, config=rest)
