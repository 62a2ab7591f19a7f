"""Reads one study out of an MLflow store into tidy frames.

A study is a tree of runs in one experiment: study run -> arm runs -> trial runs (tag `kind`).
`read_study` fetches each level with paged searches that the store filters, never a call per run;
`frames` turns the runs into frames, `fetch` gets the histories and artifacts of the few runs that
a figure needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from fl_analysis.reading import sqlite_runs
from fl_analysis.reading.connect import AnalysisError, artifact, connect, one_line, pages, search
from fl_analysis.reading.frames import PARENT, Value, arms_frame, json_tag, started, trials_frame
from fl_analysis.reading.tasks import TASKS
from fl_core.config.record import FACTS

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from fl_analysis.reading.sqlite_runs import PlainRun


@dataclass(frozen=True, eq=False)
class StudyRuns:
    """One study as read from the store; equal to itself alone.

    `arms`: one row an arm in table order, index 0..n-1: `run_id` (None: the arm has no run yet),
    `arm_name`, then the arm's base configuration by dotted name.
    `trials`: one row a trial run: `run_id`, `arm` (index into `arms`), `phase`, `status`,
    `digest`, `neighbour` (the arm whose search found it; empty where its own did), `number` (in
    order of search; None if not logged), then its configuration by dotted name and its last
    metrics (floats, NaN = none).
    """

    tracking_uri: str
    study: str
    run_id: str
    tags: Mapping[str, str]
    settings: tuple[dict[str, Value], ...]  # the arms' own overrides, in table order
    space: dict[str, dict[str, Any]]
    seeds: tuple[int, ...]
    budget: int | None  # search trials per arm
    objectives: tuple[str, ...]  # metrics that the search minimised beside maximising the score
    arms: pd.DataFrame
    trials: pd.DataFrame
    notes: tuple[str, ...]  # what was odd in the store; printed under every table
    tasks: tuple[dict[str, Any], ...] = ()  # what the study found in its data (`tasks`)
    others: tuple[str, ...] = ()  # newer first: the study's other runs, where none was asked for


def list_studies(tracking_uri: str | None = None) -> list[str]:
    """Names of the experiments that hold a study of this suite, sorted."""
    client, uri = connect(tracking_uri)
    with one_line(uri):
        names = {e.experiment_id: e.name for e in client.search_experiments()}
        runs = search(client, list(names), "tags.kind = 'study'") if names else []
    return sorted({names[run.info.experiment_id] for run in runs})


def read_study(tracking_uri: str | None, study: str | None, run_id: str | None = None) -> StudyRuns:
    """The newest study run of `study`, or the one with `run_id`, with its arms and trials."""
    client, uri = connect(tracking_uri)
    with one_line(uri):
        (root, *others), study = _study_run(client, uri, study, run_id)
        tags = _with_long_facts(client, root)
        experiment = [root.info.experiment_id]
        digest = _digest(tags)
        mine = "" if digest is None else f" and tags.study_digest = '{digest}'"
        arm_runs = [
            run
            for run in search(client, experiment, f"tags.kind = 'arm'{mine}")
            if run.data.tags.get(PARENT) == root.info.run_id
        ]
        settings = tuple(json_tag(tags, "arms", [])) or tuple(
            json_tag(run.data.tags, "arm", {}) for run in sorted(arm_runs, key=started)
        )
        arms, owner, notes = arms_frame(settings, arm_runs)
        space = json_tag(tags, "space", {})
        objectives = tuple(json_tag(tags, "objectives", []))
        if sqlite_runs.readable(uri):
            found: Iterable[Run | PlainRun] = sqlite_runs.trial_runs(uri, experiment[0], digest)
        else:
            found = pages(client, experiment, f"tags.kind = 'trial'{mine}")
        trials, trial_notes = trials_frame(found, owner, set(space), objectives)
    return StudyRuns(
        tracking_uri=uri,
        study=study,
        run_id=root.info.run_id,
        tags=tags,
        settings=settings,
        space=space,
        seeds=tuple(json_tag(tags, "seeds", [])),
        budget=int(tags["trials"]) if tags.get("trials", "").isdigit() else None,
        objectives=objectives,
        arms=arms,
        trials=trials,
        notes=(*notes, *trial_notes),
        tasks=tuple(json_tag(tags, TASKS, [])),
        others=tuple(run.info.run_id for run in others),
    )


def _with_long_facts(client: MlflowClient, root: Run) -> dict[str, str]:
    """A study run's tags; those that were too long for one from the file that they name."""
    tags = dict(root.data.tags)
    if long := [name for name, text in tags.items() if text == FACTS]:
        text = artifact(client, root.info.run_id, FACTS)
        if text is None:
            raise AnalysisError(f"run {root.info.run_id}: its {FACTS} is missing")
        facts = json.loads(text)
        tags |= {name: json.dumps(facts[name]) for name in long}
    return tags


def _digest(tags: Mapping[str, str]) -> str | None:
    """What all runs of a study share, for the store to filter by; the parents decide."""
    digest = tags.get("study_digest", "")
    return digest if re.fullmatch(r"[\w.:-]+", digest) else None


def _study_run(
    client: MlflowClient, uri: str, study: str | None, run_id: str | None
) -> tuple[list[Run], str]:
    """The run with this id, or all of the study, the newest first; the study's name."""
    if run_id is not None:
        run = client.get_run(run_id)
        if run.data.tags.get("kind") != "study":
            kind = run.data.tags.get("kind", "foreign")
            raise AnalysisError(f"run {run_id}: a run of kind {kind}, not a study run")
        name = client.get_experiment(run.info.experiment_id).name
        if study is not None and study != name:
            raise AnalysisError(f"run {run_id}: belongs to study {name}, not {study}")
        return [run], name
    if study is None:
        raise AnalysisError("a study's name or a study run's id is needed")
    experiment = client.get_experiment_by_name(study)
    found = []
    if experiment is not None and experiment.lifecycle_stage == "active":
        found = search(client, [experiment.experiment_id], "tags.kind = 'study'")
    if not found:
        known = ", ".join(list_studies(uri)) or "none"
        raise AnalysisError(f"study {study!r}: not in {uri}; studies there: {known}")
    return sorted(found, key=started, reverse=True), study
