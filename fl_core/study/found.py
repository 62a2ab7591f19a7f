"""What a study found in its data before it began: who holds what, and what its tasks are.

The analysis never loads data, so what it needs of a task stands in the facts of the study's run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fl_core import stages
from fl_core.base.machine import Machine
from fl_core.config.trial_config import TrialConfig
from fl_core.data.tasks import task_of
from fl_core.study.jobs import Arm


class Found(NamedTuple):
    """The inputs of an arm."""

    partition: np.ndarray  # (clients, classes) training examples of each class at each client
    train: int  # training examples, those held back for validation among them
    val: int  # held back for validation
    inputs: str  # a key of data.task.INPUTS
    names: tuple[str, ...]  # of the classes; none = their numbers


def found_in(config: TrialConfig, machine: Machine) -> Found:
    """The inputs of this configuration.

    Loads, downloads or computes everything its stages read, so that a study fails here, before any
    worker starts, if it fails.
    """
    fed, _ = stages.prepare(config, machine)
    task, val = task_of(config.data), 0 if fed.val is None else len(fed.val.labels)
    return Found(fed.class_counts, len(fed.train.labels), val, task.inputs, task.names)


def task_facts(arms: Sequence[Arm], found: Mapping[str, Found]) -> list[dict[str, Any]]:
    """Each task of these arms once; found: by an arm's name."""
    facts: dict[tuple[str, str], dict[str, Any]] = {}
    for arm in arms:
        data, one = arm.config.data, found.get(arm.name)
        if one is not None and (data.name, data.path) not in facts:
            facts[data.name, data.path] = {
                "name": data.name,
                "path": data.path,
                "inputs": one.inputs,
                "classes": one.partition.shape[1],
                "train": one.train,
                "val": one.val,
                "names": list(one.names),
            }
    return list(facts.values())
