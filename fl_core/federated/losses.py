"""What the classifier's logits are trained and judged by: one loss a name of `head.loss`.

    cross_entropy  -log softmax(z)_y
    one_vs_all     sum_c softplus(z_c) - z_y: the binary cross-entropy of every class against all
                   others, summed over the classes: the loss of OvA-LP (Park et al. 2025) without
                   its schedule of two stages. Through no class's logit does another's get a
                   gradient, so whatever a client does to the classes that it lacks, it does to
                   each alone. With the mean over C classes the learning rate would be C times
                   as large.

Either way the largest logit is the prediction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from torch import Tensor


class Reduced(Protocol):
    """A loss of logits (B, C) and labels (B,); reduction: mean, sum or none, as torch has it."""

    def __call__(self, logits: Tensor, labels: Tensor, /, *, reduction: str) -> Tensor: ...


@dataclass(frozen=True)
class Loss:
    """A loss in the forms that training and evaluation need.

    residual(logits, labels): of logits (..., C) each example's loss (...), and the gradient of
        that by the logits, which are overwritten.
    confidence(logits): the probability of the largest logit's class, (...).
    """

    of: Reduced
    residual: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
    confidence: Callable[[Tensor], Tensor]


def compared(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(n, C) logits and the n targets that they are compared with.

    Of a sequence's logits (B, L, C) those of all positions with targets (B, L), else with targets
    (B,) those of the last one.
    """
    if logits.dim() > 2 and targets.dim() == 1:
        logits = logits[:, -1]
    return logits.flatten(0, -2), targets.flatten()


def softmax_residual(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Softmax - onehot."""
    log_probs = F.log_softmax(logits, dim=-1)
    loss = -_of_label(log_probs, labels)
    return loss, _less_one(log_probs.exp_(), labels)


def one_vs_all(logits: Tensor, labels: Tensor, /, *, reduction: str = "mean") -> Tensor:
    """The binary cross-entropies of an example summed, then reduced over the examples."""
    losses = F.softplus(logits).sum(-1) - _of_label(logits, labels)
    match reduction:
        case "mean":
            return losses.mean()
        case "sum":
            return losses.sum()
        case _:
            return losses


def sigmoid_residual(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sigmoid - onehot."""
    loss = one_vs_all(logits, labels, reduction="none")
    return loss, _less_one(logits.sigmoid_(), labels)


def _of_label(values: Tensor, labels: Tensor) -> Tensor:
    """(...): the label's entry of values (..., C)."""
    return values.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _less_one(probs: Tensor, labels: Tensor) -> Tensor:
    """In place, 1 taken from the label's entry."""
    minus = probs.new_full((*labels.shape, 1), -1.0)
    return probs.scatter_add_(-1, labels.unsqueeze(-1), minus)


LOSSES: Mapping[str, Loss] = {
    "cross_entropy": Loss(F.cross_entropy, softmax_residual, lambda z: z.softmax(-1).amax(-1)),
    "one_vs_all": Loss(one_vs_all, sigmoid_residual, lambda z: z.amax(-1).sigmoid()),
}
CROSS_ENTROPY = LOSSES["cross_entropy"]
