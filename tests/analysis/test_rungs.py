"""What an early score tells: rank correlations of hand-made histories."""

from __future__ import annotations

import pandas as pd
import pytest
from scipy import stats

from fl_analysis.results.rungs import correlations


def history(scores: dict[str, tuple[int, list[float]]]) -> pd.DataFrame:
    """run -> (arm, its scores at equal distances); the last is what it reached."""
    rows = [
        {"run_id": run, "arm": arm, "step": 100 * (place + 1), "value": value,
         "val_accuracy": values[-1]}
        for run, (arm, values) in scores.items()
        for place, value in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_one_arm_is_spearman_s() -> None:
    early, late = [0.1, 0.4, 0.2, 0.3, 0.5], [0.5, 0.7, 0.6, 0.9, 0.8]
    found = correlations(
        history(
            {f"r{i}": (0, [e, 0.5, v]) for i, (e, v) in enumerate(zip(early, late, strict=True))}
        )
    )
    assert [r.share for r in found] == [0.33]  # at the middle all are equal, at the end itself
    assert found[0].correlation == pytest.approx(stats.spearmanr(early, late).statistic)
    assert found[0].trials == 5


def test_an_arm_s_level_is_no_rank() -> None:
    """Pooled as they are, two arms far apart would correlate at 1 whatever happens inside."""
    upside_down = {f"a{i}": (0, [0.1 + i / 100, 0.3 - i / 100]) for i in range(4)}
    upside_down |= {f"b{i}": (1, [0.7 + i / 100, 0.9 - i / 100]) for i in range(4)}
    assert [r.correlation for r in correlations(history(upside_down))] == [-1.0]


def test_shares_that_few_trials_reached_are_left_out() -> None:
    few = {f"r{i}": (0, [i / 10, i / 5]) for i in range(8)}
    few |= {f"s{i}": (0, [i / 10, i / 9, i / 5]) for i in range(3)}
    assert [r.share for r in correlations(history(few))] == [0.5]
    assert correlations(history({"r": (0, [0.1, 0.2])})) == []
