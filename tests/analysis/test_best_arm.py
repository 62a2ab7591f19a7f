"""Which arm is the best: one rule for pictures, tests, tables and the screen, never by the test."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from made_study import SEEDS, confirm, search, study
from texts import table_html, table_latex, table_markdown

from fl_analysis.plots import study as drawing
from fl_analysis.results import predictions
from fl_analysis.results.best import BY_CONFIRMATION, BY_SEARCH, best_arm
from fl_analysis.results.outcome import outcomes
from fl_analysis.results.significance import pairs

#: By hand: arm 0 wins the search, arm 1 the confirmation, arm 2 has the best test numbers.
ROWS: list[dict[str, Any]] = [
    search(0, 0.80, 0), search(0, 0.79, 1), search(0, 0.78, 2),
    *(confirm(0, s, 0.70 + s / 100, 0.60, 0) for s in SEEDS),
    *(confirm(0, s, 0.74 + s / 100, 0.62, 1) for s in SEEDS),
    *(confirm(0, s, 0.71 + s / 100, 0.99, 2) for s in SEEDS),
]  # fmt: skip


def best(rows: list[dict[str, Any]], arms: int = 3) -> tuple[int, str]:
    found = best_arm(outcomes(study(rows, arms=arms)))
    assert found is not None
    return found.arm.arm, found.by


def test_the_confirmation_decides_not_the_search_and_never_the_test() -> None:
    assert best(ROWS) == (1, BY_CONFIRMATION)


def test_an_arm_that_lacks_a_seed_cannot_win() -> None:
    assert best([row for row in ROWS if row.get("digest") != "c1.0.2"]) == (2, BY_CONFIRMATION)


def test_without_validation_of_every_seed_anywhere_the_search_decides() -> None:
    blind = [row if row["phase"] == "search" else {**row, "val_accuracy": float("nan")}
             for row in ROWS]  # fmt: skip
    assert best(blind) == (0, BY_SEARCH)
    both = [row if row["phase"] == "search" else {**row, "data.train_on": "train+val"}
            for row in ROWS]  # fmt: skip
    assert best(both) == (0, BY_SEARCH)
    assert best(ROWS[:3]) == (0, BY_SEARCH)


def test_of_equal_arms_the_better_in_the_search_then_the_first() -> None:
    equal = [search(0, 0.7, 0), search(0, 0.8, 1), search(0, 0.8, 2)]
    equal += [confirm(0, s, 0.75, 0.6, arm) for s in SEEDS for arm in range(3)]
    assert best(equal)[0] == 1
    assert best_arm(outcomes(study([search(0, 0.7, 0, status="pruned")]))) is None


def test_pictures_and_tests_follow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({"label": [0, 1], "prediction": [0, 1], "confidence": [0.5, 0.5]})
    monkeypatch.setattr(predictions, "predictions", lambda _, ids: dict.fromkeys(ids, frame))
    results = outcomes(study(ROWS, arms=3))
    found = predictions.read_predictions(study(ROWS, arms=3), results)
    assert predictions.chosen(found).outcome.arm == 1
    assert (
        "highest mean validation accuracy over the confirmation seeds"
        in (drawing.model_captions(found, predictions.chosen(found))["confusion"])
    )
    many = [{**row, "arm": row["arm"] + shift} for row in ROWS for shift in (0, 3, 6)]
    many = [{**r, "val_accuracy": r["val_accuracy"] - r["arm"] // 3 / 10} for r in many]
    tests = pairs(outcomes(study(many, arms=9)))
    assert {pair.other.arm for pair in tests} == {1}


def test_the_tables_mark_it() -> None:
    runs = study(ROWS, arms=3)
    rows = [line for line in table_markdown(runs).splitlines() if "**" in line]
    assert len(rows) == 2  # of the grid and of all that is known
    assert all("**62.0 ± 0.0" in row for row in rows)
    assert r"\textbf{62.0 $\pm$ 0.0}" in table_latex(runs)
    assert "<strong>62.0 ± 0.0</strong>" in table_html(runs)
    assert "bold: the best arm, by the highest mean validation accuracy" in table_markdown(runs)
