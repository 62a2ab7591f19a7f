"""Handwritten digits, 8 x 8 pixels: a task of images that comes with the package.

The 1,797 of scikit-learn's `load_digits`, which are the test part of "Optical Recognition of
Handwritten Digits" (Alpaydin and Kaynak 1998, UCI Machine Learning Repository,
doi:10.24432/C50P49, CC BY 4.0), here with their grey values from 0 to 16 as one byte each. A fifth
of every class, always the same, is the test part.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fl_core.config.sections import DataConfig
from fl_core.data.catalogue import DATA_SETS
from fl_core.data.splits import fifth
from fl_core.data.task import Task

FILE = Path(__file__).with_name("digits.npz")
WHITE = 16  # the largest grey value


def digits(data: DataConfig) -> Task:
    """The task of this name."""
    return Task(DATA_SETS[data.name].classes, load_digits)


def load_digits(folder: Path, *, train: bool) -> tuple[Tensor, Tensor]:
    """(uint8 pixels (N, 3, 8, 8) in 0..255, int64 labels (N,)); no folder is needed."""
    with np.load(FILE, allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    chosen = fifth(labels)[0 if train else 1]
    grey = torch.from_numpy(np.rint(images[chosen] * (255 / WHITE)).astype(np.uint8))
    return grey[:, None].expand(-1, 3, -1, -1).contiguous(), torch.from_numpy(labels[chosen]).long()
