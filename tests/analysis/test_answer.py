"""The study's answer in one sentence: of outcomes made by hand, whose differences are known."""

from __future__ import annotations

import doctest
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import pytest
from fake_store import BASE, SHARDS

from fl_analysis.results import levels
from fl_analysis.results.answer import answer
from fl_analysis.results.levels import ordered_levels
from fl_analysis.results.outcome import Outcome
from fl_core.config.vocabulary import arm_name


def arm(
    place: int,
    setting: Mapping[str, Any],
    tests: Sequence[float],
    val: float | None = None,
    seeds: Sequence[int] = (1, 2, 3),
) -> Outcome:
    """One arm; its validation accuracy is its test accuracy, unless told."""
    used = seeds[: len(tests)]
    rows = pd.DataFrame(
        {"seed": used, "test_accuracy": tests, "val_accuracy": tests if val is None else val}
    )
    return Outcome(
        place, arm_name(setting), dict(setting), {**BASE, **setting}, 3, 0.0, None, {}, rows, ()
    )


def grid(**tests: Sequence[float]) -> list[Outcome]:
    """Arms by name: iid_4 is iid with J = 4, 1_16 is N_c = 1 with J = 16."""
    found = []
    for place, (name, values) in enumerate(tests.items()):
        sharding, steps = name.removeprefix("N").split("_")
        shard = SHARDS["iid" if sharding == "iid" else int(sharding)]
        found.append(arm(place, {**shard, "local.steps": int(steps)}, values))
    return found


def shifted(by: float, *noise: float) -> list[float]:
    """0.7, 0.71, 0.72 plus `by` and the noise of each seed."""
    return [0.70 + 0.01 * i + by + extra for i, extra in enumerate(noise or (0, 0, 0))]


def test_first_to_last_level_with_its_interval_at_the_best_setting() -> None:
    """Differences -0.105 -0.106 -0.107: 10.6 points, t = 4.3027 * 0.1 / sqrt(3) = 0.25."""
    arms = grid(
        iid_4=shifted(0.0),
        iid_16=shifted(-0.02, 0, 0.001, 0.002),
        N50_4=shifted(-0.01),
        N50_16=shifted(-0.03, 0, 0.001, 0.002),
        N1_4=shifted(-0.106, 0.001, 0, -0.001),
        N1_16=shifted(-0.2, 0, -0.001, -0.003),
    )
    text = answer(arms)
    assert text == (
        "iid → N_c=1 costs 10.6 points of test accuracy [10.4, 10.8] at J=4; longer local work "
        "never helps and costs up to 9.5 points [9.4, 9.7] at N_c=1, J=16."
    )
    assert answer(arms[::-1]).split(";")[0] == text.split(";")[0]  # whatever the order of the arms


def test_a_second_parameter_that_helps_is_named_with_its_place() -> None:
    arms = grid(
        iid_4=shifted(0.0),
        iid_8=shifted(0.03, 0, 0.0001, 0.0002),
        N1_4=shifted(-0.1, 0, 0.001, 0.002),
        N1_8=shifted(-0.12, 0, 0.0011, 0.0022),
    )
    text = answer(arms)
    assert " at J=8; longer local work helps by 3.0 points [3.0, 3.0] at iid, J=8" in text
    assert "never" not in text


def test_what_the_seeds_cannot_tell_is_said() -> None:
    arms = grid(
        iid_4=[0.70, 0.71, 0.72], iid_8=[0.72, 0.70, 0.72],
        N1_4=[0.72, 0.70, 0.70], N1_8=[0.69, 0.71, 0.72],
    )  # fmt: skip
    text = answer(arms)
    assert text == (
        "iid → N_c=1 changes test accuracy by -0.7 points [-5.8, +4.5] at J=8: 3 seeds do not tell "
        "them apart; longer local work changes nothing that 2 paired comparisons can tell."
    )


def test_help_that_only_one_of_many_comparisons_shows_is_chance() -> None:
    """p = 0.04 alone, 0.07 after Holm: it neither helps nor never helps."""
    arms = grid(
        iid_4=shifted(0.0), iid_8=shifted(0.01, 0.0, 0.004, 0.010),
        N1_4=shifted(-0.1, 0.001, 0, 0), N1_8=shifted(-0.1, 0, 0.001, 0),
    )  # fmt: skip
    assert answer(arms).endswith("longer local work helps nowhere beyond chance.")


