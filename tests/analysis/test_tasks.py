"""A task that no catalogue knows: its title, size, names and chance come from the study's run."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from made_study import confirm, search, study

from fl_analysis.plots.confusion import confusion_figure
from fl_analysis.reading.classes import classes_of
from fl_analysis.reading.store import StudyRuns
from fl_analysis.reading.tasks import TaskFacts, task_facts
from fl_analysis.results.expected import _scores
from fl_analysis.results.outcome import outcomes, unheld_lines
from fl_analysis.results.predictions import Predicted
from fl_analysis.tables.conditions import caption
from fl_analysis.tables.final import final_table
from fl_analysis.tables.pivot import pivot_block
from fl_analysis.tables.positions import positions_block

FOUND: dict[str, Any] = {"name": "mine:spectra", "path": "none", "inputs": "features",
                         "classes": 5, "train": 600, "val": 60, "names": list("abcde")}  # fmt: skip


def of_mine(found: tuple[dict[str, Any], ...]) -> StudyRuns:
    runs = study([search(0, 0.5), *(confirm(0, seed, 0.5, 0.6) for seed in (1, 2, 3))])
    names = {"data.name": "mine:spectra", "data.path": "none", "federation.clients": 2}
    shards = {"federation.sharding": "classes", "federation.classes_per_client": 1}
    own = names | shards
    return replace(
        runs, tasks=found, arms=runs.arms.assign(**own), trials=runs.trials.assign(**own)
    )


def test_what_the_study_found_is_told() -> None:
    runs = of_mine((FOUND,))
    results = outcomes(runs)
    assert results[0].task.classes == 5
    text = caption(runs, results)
    size = "mine:spectra (5 classes, 600 training examples, 60 of them for validation)"
    assert text.startswith(f"{size}, its features as they are, trained: head")
    assert "on mine:spectra by" in pivot_block(results).caption
    (line,) = unheld_lines(results)
    assert "2 of the 5 classes" in line


def test_of_a_text_both_accuracies_are_named() -> None:
    runs = study([search(0, 0.5), *(confirm(0, seed, 0.5, 0.6) for seed in (1, 2, 3))])
    assert positions_block(outcomes(runs)) is None
    config = {"data.name": "tinyshakespeare", "data.path": "none", "data.scored": "every"}
    both = {"test_accuracy_every": 0.6, "test_accuracy_last": [None, 0.5, 0.6, 0.7]}
    runs = replace(
        runs, arms=runs.arms.assign(**config), trials=runs.trials.assign(**config, **both)
    )
    results = outcomes(runs)
    block = positions_block(results)
    assert block is not None
    assert [row[1:] for row in block.rows] == [["60.0 ± 0.0", "60.0 ± 10.0"]]
    assert final_table(runs)["test_accuracy_last_mean"].round(6).tolist() == [0.6]
    assert pivot_block(results).caption.startswith("Test accuracy of every character [%] on tiny")
    assert "Test accuracy of every character: mean" in caption(runs, results)


def test_a_study_that_found_nothing_is_read_too() -> None:
    runs = of_mine(())
    results = outcomes(runs)
    assert results[0].task == TaskFacts("mine:spectra", "mine:spectra")
    assert caption(runs, results).startswith("mine:spectra, backbone ")
    assert unheld_lines(results) == []


def test_the_study_knows_better_than_the_catalogue() -> None:
    config = {"data.name": "cifar100", "data.path": "none"}
    found = {"name": "cifar100", "path": "none", "train": 50_000, "val": 5_000}
    facts = task_facts(config, [found])
    assert (facts.title, facts.classes, facts.val, facts.test) == ("CIFAR-100", 100, 5_000, 10_000)
    assert facts.noun == "images"
    other = {"data.name": "folder", "data.path": "/a/flowers"}
    assert task_facts(other, [{**FOUND, "name": "folder", "path": "/b"}]).classes is None
    assert task_facts(other).title == "flowers (a folder of images)"


def test_a_diverged_trial_counts_as_guessing() -> None:
    trials = of_mine(()).trials.iloc[:1].assign(status="diverged")
    assert _scores(trials, 5) == [0.2]
    assert _scores(trials, None) == [0.0]


@pytest.mark.parametrize(("count", "named"), [(5, True), (80, True), (200, False)])
def test_names_stand_beside_a_matrix_that_has_room(count: int, named: bool) -> None:
    names = tuple("$" if n == 1 else chr(0x4E00 + n) for n in range(count))
    classes = classes_of(TaskFacts("x", "x", names=names), count)
    counts = np.eye(count, dtype=int)[None]
    arm = Predicted(outcomes(of_mine(()))[0], classes, (0,), ("run",), counts, ())
    labels = [text.get_text() for text in confusion_figure(arm).axes[0].get_yticklabels()]
    assert (labels[1] == r"\$" and len(labels) == count) is named
