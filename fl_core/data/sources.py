"""Data sets on the device: uint8 images, cached features, windows of text, the validation split.

Images stay uint8 on the device and are augmented, resized and normalised in batches there; there
is no loader, no worker process and no PIL in the loop. All random draws come in from outside as
numbers in [0, 1), so a batch is a pure function of (indices, draws) on every device.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fl_core.base.rng import stream
from fl_core.config.fields import refuse
from fl_core.config.sections import DataConfig

DRAWS_PER_IMAGE = 4  # flip, crop row, crop column, rotation: always drawn, used or not


class Source(Protocol):
    """Examples a model can be trained or evaluated on."""

    @property
    def labels(self) -> Tensor:
        """(N,) int64, on the device."""
        ...

    @property
    def owners(self) -> Tensor | None:
        """(N,) int64, where the task knows whose the examples are."""
        ...

    def batch(self, indices: Tensor, draws: Tensor | None = None) -> Tensor:
        """Model inputs of these examples: (B,) indices -> (B, ...). `draws` (B, 4) augments."""
        ...

    def targets(self, indices: Tensor) -> Tensor:
        """What the model's outputs for these examples (...) are compared with: their labels, or
        in a text (..., L) what follows each position.
        """
        ...

    def subset(self, indices: np.ndarray) -> Source:
        """A source of these examples alone."""
        ...


@dataclass(frozen=True)
class FeatureSource:
    """Precomputed features (N, D) float32 of a frozen backbone."""

    features: Tensor
    labels: Tensor
    owners: Tensor | None = None

    def batch(self, indices: Tensor, draws: Tensor | None = None) -> Tensor:
        return self.features.index_select(0, indices)  # three times faster than [indices]

    def targets(self, indices: Tensor) -> Tensor:
        return self.labels[indices]

    def subset(self, indices: np.ndarray) -> FeatureSource:
        """Only these examples."""
        chosen = torch.from_numpy(indices).to(self.labels.device)
        return FeatureSource(self.features[chosen], self.labels[chosen])  # owners: of no use then


@dataclass(frozen=True)
class Preprocess:
    """uint8 images to a backbone's input: resize, then its own normalisation."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: int
    interpolation: str = "bicubic"

    def __call__(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) in 0..255 -> (B, 3, size, size) float32."""
        images = pixels.float() / 255  # not in place: rotated pixels are float already
        if images.shape[-1] != self.size:
            shape = (self.size, self.size)
            images = F.interpolate(
                images, shape, mode=self.interpolation, align_corners=False, antialias=True
            ).clamp_(0, 1)
        mean = torch.tensor(self.mean, device=images.device).view(1, -1, 1, 1)
        std = torch.tensor(self.std, device=images.device).view(1, -1, 1, 1)
        return (images - mean) / std


@dataclass(frozen=True)
class ImageSource:
    """uint8 images (N, 3, H, W), preprocessed and, given draws, augmented batch by batch."""

    pixels: Tensor
    labels: Tensor
    preprocess: Preprocess
    config: DataConfig
    owners: Tensor | None = None

    def batch(self, indices: Tensor, draws: Tensor | None = None) -> Tensor:
        pixels = self.pixels[indices]
        if draws is not None:
            pixels = augment(pixels, draws, self.config)
        return self.preprocess(pixels)

    def targets(self, indices: Tensor) -> Tensor:
        return self.labels[indices]

    def subset(self, indices: np.ndarray) -> ImageSource:
        """Only these examples."""
        chosen = torch.from_numpy(indices).to(self.labels.device)
        return replace(self, pixels=self.pixels[chosen], labels=self.labels[chosen], owners=None)


@dataclass(frozen=True)
class TokenSource:
    """Windows of L + 1 symbols of a text, uint8: L to read, each with the one that follows it.

    labels: the last symbols. every: whether each position is compared with what follows it (as
    TensorFlow Federated scores), not the last one alone (as LEAF).
    """

    windows: Tensor  # (N, L + 1)
    labels: Tensor
    every: bool
    owners: Tensor | None = None

    def batch(self, indices: Tensor, draws: Tensor | None = None) -> Tensor:
        return self.windows[indices, :-1].long()

    def following(self, indices: Tensor) -> Tensor:
        """What follows each position of these windows (...), as (..., L)."""
        return self.windows[indices, 1:].long()

    def targets(self, indices: Tensor) -> Tensor:
        return self.following(indices) if self.every else self.labels[indices]

    def subset(self, indices: np.ndarray) -> TokenSource:
        """Only these windows."""
        chosen = torch.from_numpy(indices).to(self.labels.device)
        return replace(self, windows=self.windows[chosen], labels=self.labels[chosen], owners=None)


def augment(pixels: Tensor, draws: Tensor, config: DataConfig) -> Tensor:
    """Random flip, crop and rotation of a batch (B, 3, H, W) from `draws` (B, 4) in [0, 1)."""
    flip, row, column, angle = draws.to(pixels.device).unbind(1)
    if config.flips:
        pixels = torch.where((flip < 0.5).view(-1, 1, 1, 1), pixels.flip(-1), pixels)
    if config.crop:
        pixels = _crop(pixels, row, column, config.crop)
    if config.rotation:
        pixels = _rotate(pixels, (2 * angle - 1) * math.radians(config.rotation))
    return pixels


def _crop(pixels: Tensor, row: Tensor, column: Tensor, padding: int) -> Tensor:
    """Each image cut at its own place out of its zero-padded self."""
    size = pixels.shape[-1]
    padded = F.pad(pixels, (padding,) * 4)
    steps = torch.arange(size, device=pixels.device)
    rows = (row * (2 * padding + 1)).long()[:, None] + steps  # (B, H)
    columns = (column * (2 * padding + 1)).long()[:, None] + steps  # (B, W)
    batch = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )


def _rotate(pixels: Tensor, radians: Tensor) -> Tensor:
    """Each image turned about its centre by its own angle, bilinear, zeros outside."""
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    theta = torch.stack([cos, -sin, zero, sin, cos, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels.float(), grid, align_corners=False)


def split_train_val(labels: np.ndarray, config: DataConfig) -> tuple[np.ndarray, np.ndarray]:
    """Sorted (train, val) indices: a fixed, seeded, stratified split of the training set.

    `val_fraction` of every class, rounded so that the total is exact; of every class one example
    stays to train on. With `train_on=train+val` the training part is everything and the validation
    part is empty. ConfigError where there are too few examples for it.
    """
    if config.train_on == "train+val":
        return np.arange(len(labels)), np.arange(0)
    rng = stream(config.split_seed, "split")
    # Each example's rank within its class, after a shuffle, as a fraction of the class;
    # the smallest fractions of all are the validation set: stratified, and exact in total.
    fraction = np.empty(len(labels))
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        fraction[members] = (np.arange(len(members)) + rng.random()) / len(members)
        fraction[members[-1]] = np.inf  # the last to be taken: no number of larger classes changes
    order = np.argsort(fraction, kind="stable")
    count, most = round(config.val_fraction * len(labels)), int(np.isfinite(fraction).sum())
    if not 0 < count <= most:
        allowed = f"is {count} of {len(labels)} training examples: must be 1 to {most} of them, "
        allowed += "which leaves one of every class to train on"
        raise refuse("data.val_fraction", config.val_fraction, allowed)
    return np.sort(order[count:]), np.sort(order[:count])


EXEMPLARS = 10  # of a class


def exemplars(labels: np.ndarray, config: DataConfig) -> np.ndarray:
    """Sorted indices of a few examples of each class that the server has: of the validation split,
    also with `train_on=train+val`.
    """
    _, val = split_train_val(labels, replace(config, train_on="train"))
    chosen = [val[labels[val] == label][:EXEMPLARS] for label in np.unique(labels)]
    return np.sort(np.concatenate(chosen))


def train_sample(labels: np.ndarray, config: DataConfig) -> np.ndarray:
    """Sorted indices of a fixed, seeded sample of the training part, on which accuracy is measured.

    As many as the validation set has, or would have with `train_on=train`; at most all.
    """
    train, _ = split_train_val(labels, config)
    count = min(round(config.val_fraction * len(labels)), len(train))
    return np.sort(stream(config.split_seed, "train_sample").choice(train, count, replace=False))
