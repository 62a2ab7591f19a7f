"""Pictures of confirmed models: their numbers by hand, what is drawn of what, the same bytes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from fake_store import SHARDS, Store, Trial, params
from matplotlib.figure import Figure

from fl_analysis.figures import main
from fl_analysis.plots.confusion import confusion_figure
from fl_analysis.plots.predictions import pick
from fl_analysis.plots.study import draw_figures
from fl_analysis.plots.style import render
from fl_analysis.reading.classes import Classes, classes_of
from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.store import StudyRuns, read_study
from fl_analysis.reading.tasks import task_facts
from fl_analysis.results import predictions as computed
from fl_analysis.results.outcome import outcomes
from fl_core.base.tables import csv_text

GOOD = params(0.1)
TEST = [0, 0, 0, 0, 1, 1, 2, 2, 99, 99]  # labels: apple x4, aquarium fish x2, baby x2, worm x2
FIRST = [0, 0, 0, 53, 1, 67, 2, 2, 99, 0]  # apple -> orange (same superclass), fish -> ray, ...
SECOND = [0, 0, 53, 53, 1, 1, 11, 2, 99, 99]
Drawn = tuple[dict[str, Figure], dict[str, str]]
FIGURES = ["confusion", "confused_pairs", "class_accuracy", "errors", "client_accuracy"]


def table(predicted: Sequence[int], confidence: float = 0.5) -> str:
    rows = [f"{label},{p},{confidence}" for label, p in zip(TEST, predicted, strict=True)]
    return "\n".join(["label,prediction,confidence", *rows, ""])


def held(*clients: dict[int, int]) -> np.ndarray:
    """(clients, 100): a partition by what each client holds."""
    return np.array([[client.get(label, 0) for label in range(100)] for client in clients])


#: Each seed shards anew; the search's partition is another one.
PARTITIONS = (held({0: 3, 1: 1}, {2: 5}), held({0: 1}, {1: 1, 99: 3}))


def confirmed(seed: int, text: str | None) -> Trial:
    tables = {} if text is None else {"predictions.csv": text}
    if seed < len(PARTITIONS):
        tables["partition.csv"] = csv_text(range(100), PARTITIONS[seed].tolist())
    config = {**GOOD, "seed": seed}
    return Trial(f"c{seed}", config, "confirm", "finished", {400: 0.5}, 0.7, tables=tables)


@pytest.fixture(scope="module")
def store(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store of its own; the study `seen`: equal when confirmed, the second arm better before."""
    path: Path = tmp_path_factory.mktemp("pictures")
    shutil.copy(folder / "empty.db", path / "mlflow.db")
    made = Store(path)
    arms = [{**SHARDS["iid"], "local.steps": 4}, {**SHARDS[1], "local.steps": 4}]
    study = made.study("seen", arms, seeds=[0, 1])
    counts = held({5: 1}, {6: 1})  # of the search
    for number, setting in enumerate(arms):
        arm = made.arm("seen", study, setting, counts)
        poison = {"predictions.csv": table([5] * 10)}  # a search must never have one: not read
        search = Trial(f"a{number}", GOOD, curve={400: 0.6 + number / 10}, tables=poison)
        for trial in (search, confirmed(0, table(FIRST)), confirmed(1, table(SECOND))):
            made.trial("seen", arm, setting, trial)
    return made


@pytest.fixture(scope="module")
def seen(store: Store) -> StudyRuns:
    return read_study(store.uri, "seen")


@pytest.fixture(scope="module")
def arm(seen: StudyRuns) -> computed.Predicted:
    return computed.chosen(computed.read_predictions(seen, outcomes(seen)))


@pytest.fixture(scope="module")
def drawn(seen: StudyRuns) -> Drawn:
    return draw_figures(seen)


def one_arm(store: Store, name: str, texts: Sequence[str | None]) -> StudyRuns:
    setting = {**SHARDS["iid"], "local.steps": 4}
    run = store.arm(name, store.study(name, [setting], seeds=list(range(len(texts)))), setting)
    store.trial(name, run, setting, Trial("a", GOOD, curve={400: 0.6}))
    for seed, text in enumerate(texts):
        store.trial(name, run, setting, confirmed(seed, text))
    return read_study(store.uri, name)


