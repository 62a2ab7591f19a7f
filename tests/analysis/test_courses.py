"""Losses, best epochs, test curves, what a round sends and how a search went: by hand."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from made_study import SEEDS, confirm, search, study
from matplotlib.figure import Figure

from fl_analysis.plots.captions import captions
from fl_analysis.plots.curves import active_share_figure, curve_figure, curve_on_test_figure
from fl_analysis.plots.loss import loss_figure, loss_on_test_figure
from fl_analysis.plots.searching import search_figure
from fl_analysis.plots.traffic import traffic_figure
from fl_analysis.reading.fetch import TESTED_COLUMNS
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results import curves as computed
from fl_analysis.results import traffic
from fl_analysis.results.curves import METRICS, Curves, peaks, read_curves
from fl_analysis.results.outcome import outcomes
from fl_analysis.results.searching import courses
from fl_analysis.results.traffic import read_traffic
from fl_analysis.tables.epochs import epochs_block, epochs_csv

CENTRAL = {"local.unit": "epochs", "local.steps": 1, "federation.clients": 1, "keep": "best"}
#: Validation accuracy by epoch of two seeds: best at epochs 3 and 2, near it from 2 and 1.
ACCURACY = {"run1": [0.60, 0.697, 0.70, 0.65], "run2": [0.696, 0.70, 0.70]}


@pytest.fixture
def central(monkeypatch: pytest.MonkeyPatch) -> StudyRuns:
    """One centralised arm, two seeds, with made curves; the second seed stopped earlier."""
    rows = [search(0, 0.7, **CENTRAL)]
    rows += [confirm(0, s, 0.7, 0.6, **CENTRAL) for s in (1, 2)]
    runs = study(rows, seeds=(1, 2))
    arms = runs.arms.assign(**{name: [value] for name, value in CENTRAL.items()})
    runs = dataclasses.replace(runs, settings=({"local.steps": 1},), arms=arms)

    def histories(_: StudyRuns, run_ids: Sequence[str], names: Sequence[str]) -> pd.DataFrame:
        assert set(run_ids) == set(ACCURACY)
        assert tuple(names) == METRICS
        rows = [
            (run, metric, step, f(value))
            for run, values in ACCURACY.items()
            for step, value in enumerate(values, 1)
            for metric, f in (("val_accuracy", float), ("val_loss", lambda v: 1 - v),
                              ("train_loss", lambda v: 0.9 - v))
        ]  # fmt: skip
        return pd.DataFrame(rows, columns=["run_id", "metric", "step", "value"])

    def tested(_: StudyRuns, run_ids: Sequence[str]) -> pd.DataFrame:
        rows = [(run, step, 0.5, 1.5) for run in run_ids for step in (1, 2, 3)]
        frame = pd.DataFrame(rows, columns=["run_id", "step", "test_accuracy", "test_loss"])
        return frame.reindex(columns=list(TESTED_COLUMNS))

    monkeypatch.setattr(computed, "curves", histories)
    monkeypatch.setattr(computed, "tested_curves", tested)
    monkeypatch.setattr(computed, "every_round", lambda *_: pd.DataFrame())
    return runs


def xlabel(figure: Figure | None) -> str:
    assert figure is not None
    return str(figure.get_supxlabel())


def test_best_epoch_and_epochs_needed(central: StudyRuns) -> None:
    results = outcomes(central)
    peak = peaks(results, read_curves(central))[0]
    assert peak.best == pytest.approx((2.5, math.sqrt(0.5)))
    assert peak.needed == pytest.approx((1.5, math.sqrt(0.5)))
    assert peak.ran == pytest.approx((3.5, math.sqrt(0.5)))
    block = epochs_block(central, results)
    assert block is not None
    assert block.rows == [["arm 0", "2.5 ± 0.7", "1.5 ± 0.7", "3.5 ± 0.7", "2"]]
    assert list(block.header)[1:3] == ["best epoch", "epochs needed"]
    assert "within 0.5 points of the run's best" in block.caption
    text = epochs_csv(central, results)
    assert text is not None
    assert text.splitlines()[1].startswith("arm 0,epochs,2.5,")


def test_a_study_that_keeps_the_last_has_no_best_epoch() -> None:
    runs = study([search(0, 0.7), search(1, 0.6)])
    assert epochs_block(runs, outcomes(runs)) is None
    assert epochs_csv(runs, outcomes(runs)) is None


def test_epochs_are_called_epochs(central: StudyRuns) -> None:
    results, data = outcomes(central), read_curves(central)
    assert xlabel(curve_figure(results, data)) == "local epochs, $T$ × $J$"
    assert xlabel(loss_figure(results, data, peaks(results, data))) == "epochs"
    text = captions(results, (), {})
    assert "against local epochs" in text["curves"]
    assert "against epochs" in text["loss"]
    assert not any("local steps" in line for line in text.values())


def test_losses_are_drawn_with_the_best_marked(central: StudyRuns) -> None:
    results, data = outcomes(central), read_curves(central)
    figure = loss_figure(results, data, peaks(results, data))
    assert figure is not None
    lines = figure.axes[0].get_lines()
    assert list(lines[0].get_ydata()) == pytest.approx([0.352, 0.3015, 0.30])  # both seeds' epochs
    assert list(lines[1].get_ydata()) == pytest.approx([0.252, 0.2015, 0.20])
    assert (*lines[2].get_xdata(), *lines[2].get_ydata()) == pytest.approx((2.5, 0.30075))


def test_training_accuracy_is_drawn_beside_validation_where_it_is(central: StudyRuns) -> None:
    results, data = outcomes(central), read_curves(central)
    without = curve_figure(results, data, peaks(results, data))
    assert without is not None
    assert without.axes[0].get_ylabel() == "validation accuracy [%]"
    assert "training" not in captions(results, (), {})["curves"]
    data = dataclasses.replace(
        data, wide=data.wide.assign(train_accuracy=data.wide["val_accuracy"] + 0.1)
    )
    figure = curve_figure(results, data, peaks(results, data))
    assert figure is not None
    assert figure.axes[0].get_ylabel() == "accuracy [%]"
    validation, training = figure.axes[0].get_lines()[:2]
    assert list(validation.get_ydata()) == pytest.approx([64.8, 69.85, 70])  # both seeds' epochs
    assert list(training.get_ydata()) == pytest.approx([74.8, 79.85, 80])
    assert training.get_linewidth() < validation.get_linewidth()
    shown = {text.get_text() for text in figure.legends[0].get_texts()}
    assert {"validation", "training", "best accuracy"} <= shown
    asked = [dataclasses.replace(o, config={**o.config, "eval_train": True}) for o in results]
    text = captions(asked, (), {})["curves"]
    assert "a fixed sample of the training examples" in text


def test_the_training_loss_is_that_of_every_round(
    central: StudyRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = {"run1": [9.0, 8.0, 7.0, 6.0, 5.0], "run2": [9.0, 8.0, 7.0]}  # a fifth, not evaluated
    rows = [(run, n, v) for run, values in loss.items() for n, v in enumerate(values, 1)]
    table = pd.DataFrame(rows, columns=["run_id", "local_steps", "train_loss"])
    monkeypatch.setattr(computed, "every_round", lambda *_: table)
    data = read_curves(dataclasses.replace(central))
    assert data.over_runs("train_loss")["mean"].tolist() == [9, 8, 7]
    assert data.frame["step"].tolist() == [1, 2, 3]
    assert data.wide["step"].max() == 5
    assert peaks(outcomes(central), data)[0].ran[0] == 3.5


def test_the_active_share_of_masks_that_change_is_drawn(
    central: StudyRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(run, step, 100.0 / step) for run in ACCURACY for step in (1, 2, 4)]
    table = pd.DataFrame(rows, columns=["run_id", "local_steps", "mask_active"])
    monkeypatch.setattr(computed, "every_round", lambda *_: table)
    assert active_share_figure(outcomes(central), read_curves(central)) is None  # of how many?
    trials = central.trials.assign(mask_active=50.0, mask_active_share=0.25)  # of 200
    data = read_curves(dataclasses.replace(central, trials=trials))
    figure = active_share_figure(outcomes(central), data)
    assert figure is not None
    assert figure.axes[0].get_lines()[0].get_xydata().tolist() == [[1, 50], [2, 25], [4, 12.5]]


def test_the_test_curve_stands_apart_and_says_that_it_chose_nothing(central: StudyRuns) -> None:
    results, data = outcomes(central), read_curves(central)
    for figure in (curve_on_test_figure(results, data), loss_on_test_figure(results, data)):
        assert figure is not None
        assert list(figure.axes[0].get_lines()[0].get_xdata()) == [1, 2, 3]
    text = captions(results, (), {})
    for name in ("test_curves", "test_loss"):
        assert "Read in the confirmation, not used for any choice" in text[name]
    old = Curves(data.wide.assign(test_accuracy=math.nan, test_loss=math.nan), (), ())
    assert curve_on_test_figure(results, old) is None
    assert loss_on_test_figure(results, old) is None


def test_a_search_counts_all_trials_but_only_finished_scores() -> None:
    rows: list[dict[str, Any]] = [
        search(2, 0.7), search(0, 0.9, status="pruned"), search(1, 0.6),
        search(3, 0.65), search(4, math.nan, status="diverged"), search(5, 0.9, status="failed"),
    ]  # fmt: skip
    runs = study(rows)
    (course,) = courses(runs)
    assert course.best.tolist() == pytest.approx([math.nan, 0.6, 0.7, 0.7, 0.7], nan_ok=True)
    figure = search_figure(outcomes(runs), [course])
    assert figure is not None
    (line,) = figure.axes[0].get_lines()
    assert list(line.get_xdata()) == [1, 2, 3, 4, 5, 5.5]
    assert search_figure(outcomes(runs), courses(study(rows[:1]))) is None
    assert search_figure(outcomes(runs), courses(study([rows[1], rows[4]]))) is None


def test_a_neighbour_s_winner_is_marked_at_its_own_score() -> None:
    found = study([search(0, 0.6, neighbour=""), search(1, 0.7, neighbour=""),
                   search(2, 0.5, neighbour="arm 1")])  # fmt: skip
    figure = search_figure(outcomes(found), courses(found))
    assert figure is not None
    line, cross, entry = figure.axes[0].get_lines()
    assert list(line.get_ydata()) == pytest.approx([60, 70, 70, 70])
    assert (*cross.get_xdata(), *cross.get_ydata()) == pytest.approx((3, 50))
    assert entry.get_label() == "a neighbour's winner"


def test_what_a_round_sends_in_each_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = {"round": 4.0, "bytes_up": 400.0, "bytes_down": 800.0}
    coded = {**sent, "bytes_up_dense": 4000.0, "bytes_down_dense": 4000.0}
    rows = [search(0, 0.7, 0), search(0, 0.7, 1)]
    rows += [confirm(0, s, 0.7, 0.6, 0, **coded) for s in SEEDS]
    rows += [confirm(0, s, 0.7, 0.6, 1, **sent) for s in SEEDS]
    table = {"bytes_up_round": [100, 100], "bytes_down_round": [300, 100]}
    more = {"bytes_up_index": [400, 800], "bytes_down_index": [800, 1600],
            "bytes_up_bitmap": [300, 600], "bytes_down_bitmap": [500, 1000]}  # fmt: skip
    runs = study(rows, arms=2)
    masked = {f"run{i}" for i in (2, 3, 4)}
    monkeypatch.setattr(traffic, "messages", lambda _, ids: {
        i: pd.DataFrame({**table, **(more if i in masked else {})}) for i in ids
    })  # fmt: skip
    monkeypatch.setattr(traffic, "every_round", lambda *_: pd.DataFrame())
    first, second = read_traffic(runs, outcomes(runs))
    assert first.mean == {
        "up": 100, "down": 200, "up_dense": 1000, "down_dense": 1000,
        "up_index": 200, "down_index": 400, "up_bitmap": 150, "down_bitmap": 250,
    }  # fmt: skip
    assert second.mean == {"up": 100, "down": 200}
    assert first.span == {"up": (100, 100), "down": (100, 300)}
    whole = pd.DataFrame({"bytes_up_round": [90, 110], "bytes_down_round": [500, 100]})
    monkeypatch.setattr(traffic, "every_round", lambda *_: whole)  # a round between evaluations
    first, second = read_traffic(runs, outcomes(runs))
    assert first.span == {"up": (90, 110), "down": (100, 500)}
    figure = traffic_figure(outcomes(runs), [first, second])
    assert figure is not None
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(legend) == ["as sent", "bitmap", "dense", "index"]
    assert traffic_figure(outcomes(runs), []) is None
    assert traffic_figure(outcomes(runs), [second, second]) is None  # the same everywhere
    assert traffic_figure(outcomes(runs), [second]) is not None
