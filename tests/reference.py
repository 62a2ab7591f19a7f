"""Obvious versions of what the product computes in clever ways; the benchmarks import them too."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fl_core.base.params import FlatModule
from fl_core.data.sources import Source


def looped_fisher(
    model: FlatModule, source: Source, indices: np.ndarray, kind: str, rng: np.random.Generator
) -> Tensor:
    """`masks.fisher.fisher`: one backward pass an example. Leaves the model in eval mode."""
    model.module.eval()
    total = torch.zeros_like(model.flat)
    for index, draw in zip(indices, rng.random(len(indices)), strict=True):
        (logits,) = model.module(source.batch(torch.tensor([index])))
        label = int(source.labels[index])
        if kind != "empirical":
            probabilities = logits.detach().double().softmax(0).numpy()
            steps = probabilities.cumsum() / probabilities.sum()
            label = min(int(np.searchsorted(steps, draw, side="right")), len(steps) - 1)
        model.grad.zero_()
        (
            logits[label] if kind == "talos" else -F.cross_entropy(logits, torch.tensor(label))
        ).backward()
        total.addcmul_(model.grad, model.grad)
    model.grad.zero_()
    return total / len(indices)


def relative_error(found: Tensor, right: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((found - right).abs().max() / right.abs().max())
