"""What a task is: labelled examples for training and for the test, and their classes.

A task of the user's own, `data.name=package.module:name`, is a `Task` in a file of theirs. A
linear head on features that they have, whole:

    def load(folder: Path, *, train: bool) -> tuple[Tensor, Tensor]:
        file = np.load(folder / ("train.npz" if train else "test.npz"))
        return torch.from_numpy(file["features"]), torch.from_numpy(file["labels"])

    spectra = Task(classes=12, load=load, inputs="features")

`folder` is `--data-dir`. A third tensor, the owner of every example, lets the owners be the clients
(`federation.sharding=natural`). What names a trial is the source of that file, not the data it
reads: who changes the data gives them another name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Examples(NamedTuple):
    """One part of a task: N examples, each with its label and, where known, its owner."""

    inputs: Tensor  # (N, ...): see INPUTS
    labels: Tensor  # (N,) int64
    owners: Tensor | None = None  # (N,) int64: whose an example is

    def to(self, device: str) -> Examples:
        """The same on a device."""
        owners = None if self.owners is None else self.owners.to(device)
        return Examples(self.inputs.to(device), self.labels.to(device), owners)


class Load(Protocol):
    """Reads one part of a task."""

    def __call__(self, folder: Path, *, train: bool) -> tuple[Tensor, ...]:
        """(inputs (N, ...), labels (N,)) of the training part, or of the test part; with
        owners (N,) where examples have any.
        """
        ...


@dataclass(frozen=True)
class Task:
    """What is learnt.

    load: inputs of the kind `inputs`, a key of INPUTS, and labels in [0, classes). names: of the
    classes, in the order of their labels; none = their numbers. kept_as: where reading them is
    costly, what names the examples by their content: they are read once and kept in the cache.
    """

    classes: int
    load: Load
    inputs: str = "images"
    names: tuple[str, ...] = ()
    kept_as: str = ""


#: What a task's inputs may be: in words, and whether a tensor is it.
INPUTS: Mapping[str, tuple[str, Callable[[Tensor], bool]]] = {
    "images": ("uint8 (N, 3, H, W)", lambda x: x.dtype == torch.uint8 and x.shape[1:-2] == (3,)),
    "tokens": ("uint8 (N, L + 1)", lambda x: x.dtype == torch.uint8 and x.ndim == 2),
    "features": ("float (N, D)", lambda x: x.is_floating_point() and x.ndim == 2),
}
