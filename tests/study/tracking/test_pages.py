"""What a person sees on MLflow's pages, and what becomes of facts that are too long for a tag."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from fl_analysis.reading.store import read_study
from fl_core.config.record import FACTS
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study import ui
from fl_core.study.jobs import Arm, Job
from fl_core.study.tracking import views
from fl_core.study.tracking.arm_runs import ArmResult
from fl_core.study.tracking.notes import NOTE, experiment_tags, run_name
from fl_core.study.tracking.tracker import Tracker

SPACE = {"local.lr": {"low": 0.01, "high": 1.0}}


def arm(lr: float = 0.1, **values: Value) -> Arm:
    fields = {name.replace("_", ".", 1): value for name, value in values.items()}
    config = TrialConfig().override({"local.lr": lr, **fields})
    return Arm("iid, J=4", fields, config)


def facts(name: str, **more: Any) -> dict[str, Any]:
    return {"study": name, "preset": "p", "arms": [{}], "space": SPACE, **more}


def runs_of(store: str, experiment: str, kind: str) -> list[Run]:
    client = MlflowClient(store)
    found = client.get_experiment_by_name(experiment)
    return list(client.search_runs([found.experiment_id], f"tags.kind = '{kind}'"))


def history(store: str, run: Run, metric: str) -> list[tuple[int, float]]:
    points = MlflowClient(store).get_metric_history(run.info.run_id, metric)
    return [(point.step, point.value) for point in points]


def test_facts_too_long_for_a_tag_are_read_from_the_file(store: str) -> None:
    """150 arms and 2,000 seeds: MLflow ends a tag after 8,000 characters."""
    arms = [{"local.steps": n, "federation.sharding": "classes"} for n in range(1, 151)]
    long = facts("long", arms=arms, seeds=list(range(2000)), question="Why? " * 2000)
    tracker = Tracker(store, "long")
    study = tracker.open("d", {**long, "trials": 3, "neighbours": True}, [arm()])
    assert tracker.close("FINISHED") is None
    tags = MlflowClient(store).get_run(study).data.tags
    assert tags["arms"] == tags["seeds"] == FACTS
    assert tags["space"] == json.dumps(SPACE)  # what fits stays where people look
    assert tags["question"].endswith("…")
    found = read_study(store, "long")
    assert [setting["local.steps"] for setting in found.settings] == list(range(1, 151))
    assert found.seeds == tuple(range(2000))
    assert found.space == SPACE
    assert (found.tags["trials"], found.tags["neighbours"]) == ("3", "True")
    file = MlflowClient(store).download_artifacts(study, FACTS)
    assert json.loads(Path(file).read_text())["question"] == "Why? " * 2000


def result(best: float, metrics: Mapping[str, float], curve: Mapping[int, float]) -> ArmResult:
    chosen = arm().config.override({"local.lr": best})
    return ArmResult(arm(), chosen, metrics, curve, "Test accuracy 70.0 ± 1.0 %")


def test_the_run_of_an_arm_shows_what_it_came_to(store: str) -> None:
    """Chosen parameters, numbers, curve; the same command again adds nothing."""
    metrics, curve = {"test_accuracy": 0.7, "seeds": 2.0}, {4: 0.5, 8: 0.6}
    for once in range(2):
        tracker = Tracker(store, "results")
        tracker.open("d", facts("results"), [arm()])
        (run,) = runs_of(store, "results", "arm")
        assert ("local.lr" in run.data.params) == bool(once)  # not known before
        assert run.data.params["local.momentum"] == str(arm().config.local.momentum)
        assert tracker.close("FINISHED") is None
        tracker.arm_result(result(0.3, metrics, curve))
        assert tracker.summary("") is None
    (run,) = runs_of(store, "results", "arm")
    assert run.data.params == {n: str(v) for n, v in result(0.3, {}, {}).best.to_flat().items()}
    assert run.data.metrics == {**metrics, "val_accuracy": 0.6}
    assert history(store, run, "val_accuracy") == [(4, 0.5), (8, 0.6)]
    assert history(store, run, "test_accuracy") == [(0, 0.7)]
    assert "local.lr` | 0.3" in run.data.tags[NOTE]
    assert "70.0 ± 1.0" in run.data.tags[NOTE]
    assert (run.info.run_name, run.info.status) == ("iid, J=4", "FINISHED")
    assert "arm" not in set(read_study(store, "results").trials["phase"])


def test_another_winner_takes_a_new_run_and_the_trials_with_it(store: str) -> None:
    """MLflow changes no parameter; runs of older studies have the base's."""
    trial = Job("search", 0, 3, arm().config, {"local.lr": 0.1})
    for best in (0.3, 0.4):
        tracker = Tracker(store, "winners")
        tracker.open("d", facts("winners"), [arm()])
        tracker.job_started(trial)
        tracker.job_ended(trial, "finished", "")
        tracker.text(tracker.arm_run(arm()), "0,1\n3,4\n", "partition.csv")
        assert tracker.close("FINISHED") is None
        tracker.arm_result(result(best, {"seeds": 2.0}, {4: best}))
        assert tracker.summary("") is None
    (run,), (its,) = runs_of(store, "winners", "arm"), runs_of(store, "winners", "trial")
    assert run.data.params["local.lr"] == "0.4"
    assert history(store, run, "val_accuracy") == [(4, 0.4)]
    assert its.data.tags["mlflow.parentRunId"] == run.info.run_id
    assert tracker.arm_run(arm()) == run.info.run_id
    files = [file.path for file in MlflowClient(store).list_artifacts(run.info.run_id)]
    assert files == ["best.yaml", "partition.csv"]
    assert len(read_study(store, "winners").trials) == 1


