"""The temperature of a ridge head: the one number that makes a softmax of its outputs.

Ridge regression fits 0 and 1, so its outputs differ by a few hundredths and their softmax is
nearly uniform. With the temperature T of Guo et al. (ICML 2017), softmax(logits / T), the same
classes get probabilities; T is the minimiser of the mean cross-entropy over the clients' own
TRAINING examples, found by Newton's method on what a federation may know.

Once the unscaled head goes to every client. Then, a few times, the server sends a scale s = 1 / T
and each client answers with two sums over its examples, the first and the second derivative of its
cross-entropy with respect to s; their totals are those of all examples, whatever the sharding. The
loss is convex in s: its slope says on which side the minimiser lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

#: Logits that spread by less (`spread_of`) carry rounding alone, and 1 / T stays 1. The targets of
#: the regression spread by 0.1 to 0.5.
LEAST_SPREAD = 1e-6
#: Where the search begins: within 15 % of the minimiser for the embedded features at every penalty.
FIRST_SPREAD = 2.0
#: Nats an example: a step that gains less is the last one. It also bounds the scale where every
#: training example is classified right and the best one is infinite.
ENOUGH = 1e-5
MOST_EVALUATIONS = 50
#: Examples at a time, so that their logits stay in a core's cache.
CHUNK = 1024


class Fit(NamedTuple):
    """A scale of the logits, and how it was found."""

    scale: float  # 1 / temperature
    #: How often the server sent a scale and every client its two derivatives; 0: the scale was set.
    evaluations: int


#: What travels in one evaluation, in float64 numbers: to each client, and from each client.
SENT_DOWN, SENT_UP = 1, 2


def margins(head: Tensor, features: Tensor, labels: Tensor) -> Tensor:
    """(n, C): how far each logit of the flat linear `head` lies above that of the label."""
    weight, bias = _parts(head, features.shape[1])
    logits = torch.addmm(bias, features, weight.T)
    return logits.sub_(logits.gather(1, labels.unsqueeze(1)))


def derivatives(margins: Tensor, scale: float) -> Tensor:
    """(2,) float64: d/ds and d^2/ds^2, at `scale`, of the examples' summed cross-entropy.

    An example's cross-entropy is log sum_c exp(s m_c), so they are the mean and the variance of its
    margins m under the softmax.
    """
    sums = torch.zeros(2, dtype=torch.float64, device=margins.device)
    for start in range(0, len(margins), CHUNK):
        chunk = margins[start : start + CHUNK]
        weighted = torch.softmax(chunk * scale, 1).mul_(chunk)
        mean = weighted.sum(1)
        square = weighted.mul_(chunk).sum(1)
        sums[0] += mean.sum(dtype=torch.float64)
        sums[1] += (square - mean * mean).sum(dtype=torch.float64)
    return sums


def spread_of(gram: Tensor, head: Tensor) -> float:
    """Root mean square of the logits around the mean of their example.

    From the summed statistics of `ridge_statistics`, which the server has: nothing is sent.
    """
    weight, bias = _parts(head.double(), len(gram) - 1)
    solution = torch.cat([weight, bias.unsqueeze(1)], 1)  # (C, D + 1)
    solution = solution - solution.mean(0)
    square = ((solution @ gram) * solution).sum() / (len(bias) * gram[-1, -1])
    return math.sqrt(max(float(square), 0.0))


def _parts(head: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Weight (C, D) and bias (C,) of a flat head."""
    classes = len(head) // (width + 1)
    return head[: classes * width].view(classes, width), head[classes * width :]


def fit_scale(evaluate: Callable[[float], tuple[float, float]], spread: float) -> Fit:
    """The scale above 0 whose cross-entropy is the least, within ENOUGH.

    `evaluate`: a scale to the mean first and second derivative of the examples. Newton's method on
    the logarithm of the scale, which two or three evaluations are enough for; a step out of the
    interval that holds the minimiser is replaced by the middle of it.
    """
    if not spread >= LEAST_SPREAD:
        return Fit(1.0, 0)
    low, high, scale = 0.0, math.inf, FIRST_SPREAD / spread
    evaluations, gain = 0, math.inf
    while gain >= ENOUGH and evaluations < MOST_EVALUATIONS:
        evaluations += 1
        slope, curvature = evaluate(scale)
        low, high = (scale, high) if slope < 0 else (low, scale)
        bend = slope + scale * curvature  # times s: the second derivative by log s
        step = max(-1.0, min(1.0, -slope / bend)) if bend > 0 else 1.0
        gain = -scale * slope * step / 2
        scale *= math.exp(step)
        if gain >= ENOUGH and not low < scale < high:
            scale = (low + high) / 2
    return Fit(scale, evaluations)
