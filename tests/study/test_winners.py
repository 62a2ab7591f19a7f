"""How a winner is chosen, and that the search and the analysis choose the same one."""

from __future__ import annotations

import doctest
import math

import optuna
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_analysis.results import selection as tables
from fl_analysis.results.matching import Asked
from fl_core.study import selection
from fl_core.study.search import confirm
from fl_core.study.selection import (
    Candidate,
    complete_means,
    finalists,
    pareto_front,
    ranked,
    thinned,
    winner,
)

#: score, cost, configuration, whether it ran to its full budget; few values, so that ties occur
TRIALS = st.lists(
    st.tuples(
        st.integers(0, 4).map(lambda n: n / 4),
        st.integers(1, 4).map(float),
        st.sampled_from("abcdef"),
        st.booleans(),
    ),
    max_size=12,
)
Trials = list[tuple[float, float, str, bool]]


def test_doctests() -> None:
    result = doctest.testmod(selection)
    assert result.attempted
    assert not result.failed


def test_what_is_no_number_cannot_win() -> None:
    rows = [Candidate(math.nan), Candidate(math.inf), Candidate(0.5, (math.nan,)), Candidate(0.1)]
    assert ranked(rows) == finalists(rows, 3) == [3]
    assert finalists([], 3) == pareto_front([]) == thinned([]) == []


def test_finalists_are_distinct_and_ties_go_to_the_earliest() -> None:
    rows = [Candidate(score, (), (n,), name) for n, (score, name) in enumerate(
        [(0.7, "a"), (0.8, "b"), (0.8, "c"), (0.8, "b"), (0.6, "d")])]  # fmt: skip
    assert finalists(rows, 3) == [1, 2, 0]
    assert finalists(rows, 9) == [1, 2, 0, 4]


def test_the_winner_of_a_confirmation_is_complete() -> None:
    found = [{1: 0.9, 2: 0.9}, {1: 0.7, 2: 0.8, 3: 0.9}, {1: 0.8, 2: 0.8, 3: 0.8}]
    means = complete_means(found, (1, 2, 3))
    assert means == [None, pytest.approx(0.8), pytest.approx(0.8)]
    assert winner([None, 0.8, 0.8]) == 1
    assert complete_means(found[:1], ()) == [0.9]
    assert complete_means([{}, {}], ()) == [None, None]
    assert winner([]) is None


@settings(max_examples=60, deadline=None)
@given(TRIALS, st.integers(1, 4), st.booleans())
def test_the_search_and_the_analysis_choose_the_same(rows: Trials, most: int, two: bool) -> None:
    """The same trials, as Optuna remembers them and as a store's runs."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(directions=["maximize", "minimize"] if two else ["maximize"])
    for score, cost, name, full in rows:
        trial = study.ask()
        trial.set_user_attr("digest", name)
        state = optuna.trial.TrialState.COMPLETE if full else optuna.trial.TrialState.PRUNED
        study.tell(trial, ([score, cost] if two else score) if full else None, state)
    frame = pd.DataFrame(rows, columns=["val_accuracy", "bytes_up", "digest", "full"])
    frame["status"] = frame["full"].map({True: "finished", False: "pruned"})
    frame = frame.assign(phase="search", number=range(len(rows)))
    mixed = frame.sample(frac=1, random_state=0) if rows else frame
    if two:
        told = [trial.number for trial in confirm.pareto_front(study)]
        shown = tables.pareto_front(mixed, ["bytes_up"])
        # Optuna's own front, of equal points the earliest
        points = {tuple(t.values): t.number for t in reversed(study.best_trials)}
        assert set(told) == set(points.values())
    else:
        told = [trial.number for trial in confirm.best_trials(study, most)]
        shown = tables.finalists(mixed, Asked(finalists=most))
    assert shown["number"].tolist() == told