def test_the_studys_run_tells_the_answer(store: str, tmp_path: Path) -> None:
    tracker = Tracker(store, "answer")
    told = facts("answer", question="Does it work?", command="python studies/s.py")
    study = tracker.open("d", told, [arm()])
    trial = Job("search", 0, 9, arm().config, {"local.lr": 0.1})
    tracker.job_started(trial)
    assert tracker.close("FINISHED") is None
    picture = tmp_path / "curves.png"
    picture.write_bytes(b"png")
    assert tracker.summary("**Yes.**", [(picture, "figures"), (picture, "")]) is None
    client = MlflowClient(store)
    note = client.get_run(study).data.tags[NOTE]
    assert note.startswith("**Yes.**\n\n")
    assert note.endswith("\n\nDoes it work?\n\nAgain: `python studies/s.py`")
    assert [file.path for file in client.list_artifacts(study, "figures")] == ["figures/curves.png"]
    assert [run.info.run_name for run in runs_of(store, "answer", "trial")] == ["iid, J=4 #9"]
    link = views.link(tracker.experiment)
    assert link in client.get_experiment(tracker.experiment).tags[NOTE]
    assert ("answer", tracker.experiment) in ui.studies(Path(store.removeprefix("sqlite:///")))


def test_views_are_plain_and_named_at_once() -> None:
    """MLflow before 3.16 reads the one, later ones the other."""
    tags = experiment_tags(facts("s", arms=[{"local.steps": 4}]), "7")
    view = json.loads(tags["mlflow.sharedViewState.arms"])
    assert view["selectedColumns"][0] == view["orderByKey"] == "metrics.`val_accuracy`"
    assert view["selectedColumns"][-2:] == ["params.`local.steps`", "params.`local.lr`"]
    assert view["searchFilter"] == "tags.kind = 'arm'"
    state = json.loads(view["state"])
    assert {name: view[name] for name in state} == state
    assert "&viewStateShareKey=arms" in tags[NOTE]


def test_views_of_large_spaces_fit_into_a_tag() -> None:
    space = {f"some.long_{n}_field_of_a_space": {} for n in range(200)}
    tags = experiment_tags(facts("s", space=space, question="x" * 9000), "7")
    assert all(len(text) < 5000 for text in tags.values())
    assert "some.long_0_field" in tags["mlflow.sharedViewState.arms"]


@pytest.mark.parametrize(("phase", "name"), [("search", "#9"), ("confirm", "seed 9")])
def test_names_of_runs(phase: str, name: str) -> None:
    job = Job(phase, 0, 9, arm().config, {"local.lr": 0.1})
    assert run_name(arm(), job) == f"iid, J=4 {name}"
    wordy = Arm("x" * 500, {}, arm().config)
    assert len(run_name(wordy, job)) < 250  # where MLflow's databases end a run's name