@pytest.mark.parametrize(
    ("tests", "text"),
    [
        ([0.70, 0.71, 0.72], "iid, J=4: test accuracy 71.0 % [68.5, 73.5] over 3 seeds."),
        ([0.70], "iid, J=4: test accuracy 70.0 % over 1 seed."),
        ([], "No arm has been confirmed: there is no test accuracy yet."),
    ],
)
def test_one_arm(tests: list[float], text: str) -> None:
    assert answer(grid(iid_4=tests)) == text


def test_arms_that_are_names_are_told_by_validation_alone() -> None:
    """The best by validation is not the best by test, and stays the one that is told."""
    named = [
        arm(0, {"mask.rule": "random", "mask.sparsity": 0.9}, [0.70, 0.71, 0.72], 0.6),
        arm(1, {"mask.rule": "low_magnitude", "mask.sparsity": 0.9}, [0.68, 0.69, 0.71], 0.8),
        arm(2, {"mask.rule": "most_sensitive", "mask.sparsity": 0.9}, [0.60, 0.62, 0.63], 0.7),
    ]
    assert answer(named) == (
        "low_magnitude, s=0.9 is best by validation: test accuracy 69.3 % [65.5, 73.1] over 3 "
        "seeds, 7.7 points [6.2, 9.1] ahead of most_sensitive, s=0.9, the next by validation."
    )


def test_missing_seeds_and_arms() -> None:
    arms = grid(iid_4=[0.70, 0.71, 0.72], iid_8=[], N1_4=[0.60, 0.612], N1_8=[])
    text = answer(arms)
    assert text.startswith("iid → N_c=1 costs 9.9 points of test accuracy [")
    assert text.endswith("] (2 of 4 arms not confirmed).")  # J does not vary any more
    one = answer(grid(iid_4=[0.70], N1_4=[0.60]))
    assert one == "iid → N_c=1 costs 10.0 points of test accuracy (one seed: no interval)."
    apart = [arm(0, SHARDS["iid"], [0.7, 0.71]), arm(1, SHARDS[1], [0.6], seeds=(9,))]
    assert "is best by validation" in answer(apart)  # no seed in common: nothing to pair


def test_a_dense_arm_is_the_first_level_of_the_sparsity_under_every_rule() -> None:
    arms = [
        arm(0, {"mask.sparsity": 0.0}, shifted(0.0), 0.5),
        arm(1, {"mask.rule": "random", "mask.sparsity": 0.5}, shifted(-0.01), 0.6),
        arm(2, {"mask.rule": "random", "mask.sparsity": 0.9}, shifted(-0.1, 0, 0.001, 0), 0.6),
        arm(3, {"mask.rule": "low_magnitude", "mask.sparsity": 0.9}, shifted(-0.2, 0, 0.001, 0),
            0.4),
    ]  # fmt: skip
    text = answer(arms)
    assert text.startswith("dense → s=0.9 costs 10.0 points of test accuracy [9.8, 10.1] (random)")


def test_two_objectives_tell_the_confirmed_points() -> None:
    """The outcomes of a study with a front are its most accurate points: told like any other."""
    arms = [arm(i, {"mask.sparsity": s}, shifted(-s / 10, 0, 0.001, 0)) for i, s in
            enumerate((0.0, 0.9))]  # fmt: skip
    assert answer(arms).startswith("dense → s=0.9 costs 9.0 points")


def test_levels_with_an_order() -> None:
    alphas = [{"federation.sharding": "dirichlet", "federation.alpha": a} for a in (0.1, 10.0)]
    assert ordered_levels("sharding", [*alphas, SHARDS["iid"]]) == ["iid", "Dir(10)", "Dir(0.1)"]
    assert ordered_levels("sharding", [*alphas, SHARDS[1]]) is None
    steps = [{"local.steps": j} for j in (16, 4, 8)]
    assert ordered_levels("local.steps", steps) == ["4", "8", "16"]
    assert not doctest.testmod(levels).failed
