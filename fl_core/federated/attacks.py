"""Attackers: clients that work against the others, on their examples or in what they send.

    label_flip     train on labels C - 1 - y (Fang et al., USENIX Security 2020)
    noisy_inputs   train on x + scale * s * z, s the standard deviation of each feature, or of each
                   channel of images, over the clients' examples; pixels stay in 0..255
    sign_flip      send w - scale * (w_k - w) for w_k
    gaussian       send w + scale * s * z for w_k, s the root mean square of w_k - w (as the
                   authors' code of Pillutla et al., 2022)

z is standard normal. Noise on an input belongs to the example, as from a broken camera: it is
drawn once, and no number of passes averages it away. Noise in an update is fresh in every round.

Who attacks is a function of the seed; more attackers are the fewer ones and others. They attack in
the main stage alone: a head that comes before it, masks and Fisher information are honest, and so
are validation and test sets and what is said of the clients' classes. Under a mask an attacker
sends its own entries and no others. Other vectors that it sends are treated as its parameters are;
what it keeps is honest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import FeatureSource, ImageSource, Source
from fl_core.federated.state import Federation

SAMPLE = 2000  # examples whose standard deviation is the unit of noise on inputs

#: (updates (P,) of entries that train, scale, random stream) -> what is sent instead
Falsify = Callable[[Tensor, float, np.random.Generator], Tensor]


class Attack(NamedTuple):
    """What an attacker alters; what is None stays honest.

    examples(config, fed, attackers): the federation's training examples, theirs altered.
    """

    examples: Callable[[TrialConfig, Federation, Sequence[int]], Source] | None = None
    update: Falsify | None = None


def attackers_of(config: TrialConfig) -> list[int]:
    """The clients that attack, in increasing order."""
    if config.attack.rule == "none":
        return []
    clients = config.federation.clients
    order = stream(config.seed, "attack").permutation(clients)
    return sorted(order[: round(config.attack.share * clients)].tolist())


def attacked(config: TrialConfig, fed: Federation) -> Federation:
    """The federation with its attackers, on the examples that they train on."""
    attackers = attackers_of(config)
    if not attackers:
        return fed
    alter = ATTACKS[config.attack.rule].examples
    train = fed.train if alter is None else alter(config, fed, attackers)
    return replace(fed, train=train, attackers=frozenset(attackers))


def falsified(
    config: TrialConfig,
    fed: Federation,
    client: int,
    round: int,
    sent: Mapping[str, Tensor],
    start: Tensor,
    mask: Tensor | None,
) -> Mapping[str, Tensor]:
    """What a client sends, if it attacks through that; start (P,): the server's parameters."""
    alter = ATTACKS[config.attack.rule].update
    if alter is None or client not in fed.attackers:
        return sent
    rng = stream(config.seed, "attack update", round, client)
    told = dict(sent)
    for name, tensor in sent.items():
        if tensor.shape == start.shape:
            honest = start if name == "params" else torch.zeros_like(start)
            moved = tensor - honest
            active = torch.ones_like(moved, dtype=torch.bool) if mask is None else mask
            told[name] = tensor.clone()
            told[name][active] = honest[active] + alter(moved[active], config.attack.scale, rng)
    return told


def _flipped(config: TrialConfig, fed: Federation, attackers: Sequence[int]) -> Source:
    source, classes = _own(fed.train), fed.class_counts.shape[1]
    rows = torch.from_numpy(np.concatenate([fed.shards[client] for client in attackers]))
    labels = source.labels.clone()
    labels[rows.to(labels.device)] = classes - 1 - source.labels[rows.to(labels.device)]
    return replace(source, labels=labels)


def _noisy(config: TrialConfig, fed: Federation, attackers: Sequence[int]) -> Source:
    source = _own(fed.train)
    images = isinstance(source, ImageSource)
    inputs = (source.pixels if isinstance(source, ImageSource) else source.features).clone()
    sample = torch.from_numpy(np.sort(np.concatenate(fed.shards))[:SAMPLE]).to(inputs.device)
    unit = inputs[sample].float().std((0, 2, 3) if images else 0, correction=0)
    unit = unit.view(-1, 1, 1) if images else unit
    for client in attackers:
        rows = torch.from_numpy(fed.shards[client]).to(inputs.device)
        own = inputs[rows].float()
        drawn = stream(config.seed, "attack inputs", client).standard_normal(own.shape, np.float32)
        own += config.attack.scale * unit * torch.from_numpy(drawn).to(inputs.device)
        inputs[rows] = own.round_().clamp_(0, 255).to(torch.uint8) if images else own
    if isinstance(source, ImageSource):
        return replace(source, pixels=inputs)
    return replace(source, features=inputs)


def _own(source: Source) -> FeatureSource | ImageSource:
    assert isinstance(source, FeatureSource | ImageSource)
    return source


def _opposite(moved: Tensor, scale: float, rng: np.random.Generator) -> Tensor:
    return moved * -scale


def _noise(moved: Tensor, scale: float, rng: np.random.Generator) -> Tensor:
    drawn = torch.from_numpy(rng.standard_normal(len(moved), np.float32)).to(moved.device)
    return drawn.mul_(scale * float(moved.square().mean().sqrt()))


#: Values of `attack.rule`.
ATTACKS: Mapping[str, Attack] = {
    "none": Attack(),
    "label_flip": Attack(examples=_flipped),
    "noisy_inputs": Attack(examples=_noisy),
    "sign_flip": Attack(update=_opposite),
    "gaussian": Attack(update=_noise),
}