def test_the_classes_of_cifar100() -> None:
    facts = task_facts({"data.name": "cifar100"})
    classes = classes_of(facts, 100)
    assert len(classes.names) == 100
    assert len(classes.groups) == len(facts.superclasses) == 20
    assert [len(classes.members(group)) for group in range(20)] == [5] * 20
    assert sorted(classes.order()) == list(range(100))
    assert classes.names[53] == "orange"
    assert classes.related(0, 53)
    assert not classes.related(0, 1)
    assert classes_of(facts, 101).groups == ()


def test_counts_and_shares_by_hand(arm: computed.Predicted) -> None:
    assert arm.outcome.arm == 1  # of two that are equal on fresh seeds the better in the search
    assert arm.seeds == (0, 1)
    total = arm.counts.sum(axis=0)
    assert total.sum() == 20
    assert (total[0, 0], total[0, 53], total[1, 67], total[99, 0]) == (5, 3, 1, 1)
    assert arm.shares()[0, 53] == 3 / 8
    assert np.isnan(arm.shares()[3]).all()  # no image of this class
    accuracy = arm.class_accuracy()
    assert accuracy[:, 0].tolist() == [0.75, 0.5]
    assert accuracy[:, 99].tolist() == [0.5, 1.0]


def test_confused_pairs_by_hand(arm: computed.Predicted) -> None:
    pairs = computed.confused_pairs(arm.shares(), 3)
    assert pairs == [(0, 53, 0.375), (1, 67, 0.25), (2, 11, 0.25)]
    assert computed.confused_pairs(np.eye(3), 3) == []


def test_errors_by_superclass(arm: computed.Predicted) -> None:
    kinds = computed.error_kinds(arm)
    assert kinds["right"] == pytest.approx([0.7, 0.7])
    # seed 0: apple -> orange, fish -> ray; seed 1: apple -> orange twice, baby -> boy
    assert kinds["near"] == pytest.approx([0.2, 0.3])
    assert kinds["far"] == pytest.approx([0.1, 0.0])


def test_clients_have_the_mean_of_their_classes(seen: StudyRuns, arm: computed.Predicted) -> None:
    """In the partition of their own seed, by the class accuracies of their own run."""
    clients = computed.read_clients(seen, [arm])[1]
    first, second = arm.class_accuracy()
    wanted = [(3 * first[0] + first[1]) / 4, first[2], second[0], (second[1] + 3 * second[99]) / 4]
    assert clients == pytest.approx(wanted)
    empty = computed.client_accuracies(np.zeros((1, 2), dtype=int), np.array([1.0, 0.5]))
    assert np.isnan(empty).all()
    unknown = computed.client_accuracies(np.array([[1, 1]]), np.array([np.nan, 0.5]))
    assert unknown.tolist() == [0.5]  # of what has test images


def test_calibration_by_hand() -> None:
    rows = pd.DataFrame({"label": [0, 0, 1, 1], "prediction": [0, 1, 1, 1]})
    found = computed.calibration([rows.assign(confidence=[0.9, 0.8, 1.0, 0.3])], bins=2)
    assert found.number.tolist() == [1, 3]
    assert found.accuracy.tolist() == pytest.approx([1.0, 2 / 3])
    assert found.confidence.tolist() == pytest.approx([0.3, 0.9])
    assert found.error == pytest.approx((1 * 0.7 + 3 * (0.9 - 2 / 3)) / 4)


def test_pictures_picked() -> None:
    frame = pd.DataFrame({"label": [0] * 6, "prediction": [0, 1, 1, 0, 0, 1]})
    frame["confidence"] = [0.9, 0.2, 0.7, 0.1, 0.5, 0.7]
    rows = pick(frame, 2)
    assert list(rows.values())[:2] == [[2, 5], [3, 4]]
    assert set(rows["right, at random"]) <= {0, 3, 4}
    assert pick(frame, 2) == rows


