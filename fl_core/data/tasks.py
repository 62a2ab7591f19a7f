"""The tasks by the name that `data.name` gives them, and how their examples are read and checked.

A new one is a file in `sets`, an entry of TASKS and its name in `catalogue`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from fl_core.base.cache import cached
from fl_core.base.digests import digest_of
from fl_core.base.errors import ConfigError
from fl_core.base.machine import Machine
from fl_core.config.fields import refuse
from fl_core.config.own import imported
from fl_core.config.sections import DataConfig
from fl_core.data.sets.cifar import cifar
from fl_core.data.sets.digits import digits
from fl_core.data.sets.folder import folder
from fl_core.data.sets.shakespeare import shakespeare, tinyshakespeare
from fl_core.data.task import INPUTS, Examples, Task

#: By the value of `data.name`, from the section `data`.
TASKS: Mapping[str, Callable[[DataConfig], Task]] = {
    "cifar100": cifar,
    "cifar10": cifar,
    "digits": digits,
    "folder": folder,
    "tinyshakespeare": tinyshakespeare,
    "shakespeare": shakespeare,
}


def task_of(data: DataConfig) -> Task:
    """The task that the section `data` names, or the user's own."""
    if data.name in TASKS:
        return TASKS[data.name](data)
    task = imported(data.name, "data.name")
    if not isinstance(task, Task):
        raise refuse("data.name", data.name, f"must be a Task, not {type(task).__name__}")
    return task


def load_examples(data: DataConfig, machine: Machine, *, train: bool) -> Examples:
    """A task's training or test part, checked."""
    task = task_of(data)
    if task.kept_as:
        return _kept(data.name, task, machine, "train" if train else "test")
    return _checked(data.name, task, *task.load(machine.data_dir, train=train))


def _kept(name: str, task: Task, machine: Machine, part: str) -> Examples:
    """A part of a costly task, from the cache, both parts being read where they are not there: bad
    ones are refused before any work, and each is stored, and loaded, apart.
    """

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors: dict[str, Tensor] = {}
        for one in ("train", "test"):
            found = _checked(name, task, *task.load(machine.data_dir, train=one == "train"))
            tensors |= {f"{one}_{n}": t for n, t in found._asdict().items() if t is not None}
        return tensors, {"source": name, "kept_as": task.kept_as}

    path = machine.cache_dir / f"data-{digest_of(task.kept_as)}.safetensors"
    tensors, _ = cached(path, make, f"{part}_", mapped=True)
    return Examples(**{n.removeprefix(f"{part}_"): t for n, t in tensors.items()})


def _checked(name: str, task: Task, inputs: Tensor, labels: Tensor, *owners: Tensor) -> Examples:
    """What a task's `load` gave, if it is what `INPUTS` says."""
    wanted, fits = INPUTS[task.inputs]
    if not fits(inputs):
        found = f"{str(inputs.dtype).removeprefix('torch.')} {tuple(inputs.shape)}"
        raise _wrong(name, f"its inputs must be {wanted}, not {found}")
    for what, each in (("labels", labels), *(("owners", one) for one in owners)):
        if each.shape != inputs.shape[:1]:
            shape = tuple(each.shape)
            raise _wrong(name, f"it has {len(inputs)} inputs and {what} of shape {shape}")
    labels = labels.long()
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= task.classes:
        raise _wrong(name, f"its labels must be in [0, {task.classes - 1}]")
    if task.inputs == "tokens" and int(inputs.max()) >= task.classes:
        raise _wrong(name, f"its symbols must be in [0, {task.classes - 1}]")
    inputs = inputs.float() if task.inputs == "features" else inputs
    return Examples(inputs, labels, *(one.long() for one in owners))


def _wrong(name: str, why: str) -> ConfigError:
    return refuse("data.name", name, why)
