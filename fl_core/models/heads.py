"""The classifiers on a backbone's features: linear, or a perceptron with one hidden layer.

    linear      logits = W x + b, from zeros: the uniform prediction, the same for every seed
    perceptron  logits = W2 relu(norm(W1 x + b1)) + b2, norm a LayerNorm or nothing

The perceptron's weights begin at random, or no unit would differ from another: W1 as He et al.
(ICCV 2015) for ReLU, W2 small, so that the first prediction is nearly uniform too, but not zero:
behind zeros nothing in the hidden layer has a gradient, nor Fisher information. ReLU, because its
derivative is a comparison: the closed form of the gradient (`federated.gradients`) costs no more
than its matrix products.

Its parts are `hidden`, `norm` and `head`, so that what is called a head elsewhere, the last layer,
is called so here.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fl_core.base.rng import stream
from fl_core.config.sections import HeadConfig

LAST_SCALE = 0.02  # standard deviation of a random last layer: timm's for its heads


class Perceptron(nn.Module):
    """(..., D) features -> (..., classes) logits, through `width` hidden units."""

    EPS: ClassVar[float] = 1e-5  # added to the variance that LayerNorm divides by

    def __init__(self, features: int, width: int, num_classes: int, norm: str = "none") -> None:
        super().__init__()
        self.hidden = nn.Linear(features, width)
        self.norm: nn.Module = nn.LayerNorm(width, self.EPS) if norm == "layer" else nn.Identity()
        self.head = nn.Linear(width, num_classes)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.hidden(features)).relu())
        return logits


Head = nn.Linear | Perceptron


def linear_head(features: int, num_classes: int) -> nn.Linear:
    """A linear classifier of zeros."""
    with torch.device("meta"):  # torch's own first values would come from its global state
        head = nn.Linear(features, num_classes)
    head.to_empty(device="cpu")
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def build_head(
    config: HeadConfig, features: int, num_classes: int, seed: int, *, zeros: bool = True
) -> Head:
    """The classifier that the section `head` describes; its random weights follow the seed.

    zeros: a linear one starts from zeros, not from small random weights.
    """
    draws = stream(seed, "head")
    if not config.hidden:
        linear = linear_head(features, num_classes)
        if not zeros:
            _random(linear, LAST_SCALE, draws)
        return linear
    with torch.device("meta"):
        head = Perceptron(features, config.hidden, num_classes, config.norm)
    head.to_empty(device="cpu")
    if isinstance(head.norm, nn.LayerNorm):
        head.norm.reset_parameters()
    _random(head.hidden, float(np.sqrt(2 / features)), draws)
    _random(head.head, LAST_SCALE, draws)
    return head


def _random(layer: nn.Linear, scale: float, draws: np.random.Generator) -> None:
    """Normal weights of this standard deviation, a bias of zeros."""
    weight = scale * draws.standard_normal(layer.weight.shape, np.float32)
    layer.weight.data.copy_(torch.from_numpy(weight))
    nn.init.zeros_(layer.bias)
