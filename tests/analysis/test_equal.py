"""Accuracy after the same virtual time and the same bytes, and what an accuracy costs: by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from made_study import search, study
from test_answer import arm

from fl_analysis import final_tables
from fl_analysis.plots.curves import time_figure
from fl_analysis.reading import fetch
from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.curves import Curves
from fl_analysis.results.equal import (
    BYTES,
    NOTHING,
    SECONDS,
    STILL,
    Wanted,
    after,
    aim_of,
    moved,
    timed,
    toward,
)
from fl_analysis.results.outcome import Outcome
from fl_analysis.tables import equal
from fl_analysis.tables.conditions import timing_conditions
from fl_analysis.tables.equal import equal_blocks, equal_csvs
from fl_core.config.trial_config import TrialConfig
from fl_core.study.arms import each, grid

MODES = [{"timing.mode": "synchronous"}, {"timing.mode": "buffered", "timing.buffer": 5}]
ARMS = grid(each("timing.speed_spread", (0.0, 1.5)), MODES)
#: By arm: seconds of a round, and accuracy at rounds 10, 20, 30 of each of two seeds.
PACE = (10.0, 10.0, 100.0, 20.0)
SEEN = (
    ([0.3, 0.5, 0.6], [0.3, 0.52, 0.62]),
    ([0.3, 0.5, 0.6], [0.3, 0.48, 0.62]),
    ([0.2, 0.4, 0.6], [0.2, 0.42, 0.62]),
    ([0.2, 0.4, 0.55], [0.2, 0.42, 0.6]),
)


MADE = study([search(0, 0.7)])


@pytest.fixture
def results() -> list[Outcome]:
    return [
        arm(n, one, [values[-1] for values in seeds])
        for n, (one, seeds) in enumerate(zip(ARMS, SEEN, strict=True))
    ]


@pytest.fixture
def data() -> Curves:
    """The second seed of the slow synchronous arm is a little slower still."""
    rows = [
        {"arm": place, "run_id": f"r{place}.{seed}", "step": 4 * rounds, "round": float(rounds),
         SECONDS: rounds * pace + (place == 2) * seed, BYTES: rounds * 1e6, "test_accuracy": value}
        for place, (pace, seeds) in enumerate(zip(PACE, SEEN, strict=True))
        for seed, values in enumerate(seeds)
        for rounds, value in zip((10, 20, 30), values, strict=True)
    ]  # fmt: skip
    return Curves(pd.DataFrame(rows), (), ())


@pytest.fixture
def runs() -> StudyRuns:
    return dataclasses.replace(MADE, settings=tuple(map(dict, ARMS)))


@pytest.fixture
def shown(data: Curves, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equal, "read_curves", lambda _: data)


def test_a_test_curve_of_an_older_version_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what it had cost, or, of a trial that a newer one went on with, with some of it."""
    head = "round,local_steps,test_loss,test_accuracy"
    texts = {
        "old": f"{head}\n5,20,1.5,0.5\n",
        "both": f"{head},virtual_seconds,bytes_up,bytes_down\n5,20,1.5,0.5\n10,40,1,0.6,30.5,7,9\n",
    }
    monkeypatch.setattr(fetch, "_texts", lambda *_: texts)
    frame = fetch.tested_curves(MADE, list(texts))
    assert tuple(frame.columns) == fetch.TESTED_COLUMNS
    assert frame["test_accuracy"].tolist() == [0.5, 0.5, 0.6]
    assert frame[SECONDS].fillna(-1).tolist() == [-1, -1, 30.5]
    monkeypatch.setattr(fetch, "_texts", lambda *_: {})
    assert fetch.tested_curves(MADE, []).empty


def test_arms_are_compared_after_the_most_time_that_all_have(
    results: list[Outcome], data: Curves
) -> None:
    """Under the same speeds: 300 s, and 600 s, before the slow arm's first evaluation."""
    found = after(results, data, SECONDS)
    assert [one.limit for one in found] == [300, 300, 600, 600]
    assert [one.runs for one in found] == [2, 2, 0, 2]
    assert found[0].accuracy == pytest.approx((0.61, 0.02 / math.sqrt(2)))
    assert math.isnan(found[2].accuracy[0])
    assert found[2].end[0] == pytest.approx(0.61)
    assert found[2].spent == pytest.approx(3000.5)


