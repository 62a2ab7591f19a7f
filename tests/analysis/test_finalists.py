"""Several finalists: which one is chosen, by what it never is, and what the tables say of it."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_study import SEEDS, confirm, search, study
from texts import table_latex, table_markdown

from fl_analysis.final_tables import write_tables
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.matching import asked_of
from fl_analysis.results.outcome import outcomes, rule_of
from fl_analysis.results.selection import RULES, finalists
from fl_analysis.tables.conditions import caption
from fl_analysis.tables.final import final_table, table_csv
from fl_analysis.tables.finalists import finalists_block
from fl_core.study.selection import BEST, BEST_CONFIRMED

#: By hand: trial 0 wins the search, trial 1 the confirmation, trial 2 has the best test numbers.
ROWS: list[dict[str, Any]] = [
    search(0, 0.80), search(1, 0.79), search(2, 0.78), search(3, 0.70),
    *(confirm(0, s, 0.70 + s / 100, 0.60) for s in SEEDS),  # mean 0.72
    *(confirm(1, s, 0.74 + s / 100, 0.62 + s / 100) for s in SEEDS),  # mean 0.76
    *(confirm(2, s, 0.71 + s / 100, 0.99) for s in SEEDS),  # mean 0.73
]  # fmt: skip


def chosen(runs: StudyRuns) -> int:
    (outcome,) = outcomes(runs)
    assert outcome.best is not None
    return int(outcome.best["number"])


def changed(index: int, **values: Any) -> list[dict[str, Any]]:
    return [row if i != index else {**row, **values} for i, row in enumerate(ROWS)]


def test_the_highest_mean_validation_over_the_seeds_wins() -> None:
    runs = study(ROWS, finalists=3)
    (outcome,) = outcomes(runs)
    assert chosen(runs) == 1
    assert outcome.warnings == ()
    assert outcome.mean == pytest.approx(0.64)
    assert outcome.search_gap == pytest.approx(0.79 - 0.76)
    assert [f.validation[0] for f in outcome.finalists] == pytest.approx([0.72, 0.76, 0.73])
    assert [f.chosen for f in outcome.finalists] == [False, True, False]
    assert rule_of(runs) == BEST_CONFIRMED
    assert RULES[BEST_CONFIRMED](runs.trials, asked_of(runs))["number"] == 1  # type: ignore[index]


def test_one_finalist_is_the_search_s_best_whatever_the_confirmation_says() -> None:
    for count in (None, 1):
        runs = study(ROWS, finalists=count)
        assert chosen(runs) == 0
        assert outcomes(runs)[0].finalists == ()
        assert rule_of(runs) == BEST
        assert finalists_block(outcomes(runs)) is None
    assert outcomes(study(ROWS))[0].warnings == (
        "arm 0: 6 confirmation run(s) of another configuration left out",
    )


def test_two_finalists_do_not_look_at_the_third() -> None:
    better = [{**r, "val_accuracy": 0.95} if r["local.lr"] == 0.03 else r for r in ROWS]
    better[2] = ROWS[2]  # the third of the search, confirmed as by an earlier, smaller search
    runs = study(better, finalists=2)
    assert chosen(runs) == 1
    assert (
        "3 confirmation run(s) of another configuration left out" in outcomes(runs)[0].warnings[0]
    )


def test_a_diverged_seed_counts_against_its_finalist_and_is_told() -> None:
    runs = study(changed(8, status="diverged", val_accuracy=math.nan), finalists=3)
    assert chosen(runs) == 2  # 0.73, now that trial 1 is not complete
    text = table_markdown(runs)
    assert "arm 0: finalist 2: 2 of 3 confirmation seeds (1 diverged)" in text
    assert "finalist 2: not every seed has a validation accuracy, so it cannot be chosen" in text
    assert "not eligible" in text


def test_ties_go_to_the_better_rank_of_the_search() -> None:
    equal = [{**r, "val_accuracy": 0.75} if r["phase"] == "confirm" else r for r in ROWS]
    assert chosen(study(equal, finalists=3)) == 0
    assert chosen(study([*equal[1:], equal[0]], finalists=3)) == 0


def test_without_validation_the_search_s_best_stands_and_the_table_says_so() -> None:
    blind = [{**r, "val_accuracy": math.nan} if r["phase"] == "confirm" else r for r in ROWS]
    runs = study(blind, finalists=3)
    assert chosen(runs) == 0
    assert outcomes(runs)[0].warnings == (
        "arm 0: the confirmation has no validation accuracy: the search's best trial was taken "
        "instead",
    )
    assert math.isnan(final_table(runs)["search_gap"][0])
    # trained on the validation images: whatever was logged for them is no validation accuracy
    trained = [{**r, "data.train_on": "train+val"} if r["phase"] == "confirm" else r for r in ROWS]
    runs = study(trained, finalists=3, confirm_on="train+val")
    assert chosen(runs) == 0
    assert math.isnan(outcomes(runs)[0].search_gap)
    assert outcomes(runs)[0].mean == pytest.approx(0.60)


def test_no_complete_finalist_falls_back_with_a_warning() -> None:
    partial = [r for r in ROWS if r.get("seed") != 3]
    runs = study(partial, finalists=3)
    assert chosen(runs) == 0
    assert any("no finalist has a validation accuracy of every" in w
               for w in outcomes(runs)[0].warnings)  # fmt: skip
    only = study(ROWS[:4], finalists=3)  # nothing confirmed yet
    assert chosen(only) == 0
    assert math.isnan(outcomes(only)[0].mean)


def test_finalists_are_distinct_finished_configurations_earliest_of_ties() -> None:
    rows = [
        search(0, 0.7), search(1, 0.9, status="pruned"), search(2, 0.8), search(3, 0.8),
        search(4, 0.8, lr=0.03, digest="s0.2"),  # the configuration of trial 2 again
        search(5, 0.9, status="interrupted"), search(6, math.nan),
    ]  # fmt: skip
    runs = study(rows, finalists=3)
    assert list(finalists(runs.trials, asked_of(runs))["number"]) == [2, 3, 0]
    assert "2 of 5 finalists" not in table_markdown(runs)
    assert "3 of 5 finalists: no more trials finished" in table_markdown(study(rows, finalists=5))


def test_interrupted_trials_are_no_results() -> None:
    rows = [search(0, 0.7), search(1, 0.9, status="interrupted"), search(2, 0.8, status="diverged")]
    (outcome,) = outcomes(study(rows))
    assert (outcome.trials, outcome.diverged) == (2, 0.5)
    assert "arm 0: 1 search trial(s) were interrupted and are not counted" in outcome.warnings


def test_the_caption_names_the_rule_the_count_and_the_search() -> None:
    runs = study(ROWS, finalists=3, searcher="tpe", scheduler="asha", time_budget="3600")
    text = caption(runs, outcomes(runs))
    assert f"Selection rule: {BEST_CONFIRMED} (3 an arm" in text
    assert "searcher tpe, scheduler asha, time budget 3600 s)" in text
    assert "searcher" not in caption(study(ROWS), outcomes(study(ROWS)))


def test_block_by_hand(tmp_path: Path) -> None:
    runs = study(ROWS, finalists=3)
    text = table_markdown(runs)
    assert (
        """\
