"""Whether a task, and what it gives, is what its kind says; one line for what is not."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, NoReturn, cast

import numpy as np
import torch
from torch import Tensor

from fl_core.base.errors import UserError
from fl_core.config.fields import NO_PATH, refuse
from fl_core.config.own import can_take
from fl_core.config.sections import DataConfig
from fl_core.data.task import INPUTS, Examples, Task


def check_task(data: DataConfig, task: object) -> Task:
    """The user's own task, if it is one."""
    wrong = Where(data, "").wrong
    if not isinstance(task, Task):
        wrong(f"must be a Task, not {type(task).__name__}")
    if not isinstance(task.classes, int) or task.classes < 1:
        wrong(f"its classes must be a whole number above 0, not {task.classes!r}")
    if task.inputs not in INPUTS:
        wrong(f"its inputs must be {' or '.join(INPUTS)}, not {task.inputs!r}")
    if task.names and len(task.names) != task.classes:
        wrong(f"it has {task.classes} classes and names of {len(task.names)}")
    if not can_take(task.load, Path(), train=True):
        wrong("its load must be callable with (folder, *, train)")
    return task


class Where(NamedTuple):
    """What is checked, for the line that tells what is wrong: the user's file, or the task."""

    data: DataConfig
    part: str  # whose: "its" of the training part

    def wrong(self, why: str) -> NoReturn:
        """A ConfigError."""
        if self.data.path != NO_PATH:
            raise refuse("data.path", self.data.path, why)
        raise refuse("data.name", self.data.name, why)


def loaded(data: DataConfig, task: Task, folder: Path, *, train: bool) -> Examples:
    """A part of a task, read and checked."""
    where = Where(data, "its" if train else "its test part's")
    try:
        given = cast("object", task.load(folder, train=train))  # the user's own: anything
    except UserError:
        raise
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        where.wrong(f"{where.part} load fails ({why})")
    if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
        found = (
            f"{len(given)} of them" if isinstance(given, (tuple, list)) else type(given).__name__
        )
        where.wrong(f"{where.part} load must give (inputs, labels[, owners]), not {found}")
    names = ("inputs", "labels", "owners")
    tensors = [_tensor(where, name, one) for name, one in zip(names, given, strict=False)]
    return _checked(where, task, *tensors)


def _tensor(where: Where, name: str, given: object) -> Tensor:
    """A tensor as it is, or of a numpy array."""
    if isinstance(given, Tensor):
        return given
    if isinstance(given, np.ndarray) and given.dtype.kind in "biuf":
        return torch.from_numpy(given.astype(given.dtype.newbyteorder("="), copy=False))
    kind = f"an array of {given.dtype}" if isinstance(given, np.ndarray) else type(given).__name__
    where.wrong(f"{where.part} {name} must be a tensor or an array of numbers, not {kind}")


def _checked(
    where: Where, task: Task, inputs: Tensor, labels: Tensor, owners: Tensor | None = None
) -> Examples:
    """If the inputs are what `INPUTS` says, finite, and there is a label in range for each."""
    wanted, fits = INPUTS[task.inputs]
    if not fits(inputs):
        found = f"{str(inputs.dtype).removeprefix('torch.')} {tuple(inputs.shape)}"
        where.wrong(f"{where.part} inputs must be {wanted}, not {found}")
    if len(inputs) == 0:
        where.wrong(f"{where.part} inputs must be at least one, not 0")
    if task.inputs == "features":
        inputs = inputs.float()
        if not (finite := inputs.isfinite().all(1)).all():
            first = int(finite.logical_not().nonzero()[0])
            where.wrong(f"{where.part} features must be finite numbers: example {first} has others")
    labels = _whole(where, "labels", labels, len(inputs))
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= task.classes:
        allowed = f"must be in [0, {task.classes - 1}], not {least} to {most}"
        where.wrong(f"{where.part} labels {allowed}")
    if task.inputs == "tokens" and int(inputs.max()) >= task.classes:
        where.wrong(f"{where.part} symbols must be in [0, {task.classes - 1}]")
    whose = None if owners is None else _whole(where, "owners", owners, len(inputs))
    return Examples(inputs, labels, whose)


def _whole(where: Where, name: str, given: Tensor, count: int) -> Tensor:
    """(count,) int64; whole numbers of another type are taken."""
    if given.shape != (count,):
        found = f"{count} inputs and {name} of shape {tuple(given.shape)}"
        where.wrong(f"{where.part} examples have {found}")
    whole = given.long()
    if given.is_complex() or bool((whole != given).any()):
        where.wrong(f"{where.part} {name} must be whole numbers")
    return whole
