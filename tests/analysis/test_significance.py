"""Intervals and paired tests: by hand, and scipy.stats as the oracle."""

from __future__ import annotations

import dataclasses
import doctest
import io
import math
import statistics
from functools import cache
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_study import SEEDS, confirm, search, study
from scipy import stats
from texts import table_markdown

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results import intervals, matching
from fl_analysis.results.intervals import holm, mean_interval, paired
from fl_analysis.results.outcome import outcomes
from fl_analysis.results.significance import pairs
from fl_analysis.tables import pairs as pairs_table
from fl_analysis.tables.pairs import pairs_block, pairs_csv

accuracies = st.integers(0, 10_000).map(lambda count: count / 10_000)  # of 10,000 test images
samples = st.lists(accuracies, min_size=2, max_size=12)


def arms(*tests: list[float], val: list[float] | None = None) -> StudyRuns:
    """One arm a list: its test accuracies by seed."""
    score = val or [0.7] * len(tests)
    rows: list[dict[str, Any]] = []
    for arm, values in enumerate(tests):
        rows.append(search(0, score[arm], arm))
        seeds = range(1, len(values) + 1)
        rows += [confirm(0, s, score[arm], v, arm) for s, v in zip(seeds, values, strict=True)]
    return study(rows, arms=len(tests), seeds=range(1, 1 + max(map(len, tests))))


def test_interval_by_hand() -> None:
    low, high = mean_interval([0.69, 0.70, 0.71])
    assert high - 0.70 == pytest.approx(4.30265273 * 0.01 / math.sqrt(3))
    assert 0.70 - low == pytest.approx(high - 0.70)
    low, high = mean_interval([0.4, 0.44])
    assert high - 0.42 == pytest.approx(12.70620474 * math.sqrt(0.0008) / math.sqrt(2))
    assert all(map(math.isnan, mean_interval([0.5])))


@given(samples)
def test_interval_is_scipy_s(values: list[float]) -> None:
    spread = statistics.stdev(values) / math.sqrt(len(values))
    if spread == 0:
        assert mean_interval(values) == pytest.approx((values[0], values[0]))
        return
    expected = stats.t.interval(0.95, len(values) - 1, loc=statistics.mean(values), scale=spread)
    inside = tuple(min(1.0, max(0.0, end)) for end in expected)
    assert mean_interval(values) == pytest.approx(inside, abs=1e-9)


@settings(deadline=None)  # the first call imports scipy
@given(st.lists(st.tuples(accuracies, accuracies), min_size=2, max_size=12))
def test_paired_test_is_scipy_s(values: list[tuple[float, float]]) -> None:
    one, other = zip(*values, strict=True)
    found = paired(one, other)
    gaps = {round(a - b, 9) for a, b in values}
    if gaps == {0.0}:
        assert (found.p, found.mean) == (1.0, 0.0)
    elif len(gaps) == 1:
        assert math.isnan(found.p)
        assert math.isnan(found.low)
    else:
        expected = stats.ttest_rel(one, other)
        assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
        ends = expected.confidence_interval(0.95)
        inside = (max(-1.0, ends.low), min(1.0, ends.high))
        assert (found.low, found.high) == pytest.approx(inside, abs=1e-9)
        assert (found.low <= 0 <= found.high) == (found.p >= 0.05)
    turned = paired(other, one)
    assert (turned.mean, turned.low) == pytest.approx((-found.mean, -found.high), nan_ok=True)


def test_holm_by_hand() -> None:
    # sorted 0.01 0.03 0.04 -> x3 x2 x1 = 0.03 0.06 0.04 -> monotone 0.03 0.06 0.06
    assert holm([0.04, 0.01, 0.03]) == [0.06, 0.03, 0.06]
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert math.isnan(holm([math.nan, 0.01])[0])
    assert holm([math.nan, 0.01])[1] == 0.01  # what was not tested costs nothing


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(values: list[float]) -> None:
    adjusted = holm(values)
    for p, a in zip(values, adjusted, strict=True):
        assert p <= a + 1e-9
        assert a <= min(1.0, p * len(values)) + 1e-9
    assert sorted(adjusted) == [adjusted[i] for i in sorted(range(len(values)),
                                key=lambda i: (values[i], adjusted[i]))]  # fmt: skip


