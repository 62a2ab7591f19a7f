"""The tasks a trial may learn: labelled examples for training and for the test, and their classes.

A task of the user's own, `data.name=package.module:name`, is a `Task` in a file of theirs. A
linear head on features that they have, whole:

    def load(folder: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        file = np.load(folder / ("train.npz" if train else "test.npz"))
        return torch.from_numpy(file["features"]), torch.from_numpy(file["labels"])

    spectra = Task(classes=12, load=load, features=True)

`folder` is `--data-dir`. What names a trial is the source of that file, not the data it reads: who
changes the data gives them another name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from fl_core.base.errors import ConfigError
from fl_core.config.fields import refuse
from fl_core.config.own import resolve
from fl_core.config.vocabulary import DATA_SETS
from fl_core.data.cifar import load_images


class Load(Protocol):
    """Reads one part of a task."""

    def __call__(self, folder: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        """(inputs (N, ...), labels (N,)) of the training part, or of the test part."""
        ...


@dataclass(frozen=True)
class Task:
    """What is learnt.

    load: inputs, uint8 images (N, 3, H, W) of one size or float features (N, D), and labels in
    [0, classes). features: whether the inputs are features, on which a linear head learns without
    a backbone.
    """

    classes: int
    load: Load
    features: bool = False


TASKS: Mapping[str, Task] = {
    name: Task(kind.classes, partial(load_images, name)) for name, kind in DATA_SETS.items()
}


def task_of(name: str) -> Task:
    """The task of this name, or the user's own."""
    task = resolve(TASKS, name, "data.name")
    if not isinstance(task, Task):
        raise refuse("data.name", name, f"must be a Task, not {type(task).__name__}")
    return task


def load_examples(name: str, folder: Path, *, train: bool) -> tuple[Tensor, Tensor]:
    """(inputs (N, ...), int64 labels (N,)) of a task's training or test part, checked."""
    task = task_of(name)
    inputs, labels = task.load(folder, train=train)
    wanted, fits = (
        ("float (N, D)", inputs.is_floating_point() and inputs.ndim == 2)
        if task.features
        else ("uint8 (N, 3, H, W)", inputs.dtype == torch.uint8 and inputs.shape[1:-2] == (3,))
    )
    if not fits:
        found = f"{str(inputs.dtype).removeprefix('torch.')} {tuple(inputs.shape)}"
        raise _wrong(name, f"its inputs must be {wanted}, not {found}")
    if labels.shape != inputs.shape[:1]:
        raise _wrong(name, f"it has {len(inputs)} inputs and labels of shape {tuple(labels.shape)}")
    labels = labels.long()
    if len(labels) == 0 or labels.min() < 0 or labels.max() >= task.classes:
        raise _wrong(name, f"its labels must be in [0, {task.classes - 1}]")
    return inputs.float() if task.features else inputs, labels


def _wrong(name: str, why: str) -> ConfigError:
    return refuse("data.name", name, why)