def test_figures_and_captions(drawn: Drawn) -> None:
    figures, text = drawn
    assert [name for name in figures if name in FIGURES] == FIGURES
    assert list(text) == list(figures)
    assert "N_c=1, J=4" in text["confusion"]
    assert "by the highest mean validation accuracy over the" in text["confusion"]
    labels = [t.get_text() for t in figures["confused_pairs"].axes[0].get_yticklabels()]
    assert labels[0] == "apple → orange"
    assert "100" in [t.get_text() for t in figures["confusion"].axes[1].texts]


def test_the_same_bytes(seen: StudyRuns, drawn: Drawn) -> None:
    again, text = draw_figures(seen)
    assert text == drawn[1]
    for name in FIGURES:
        assert render(again[name], "svg") == render(drawn[0][name], "svg"), name


def test_without_predictions_no_such_figures(golden: StudyRuns) -> None:
    figures, text = draw_figures(golden)
    assert not {*FIGURES, "calibration", "predictions"} & set(figures)
    assert list(text) == list(figures)


def test_seeds_without_predictions_are_left_out(store: Store) -> None:
    runs = one_arm(store, "half", [None, table(SECOND)])
    (found,) = computed.read_predictions(runs, outcomes(runs))
    assert found.seeds == (1,)
    assert found.counts.sum() == 10
    assert "confirmation seeds 1" in draw_figures(runs)[1]["confusion"]


BAD = (
    "label,prediction\n0,1\n",
    "label,prediction,confidence\n0,-1,0.5\n",
    "label,prediction,confidence\n0,1,1.5\n",
    "label,prediction,confidence\n0,x,0.5\n",
    "label,prediction,confidence\n0,,0.5\n",
    "label,prediction,confidence\n",
    "",
)


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_damaged_table_is_one_line(store: Store, number: int) -> None:
    runs = one_arm(store, f"bad{number}", [BAD[number]])
    with pytest.raises(AnalysisError, match=r"predictions\.csv is damaged"):
        computed.read_predictions(runs, outcomes(runs))


def test_seeds_must_agree_on_the_test_set(store: Store) -> None:
    other = table(FIRST).replace("99,99,", "98,99,")
    runs = one_arm(store, "mixed", [table(FIRST), other])
    with pytest.raises(AnalysisError, match="different test sets"):
        computed.read_predictions(runs, outcomes(runs))


def test_classes_without_groups(arm: computed.Predicted) -> None:
    plain = computed.Predicted(
        arm.outcome, Classes(("0", "1")), (0,), ("run",), np.array([[[3, 1], [0, 2]]]), arm.frames
    )
    assert len(confusion_figure(plain).axes) == 2  # the matrix and its colour bar
    assert computed.error_kinds(plain)["near"].tolist() == [0.0]


def test_a_named_folder_must_hold_the_images(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["--tracking-uri", store.uri, "--study", "seen", "--data-dir", str(tmp_path)]
    assert main([*call, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("error: --data-dir")


def test_damaged_images_cost_only_their_figure(
    seen: StudyRuns, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cifar-100-python").mkdir()
    (tmp_path / "cifar-100-python" / "test").write_bytes(b"something else")
    figures, _ = draw_figures(seen, tmp_path)
    assert "confusion" in figures
    assert "predictions" not in figures
    assert "not the published file" in capsys.readouterr().err


@pytest.mark.images
def test_pictures_of_predictions(store: Store, cifar_dir: Path) -> None:
    rows = [f"{n % 100},{n % 7},{n % 10 / 10}" for n in range(10_000)]
    text = "\n".join(["label,prediction,confidence", *rows])
    figures, captions = draw_figures(one_arm(store, "whole", [text]), cifar_dir)
    titles = [ax.get_title() for ax in figures["predictions"].axes]
    assert titles[0] == "bottle\n→ baby\n0.90"
    assert len(titles) == 21
    assert "seed 0" in captions["predictions"]
