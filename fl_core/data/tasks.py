"""The tasks by the name that `data.name` gives them, and how their examples are read and checked.

A new one is a file in `sets`, an entry of TASKS and its name in `catalogue`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from fl_core.base.cache import cached
from fl_core.base.digests import digest_of
from fl_core.base.machine import Machine
from fl_core.config.own import imported
from fl_core.config.sections import DataConfig
from fl_core.data.catalogue import DATA_SETS, HUB
from fl_core.data.checks import Where, check_task, loaded
from fl_core.data.sets.cifar import cifar
from fl_core.data.sets.digits import digits
from fl_core.data.sets.features import features
from fl_core.data.sets.folder import folder
from fl_core.data.sets.hub import hub
from fl_core.data.sets.shakespeare import shakespeare, tinyshakespeare
from fl_core.data.task import Examples, Task

#: By the value of `data.name`, from the section `data`.
TASKS: Mapping[str, Callable[[DataConfig], Task]] = {
    "cifar100": cifar,
    "cifar10": cifar,
    "digits": digits,
    "folder": folder,
    "tinyshakespeare": tinyshakespeare,
    "shakespeare": shakespeare,
    "features": features,
}


def task_of(data: DataConfig) -> Task:
    """The task that the section `data` names, or the user's own."""
    if data.name in TASKS:
        return TASKS[data.name](data)
    if data.name.startswith(HUB):
        return hub(data)
    return check_task(data, imported(data.name, "data.name"))


def load_examples(data: DataConfig, machine: Machine, *, train: bool) -> Examples:
    """A task's training or test part, checked."""
    task = task_of(data)
    if task.kept_as:
        return _kept(data, task, machine, "train" if train else "test")
    return loaded(data, task, machine.data_dir, train=train)


def check_parts(data: DataConfig, machine: Machine) -> None:
    """ConfigError where a part of a task cannot be what is to be trained or tested on; no number
    of the test part leaves this function. Before a search, which would find out at its end.
    """
    task = task_of(data)
    if task.kept_as:
        _kept(data, task, machine, "train")
    elif data.name not in DATA_SETS:
        _read_both(data, task, machine)


def _read_both(data: DataConfig, task: Task, machine: Machine) -> Mapping[str, Examples]:
    """Both parts, which fit together."""
    train = loaded(data, task, machine.data_dir, train=True)
    test = loaded(data, task, machine.data_dir, train=False)
    if task.inputs == "features" and train.inputs.shape[1] != test.inputs.shape[1]:
        widths = f"{train.inputs.shape[1]} features, its test part {test.inputs.shape[1]}"
        Where(data, "").wrong(f"its training part has {widths}")
    return {"train": train, "test": test}


def _kept(data: DataConfig, task: Task, machine: Machine, part: str) -> Examples:
    """A part of a costly task, from the cache, both parts being read where they are not there: bad
    ones are refused before any work, and each is stored, and loaded, apart.
    """

    def make() -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors: dict[str, Tensor] = {}
        for one, found in _read_both(data, task, machine).items():
            tensors |= {f"{one}_{n}": t for n, t in found._asdict().items() if t is not None}
        return tensors, {"source": data.name, "kept_as": task.kept_as}

    path = machine.cache_dir / f"data-{digest_of(task.kept_as)}.safetensors"
    tensors, _ = cached(path, make, f"{part}_", mapped=True)
    return Examples(**{n.removeprefix(f"{part}_"): t for n, t in tensors.items()})