def test_it_is_the_last_evaluation_not_later(results: list[Outcome], data: Curves) -> None:
    found = after(results, data, SECONDS, 250.0)
    assert [one.limit for one in found] == [250] * 4
    assert found[0].accuracy[0] == pytest.approx(0.51)
    assert (found[0].rounds[0], found[0].before) == (20, 50)
    assert (found[3].rounds[0], found[3].before) == (10, 50)
    exact = after(results, data, SECONDS, 1000.0)[2]
    assert (exact.runs, exact.rounds[0], exact.before) == (1, 10, 0)  # the slower seed has none yet


def test_equal_bytes_are_the_end_of_equal_work(results: list[Outcome], data: Curves) -> None:
    found = after(results, data, BYTES)
    assert [one.limit for one in found] == [30e6] * 4
    assert [one.accuracy for one in found] == [one.end for one in found]
    alone = dataclasses.replace(data, alone=(0, 1))
    assert [one.arm.arm for one in after(results, alone, BYTES)] == [2, 3]
    old = Curves(data.wide.assign(**{BYTES: math.nan}), (), ())
    assert after(results, old, BYTES) == []


def test_the_first_evaluation_with_the_target_counts(
    runs: StudyRuns, results: list[Outcome], data: Curves
) -> None:
    found = toward(results, data, aim_of(runs, results, Wanted(target=0.5)))
    assert [(one.reached, one.runs) for one in found] == [(2, 2)] * 4
    assert found[0].needed["round"] == (20, 0)
    assert found[1].needed["round"] == pytest.approx((25, math.sqrt(50)))
    assert found[1].needed["step"][0] == 100
    assert found[3].needed[SECONDS] == (600, 0)
    assert found[3].needed[BYTES] == (30e6, 0)
    high = toward(results, data, aim_of(runs, results, Wanted(target=0.61)))
    assert [one.reached for one in high] == [1, 1, 1, 0]
    assert high[3].ran == {"round": 30, "step": 120, SECONDS: 600, BYTES: 30e6}


def targets(runs: StudyRuns, results: Sequence[Outcome], data: Curves, wanted: Wanted) -> list[Any]:
    return [one.target for one in toward(results, data, aim_of(runs, results, wanted))]


def test_a_target_is_a_share_of_an_arm(
    runs: StudyRuns, results: list[Outcome], data: Curves
) -> None:
    """By default of FedAvg under the same speeds; as the study has it; as the reader has it."""
    assert targets(runs, results, data, NOTHING) == pytest.approx([0.95 * 0.61] * 4)
    name = results[3].name
    assert targets(runs, results, data, Wanted(target=0.5, of=name)) == pytest.approx([0.2875] * 4)
    with pytest.raises(AnalysisError, match="--target-of nobody: no arm of made; it has: "):
        aim_of(runs, results, Wanted(of="nobody"))
    told = '{"test_accuracy": 0.7, "of": {"timing.mode": "buffered"}}'
    named = dataclasses.replace(runs, tags={"target": told})
    assert targets(named, results, data, NOTHING) == pytest.approx([0.427, 0.427, 0.4025, 0.4025])
    assert targets(named, results, data, Wanted(target=0.3)) == [0.3] * 4
    flat = dataclasses.replace(runs, tags={"target": '{"test_accuracy": 0.4, "of": {}}'})
    assert targets(flat, results, data, NOTHING) == [0.4] * 4
    nobody = dataclasses.replace(runs, tags={"target": told.replace("buffered", "else")})
    assert targets(nobody, results, data, NOTHING) == []


@pytest.mark.usefixtures("shown")
def test_the_tables_of_a_study_about_time(runs: StudyRuns, results: list[Outcome]) -> None:
    time, sent, target = equal_blocks(runs, results, Wanted(target=0.61))
    assert time.caption.startswith("After equal virtual time, 5.00 / 10.0 min (the most that every")
    assert [row[1:5] for row in time.rows] == [
        ["5.00", "61.0 ± 1.4", "30.0 ± 0.0", "0"],
        ["5.00", "61.0 ± 1.4", "30.0 ± 0.0", "0"],
        ["10.0", "—", "—", "—"],
        ["10.0", "57.5 ± 3.5", "30.0 ± 0.0", "0"],
    ]
    assert [row[-1] for row in time.rows] == ["2", "2", "0", "2"]
    assert sent.header[1] == "after [MB]"
    assert [row[2:] for row in target.rows] == [
        ["1/2", "30.0 ± —", "120", "5.00", "30.0"],
        ["1/2", "30.0 ± —", "120", "5.00", "30.0"],
        ["1/2", "30.0 ± —", "120", "50.0", "30.0"],
        ["0/2", "> 30", "> 120", "> 10.0", "> 30.0"],
    ]
    assert target.notes
    texts = equal_csvs(runs, results)
    assert set(texts) == {"equal_time.csv", "equal_bytes.csv", "target.csv"}
    assert all(text is not None and text.count("\n") == 5 for text in texts.values())


