"""The views of MLflow's runs page: the arms, which are the answer, and all runs; and their links.

MLflow's page shows source and data set by default, sorts by start, and opens among its tools for
language models. A "shared view", a tag of the experiment that a link names, says otherwise. MLflow
reads it as plain JSON, since 3.16 also as an envelope with a name, which its menu of views lists:
ours is both in one. An MLflow that knows no such tag opens its usual page.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LONGEST_VIEW = 4900  # characters; older stores end an experiment's tag at 5,000
TAG = "mlflow.sharedViewState."  # before the key
_TESTED = ("metrics.val_accuracy", "metrics.test_accuracy", "metrics.test_accuracy_std")


@dataclass(frozen=True)
class View:
    """What the runs page shows, the highest in the first column on top."""

    key: str  # in its link
    name: str
    filter: str
    columns: Sequence[str]


ARMS = View(
    "arms",
    "Arms: the answer",
    "tags.kind = 'arm'",
    (*_TESTED, "metrics.seeds", "metrics.score", "metrics.trials", "metrics.diverged_share"),
)
RUNS = View(
    "study",
    "All trials and confirmations",
    "tags.kind = 'trial'",
    ("metrics.score", *_TESTED[:2], "metrics.train_loss", "metrics.local_steps",
     "metrics.bytes_up", "metrics.seconds_train", "tags.arm_name", "tags.phase", "tags.status"),
)  # fmt: skip


def view_tags(facts: Mapping[str, Any]) -> dict[str, str]:
    """The experiment's tags that hold the views."""
    arms = [f"params.{name}" for name in _names(facts.get("arms", []))]
    space = [f"params.{name}" for name in facts.get("space", {})]
    searched = [name for name in space if name not in arms]
    return {f"{TAG}{view.key}": _text(view, (*arms, *searched)) for view in (ARMS, RUNS)}


def link(experiment: str, view: View = ARMS) -> str:
    """Where a view is, below the address of the server."""
    page = f"#/experiments/{experiment}/runs"
    return f"{page}?workflowType=machine_learning&viewStateShareKey={view.key}"


def _text(view: View, params: Sequence[str]) -> str:
    """With as many columns of parameters as a tag holds."""
    columns = [_quoted(name) for name in (*view.columns, *params)]
    state = {
        "searchFilter": view.filter,
        "selectedColumns": columns,
        "columnOrder": columns,
        "orderByKey": columns[0],
        "orderByAsc": False,
    }
    named = {"name": view.name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)}
    text = json.dumps({**state, **named})
    return text if len(text) <= LONGEST_VIEW else _text(view, params[:-1])


def _names(settings: Iterable[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for setting in settings for name in setting))


def _quoted(column: str) -> str:
    kind, _, field = column.partition(".")
    return f"{kind}.`{field}`"