| arm   | rank | search score [%] | validation [%] | test accuracy [%] | seeds | chosen |
| ----- | ---: | ---------------: | -------------: | ----------------: | ----: | ------ |
| arm 0 |    1 |             80.0 |     72.0 ± 1.0 |        60.0 ± 0.0 |     3 | no     |
| arm 0 |    2 |             79.0 |     76.0 ± 1.0 |        64.0 ± 1.0 |     3 | yes    |
| arm 0 |    3 |             78.0 |     73.0 ± 1.0 |        99.0 ± 0.0 |     3 | no     |
"""
        in text
    )
    assert r"\label{tab:made:finalists}" in table_latex(runs)
    write_tables(runs, tmp_path, ["csv"])
    table = pd.read_csv(tmp_path / "finalists.csv")
    assert table["val_accuracy_mean"].tolist() == pytest.approx([0.72, 0.76, 0.73])
    assert table["chosen"].tolist() == [False, True, False]
    assert table["local.lr"].tolist() == pytest.approx([0.01, 0.02, 0.03])


@cache
def printed() -> tuple[StudyRuns, str, str]:
    """The study in the order of its rows, and its tables."""
    runs = study(ROWS, finalists=3)
    return runs, table_csv(runs), table_markdown(runs)


@settings(max_examples=12, deadline=None)
@given(
    st.permutations(range(len(ROWS))),
    st.lists(st.floats(0, 1), min_size=9, max_size=9),
)
def test_neither_order_nor_test_numbers_decide(order: list[int], tests: list[float]) -> None:
    runs, csv, markdown = printed()
    mixed = dataclasses.replace(runs, trials=runs.trials.iloc[order])
    assert table_csv(mixed) == csv
    assert table_markdown(mixed) == markdown
    other = runs.trials.assign(test_accuracy=[math.nan] * 4 + tests)
    assert chosen(dataclasses.replace(runs, trials=other)) == 1
    losing = (runs.trials["phase"] == "confirm") & (runs.trials["local.lr"] != 0.02)
    kept = np.where(losing, other["test_accuracy"], runs.trials["test_accuracy"])
    moved = dataclasses.replace(runs, trials=runs.trials.assign(test_accuracy=kept))
    assert table_csv(moved) == csv  # of the losers nothing enters the main table


# --- trials from neighbouring arms ----------------------------------------------------------------


def test_what_a_neighbour_found_may_win_and_is_counted_apart() -> None:
    """It is a search trial as others, but none of those that the study asks for."""
    rows = [
        *(search(n, score) for n, score in enumerate((0.60, 0.70))),
        search(2, 0.50, status="pruned"),
        search(3, 0.80, neighbour="J=8"),
        *(confirm(3, seed, 0.75, 0.7) for seed in SEEDS),
    ]
    runs = dataclasses.replace(study(rows, finalists=1), budget=3)
    (outcome,) = outcomes(runs)
    assert chosen(runs) == 3
    assert (outcome.trials, outcome.neighbours, outcome.finished) == (3, 1, 3)
    assert outcome.warnings == ()
    table = final_table(runs)
    assert table[["trials", "neighbours", "finished"]].iloc[0].tolist() == [3, 1, 3]
    text = table_markdown(runs)
    assert " 3/(3+1) |" in text
    assert "+: trials of what won in the search of a neighbouring arm" in text
    (fewer,) = outcomes(dataclasses.replace(runs, budget=4))
    assert [line for line in fewer.warnings if "search trials were run" in line] == [
        "arm 0: 3 of 4 search trials were run"
    ]