@pytest.mark.usefixtures("shown")
def test_other_studies_have_them_when_asked(results: list[Outcome]) -> None:
    plain = MADE
    still = [dataclasses.replace(o, config={}) for o in results]
    assert not timed(plain, still)
    assert equal_blocks(plain, still) == []
    assert set(equal_csvs(plain, still).values()) == {None}
    assert [b.label for b in equal_blocks(plain, still, Wanted({BYTES: 2e7}))] == ["equal_bytes"]
    assert [b.label for b in equal_blocks(plain, still, Wanted(target=0.5))] == ["target"]


@pytest.mark.parametrize(
    ("name", "value", "about"),
    [("mode", "synchronous", False), ("mode", "buffered", True), ("window", 1.0, False),
     ("window", 0.5, True), ("dropout", 0.0, False), ("dropout", 0.1, True),
     ("table", "none", False), ("table", "t.csv", True),
     ("deadline", None, False), ("deadline", math.nan, False), ("deadline", 60.0, True),
     ("speed", 5.0, False)],
)  # fmt: skip
def test_which_studies_are_about_time(
    name: str, value: object, about: bool, results: list[Outcome]
) -> None:
    config = {f"timing.{name}": value}
    assert timed(MADE, [dataclasses.replace(results[0], config=config)]) == about


def test_a_clock_stands_still_at_the_defaults() -> None:
    defaults = TrialConfig().to_flat()
    assert {name: defaults[name] for name in STILL} == STILL
    assert moved(defaults) == []


def test_the_caption_says_how_fast_clients_are_and_how_they_fail(
    runs: StudyRuns, results: list[Outcome]
) -> None:
    """Not what differs by arm, nor what does nothing."""
    clock = {"speed": 100.0, "down": 8e5, "up": 2e5, "table": "none", "dropout": 0.1, "window": 1.0,
             "failure_rate": 0.0, "deadline": 6.0}  # fmt: skip
    config = {f"timing.{name}": value for name, value in clock.items()}
    some = [dataclasses.replace(o, config={**o.config, **config}) for o in results]
    said = timing_conditions(runs, some)
    assert said.startswith("Virtual clock: the median client 100 examples/s, 800 kB/s down, 200 kB")
    assert said.endswith("up, a client of a round fails with chance 0.1, deadline after 6 s. ")
    told = [
        dataclasses.replace(o, config={**o.config, "timing.table": "/of/me/t.csv"}) for o in some
    ]
    assert timing_conditions(runs, told).startswith("Virtual clock: clients of t.csv, a client")
    assert timing_conditions(MADE, [dataclasses.replace(results[0], config={})]) == ""


def test_the_figure_has_one_line_an_arm_and_a_mark_where_the_first_ends(
    results: list[Outcome], data: Curves
) -> None:
    figure = time_figure(results, data)
    assert figure is not None
    (ax,) = figure.axes
    assert figure.get_supxlabel() == "virtual time [min]"
    lines = ax.get_lines()
    assert list(lines[3].get_xdata()) == pytest.approx([200 / 60, 400 / 60, 10])
    assert list(lines[3].get_ydata()) == pytest.approx([20, 41, 57.5])
    assert ax.get_xscale() == "log"  # from 5 to 50 minutes
    assert len(lines) == 4  # whose arms are compared in pairs
    some = time_figure(results[:2], data)
    assert some is not None
    assert some.axes[0].get_xscale() == "linear"
    assert list(some.axes[0].get_lines()[2].get_xdata()) == [5, 5]
    assert time_figure(results, Curves(data.wide.assign(**{SECONDS: 0.0}), (), ())) is None


def test_the_options_of_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    for option, words in (
        (["--target", "70"], "must be in (0, 1]"),
        (["--at-seconds", "0"], "must be above 0"),
        (["--at-bytes", "x"], "is not a number"),
        (["--target-of", ""], "is empty"),
    ):
        with pytest.raises(SystemExit) as error:
            final_tables.main([*option, "--out", str(tmp_path)])
        assert error.value.code == 2
        assert words in capsys.readouterr().err
