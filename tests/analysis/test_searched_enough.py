"""Too little search is said aloud: the column, the warnings, what a paired test leaves out."""

from __future__ import annotations

import io
from typing import Any

import pandas as pd
import pytest
from made_study import SEEDS, confirm, search, study
from texts import table_html, table_latex, table_markdown

from fl_analysis.page.facts import more_warnings
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.outcome import outcomes
from fl_analysis.results.searching import LOUD
from fl_analysis.tables.final import table_csv
from fl_analysis.tables.pairs import pairs_block


def two_arms() -> StudyRuns:
    """Arm 0: four of five finished, the third chosen. Arm 1: one of three, its first."""
    rows: list[dict[str, Any]] = [
        search(0, 0.70), search(1, 0.71), search(2, 0.80), search(3, 0.72),
        search(4, 0.60, status="pruned"),
        search(0, 0.75, 1), search(1, 0.9, 1, status="pruned"),
        search(2, 0.5, 1, status="diverged"), search(3, 0.5, 1, status="failed"),
        *(confirm(2, s, 0.78, 0.70 + s / 100, 0) for s in SEEDS),
        *(confirm(0, s, 0.74, 0.60 + s * s / 100, 1) for s in SEEDS),
    ]  # fmt: skip
    return study(rows, arms=2, finalists=2)


def test_finished_of_tried_and_why_it_is_too_little() -> None:
    first, second = outcomes(two_arms())
    assert (first.finished, first.trials, first.shortfalls) == (4, 5, ())
    assert (second.finished, second.trials) == (1, 3)
    assert second.shortfalls == (
        "1 of 3 search trials finished, a choice takes 3",
        "its first trial was chosen, before the search had learned anything",
    )


def test_the_first_trial_of_a_grid_or_of_one_is_no_sign() -> None:
    rows = [search(0, 0.8), *(search(n, 0.7) for n in (1, 2, 3))]
    assert outcomes(study(rows))[0].shortfalls
    assert not outcomes(study(rows, searcher="grid"))[0].shortfalls
    assert len(outcomes(study(rows[:1]))[0].shortfalls) == 1  # but one is too few for a choice


def test_an_arm_without_a_choice_is_searched_enough() -> None:
    """Class means have no hyper-parameter: its trials are one configuration."""
    rows = [search(n, 0.7, lr=0.1) | {"digest": "same"} for n in range(3)]
    assert not outcomes(study(rows))[0].shortfalls


@pytest.mark.parametrize("text", [table_markdown, table_latex, table_html])
def test_every_format_warns_before_anything_else(text: Any) -> None:
    page = text(two_arms())
    assert "4/5" in page
    assert "1/3†" in page or r"1/3$^\dagger$" in page
    assert page.count(LOUD) == 2  # the study's line and the arm's
    assert page.index(f"{LOUD}: 1 of 2 arms") < page.index(f"{LOUD}: arm 1: 1 of 3 search trials")
    assert page.index(LOUD) < page.index("1 of 3 search trials diverged")


def test_a_neighbour_s_winner_counts_and_stands_apart() -> None:
    rows = [search(n, 0.7 + n / 100, neighbour="") for n in range(4)]
    rows.append(search(4, 0.9, neighbour="arm 1"))
    runs = study(rows, finalists=2)
    (outcome,) = outcomes(runs)
    assert (outcome.finished, outcome.trials, outcome.neighbours) == (5, 4, 1)
    assert "|  5/(4+1) |" in table_markdown(runs)  # to the right, as numbers stand
    assert r"5/(4+1)" in table_latex(runs)


def test_the_csv_and_the_report_say_it_too() -> None:
    runs = two_arms()
    table = pd.read_csv(io.StringIO(table_csv(runs)))
    assert table["finished"].tolist() == [4, 1]
    assert table["shortfall"].fillna("").str.contains("first trial").tolist() == [False, True]
    assert not any(LOUD in line for line in more_warnings(runs, outcomes(runs)))  # not twice


def test_a_paired_test_says_what_it_does_not_contain() -> None:
    block = pairs_block(outcomes(two_arms()))
    assert block is not None
    assert "two FIXED configurations over seeds" in block.caption
    assert "a small p can measure tuning" in block.caption


def test_the_gap_says_what_it_is() -> None:
    text = " ".join(table_markdown(two_arms()).split())
    assert "Both are of the SAME validation examples" in text
    assert "no measure of how far the choice fits these examples" in text
    assert "negative where the search's seed is a harder draw" in text
