"""The rules of a mask: scores of the parameters, of which the LOWEST stay trainable.

A rule is a function of one `Scoring`. It may be the user's own (`mask.rule=package.module:name`):

    def small_and_calm(scoring: Scoring) -> Tensor:  # (P,)
        return scoring.sensitivity() * scoring.params.abs()
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fl_core.base.params import Layout
from fl_core.config.fields import refuse
from fl_core.config.mask_section import MaskConfig
from fl_core.config.own import resolve


@dataclass(frozen=True)
class Scoring:
    """What a rule may read in one round of one party's calibration."""

    config: MaskConfig
    params: Tensor  # (P,) float32: of the model that is calibrated on
    active: Tensor  # (P,) bool: what the rounds before left trainable
    round: int  # of config.rounds, from 0
    layout: Layout  # names and shapes of the parameters
    sensitivity: Callable[[], Tensor]  # (P,) Fisher information, with dropped weights damped
    saliency: Callable[[], Tensor]  # (P,) |gradient * weight|, of the same model
    draws: Callable[[], np.random.Generator]  # the party's own random numbers


Rule = Callable[[Scoring], Tensor]


def least_sensitive(scoring: Scoring) -> Tensor:
    """TaLoS (Iurada et al., ICLR 2025): what the model's output depends on least."""
    return scoring.sensitivity()


def most_sensitive(scoring: Scoring) -> Tensor:
    """The opposite."""
    return -scoring.sensitivity()


def most_salient(scoring: Scoring) -> Tensor:
    """SSFL (Ohib et al. 2024): what the loss depends on most, weight for weight."""
    return -scoring.saliency()


def low_magnitude(scoring: Scoring) -> Tensor:
    """The smallest weights."""
    return magnitude(scoring.params)


def high_magnitude(scoring: Scoring) -> Tensor:
    """The largest weights."""
    return -magnitude(scoring.params)


def random(scoring: Scoring) -> Tensor:
    """Any, by the seed: the baseline of every rule."""
    draws = scoring.draws().random(len(scoring.params), np.float32)
    return torch.from_numpy(draws).to(scoring.params.device)


def hybrid_of_both(scoring: Scoring) -> Tensor:
    """Ranks of sensitivity and magnitude, weighted by `mask.hybrid_weight`."""
    weight = scoring.config.hybrid_weight
    assert weight is not None
    return hybrid(scoring.sensitivity(), magnitude(scoring.params), weight, scoring.active)


def magnitude(params: Tensor) -> Tensor:
    """(P,): |w|."""
    return params.detach().abs()


def hybrid(fisher: Tensor, magnitude: Tensor, weight: float, active: Tensor) -> Tensor:
    """(P,): weight * rank(fisher) + (1 - weight) * rank(magnitude), ranks in [0, 1].

    Ranks among the `active` entries: the two scales, orders of magnitude apart, don't matter.
    float64, because float32 has fewer numbers in [0, 1] than a ViT-S has parameters.
    """
    mixed = torch.zeros_like(fisher, dtype=torch.float64)
    mixed[active] = weight * _ranks(fisher[active]) + (1 - weight) * _ranks(magnitude[active])
    return mixed


def _ranks(values: Tensor) -> Tensor:
    """(n,) ranks from 0 (smallest) to 1; equal values share the mean of theirs."""
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    mean = counts.cumsum(0).double() - (counts + 1) / 2
    ranks: Tensor = (mean / max(len(values) - 1, 1))[place]
    return ranks


RULES: dict[str, Rule] = {
    "least_sensitive": least_sensitive,
    "most_sensitive": most_sensitive,
    "low_magnitude": low_magnitude,
    "high_magnitude": high_magnitude,
    "random": random,
    "hybrid": hybrid_of_both,
    "most_salient": most_salient,
}


def rule_of(config: MaskConfig) -> Rule:
    """The rule of this name, or the user's own."""
    return resolve(RULES, config.rule, "mask.rule", takes=("scoring",))


def checked_scores(scores: object, size: int, rule: str) -> Tensor:
    """The scores of a rule, which may be the user's own, or a ConfigError."""
    if isinstance(scores, Tensor) and scores.shape == (size,) and scores.dtype != torch.bool:
        return scores
    found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    raise refuse("mask.rule", rule, f"must return numbers of shape ({size},), not {found}")
