"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), as torchvision keeps them."""

from __future__ import annotations

from functools import partial
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor

from fl_core.base.errors import UserError
from fl_core.config.sections import DataConfig
from fl_core.data.catalogue import DATA_SETS
from fl_core.data.task import Task


def cifar(data: DataConfig) -> Task:
    """The task of this name."""
    known = DATA_SETS[data.name]
    return Task(known.classes, partial(load_images, data.name), names=known.names)


def load_images(name: str, data_dir: Path, *, train: bool) -> tuple[Tensor, Tensor]:
    """(uint8 pixels (N, 3, 32, 32), int64 labels (N,)) of a CIFAR data set.

    Found in `data_dir` in torchvision's format (md5-checked by torchvision), else downloaded
    there by torchvision. Raises UserError where neither is possible.
    """
    from torchvision import datasets  # eight seconds of import: only where images are needed

    dataset = {"cifar100": datasets.CIFAR100, "cifar10": datasets.CIFAR10}[name]
    try:
        data = dataset(str(data_dir), train=train, download=False)
    except RuntimeError:
        try:
            data = dataset(str(data_dir), train=train, download=True)
        except (OSError, RuntimeError, HTTPException) as error:
            raise UserError(
                f"{name} is not in {data_dir} and cannot be downloaded ({error}): put "
                f"torchvision's {dataset.base_folder} there or name its parent with --data-dir or "
                "FL_DATA_DIR (the embedded preset needs no data)"
            ) from error
    pixels = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return pixels, torch.tensor(data.targets)