def test_all_pairs_of_few_arms() -> None:
    runs = arms([0.70, 0.71, 0.72], [0.69, 0.69, 0.69], [0.60, 0.65, 0.61])
    found = pairs(outcomes(runs))
    assert [(p.one.name, p.other.name) for p in found] == [
        ("arm 0", "arm 1"), ("arm 0", "arm 2"), ("arm 1", "arm 2")
    ]  # fmt: skip
    assert found[0].difference.p == pytest.approx(0.0741799)  # t = 2 sqrt(3), 2 degrees
    text = table_markdown(runs)
    row = next(line for line in text.splitlines() if line.startswith("| arm 0 | arm 1 "))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    half = 100 * 4.302653 * 0.01 / math.sqrt(3)
    assert cells[2:5] == ["+2.0", f"[{2 - half:.1f}, +{2 + half:.1f}]", "0.074"]
    assert "(all pairs of arms)" in text
    assert "adjusted for the number of tests, 3." in text
    assert "3 seeds: a p value says little" in text
    five = arms([0.70, 0.71, 0.72, 0.70, 0.71], [0.69, 0.69, 0.69, 0.66, 0.65])
    assert "a p value says little" not in table_markdown(five)


def test_many_arms_stand_against_the_best_by_validation_not_by_test() -> None:
    tests = [[0.6 + arm / 100, 0.61 + arm / 90, 0.6] for arm in range(7)]
    runs = arms(*tests, val=[0.5, 0.5, 0.9, 0.5, 0.5, 0.5, 0.5])  # test: arm 6 is the best
    found = pairs(outcomes(runs))
    assert [p.other.name for p in found] == ["arm 2"] * 6
    assert "arm 2, which has the highest mean validation accuracy over" in table_markdown(runs)
    blind = runs.trials["val_accuracy"].where(runs.trials["phase"] == "search")
    runs = dataclasses.replace(runs, trials=runs.trials.assign(val_accuracy=blind))
    assert "arm 2, which has the highest validation accuracy in the search" in table_markdown(runs)


def test_only_common_seeds_are_paired() -> None:
    rows = [search(0, 0.7, 0), search(0, 0.7, 1)]
    rows += [confirm(0, s, 0.7, 0.70 + s / 100, 0) for s in SEEDS]
    rows += [confirm(0, s, 0.7, 0.60 + s * s / 100, 1) for s in (2, 3)]
    (pair,) = pairs(outcomes(study(rows, arms=2)))
    assert pair.difference.pairs == 2
    assert pair.difference.mean == pytest.approx(((0.72 - 0.64) + (0.73 - 0.69)) / 2)
    rows = [row for row in rows if row.get("seed") != 3]
    assert pairs(outcomes(study(rows, arms=2))) == []  # one common seed is no test


def test_differences_without_a_spread() -> None:
    runs = arms([0.7, 0.6, 0.5], [0.7, 0.6, 0.5], [0.6, 0.5, 0.4])
    same, shifted, _ = pairs(outcomes(runs))
    assert (same.difference.p, same.p_holm) == (1.0, 1.0)
    assert math.isnan(shifted.difference.p)
    block = pairs_block(outcomes(runs))
    assert block is not None
    assert [row[2:6] for row in block.rows[:2]] == [
        ["0.0", "[0.0, 0.0]", "1.000", "1.000"],
        ["+10.0", "—", "—", "—"],
    ]
    assert len(block.notes) == 3


def test_csv_of_the_tests() -> None:
    assert pairs_csv(outcomes(arms([0.7, 0.71]))) is None
    text = pairs_csv(outcomes(arms([0.70, 0.71, 0.72], [0.69, 0.69, 0.69])))
    assert text is not None
    table = pd.read_csv(io.StringIO(text))
    assert table["difference"].tolist() == [0.02]
    assert table["p_holm"][0] == pytest.approx(0.0741799)


@cache
def three_arms() -> tuple[StudyRuns, str]:
    """In the order of their rows, and their table."""
    runs = arms([0.70, 0.71, 0.72], [0.69, 0.66, 0.67], [0.60, 0.65, 0.61])
    return runs, table_markdown(runs)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(12)))
def test_the_order_of_runs_changes_nothing(order: list[int]) -> None:
    runs, text = three_arms()
    mixed = dataclasses.replace(runs, trials=runs.trials.iloc[order])
    assert table_markdown(mixed) == text


@pytest.mark.parametrize("module", [intervals, matching, pairs_table])
def test_doctests(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed
