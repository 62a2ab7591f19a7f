"""Two methods of different seams together: they train, or one line says why they cannot."""

from __future__ import annotations

import itertools

import pytest
import torch
from methods import METHODS, Method, Settings
from test_fedavg import config
from tiny import BASE, MASKS, bits, federation, results, rough, start

from fl_core.base.errors import ConfigError
from fl_core.config.trial_config import TrialConfig

Pair = tuple[Method, Method]
PAIRS: list[Pair] = [
    (one, other) for one, other in itertools.combinations(METHODS, 2) if one.field != other.field
]
CASES = list(itertools.product(PAIRS, MASKS))
STRIDE = len(CASES) // 40 | 1  # odd, so that all masks are drawn


def named(case: tuple[Pair, str]) -> str:
    (one, other), masks = case
    return f"{one} {other} {masks}"


@pytest.mark.parametrize("case", CASES[::STRIDE], ids=named)
def test_a_sample_of_pairs(case: tuple[Pair, str]) -> None:
    pair, masks = case
    together(pair, masks)


@pytest.mark.soak
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: f"{pair[0]} {pair[1]}")
def test_every_pair(pair: Pair, pytestconfig: pytest.Config) -> None:
    """With one kind of masks, each pair with the next one; `--every-mask`: with all of them."""
    kinds = list(MASKS)
    next_one = kinds[PAIRS.index(pair) % len(kinds)]
    for masks in kinds if pytestconfig.getoption("--every-mask") else [next_one]:
        together(pair, masks)


def together(pair: Pair, masks: str) -> None:
    """Three finite rounds that keep frozen bits; or a refusal that names a field of the two."""
    own: Settings = {**pair[0].values, **pair[1].values}
    try:
        cfg = config().override({**BASE, **MASKS[masks], **own, "rounds": 3, "local.lr": 0.02})
    except ConfigError as refusal:
        line = str(refusal)
        assert "\n" not in line
        assert any(name in line for name in (*own, "mask.")), line
        return
    trains(rough(cfg))


def trains(cfg: TrialConfig) -> None:
    fed = federation(cfg)
    first = start(fed)
    found = results(cfg, fed, first)
    assert not any(result.diverged for result in found)
    state = found[-1].state
    assert state.round == 3
    for tensor in (state.params, *state.server.values()):
        assert tensor.isfinite().all()
    if cfg.personal.rule == "local":  # who shares nothing moves nothing but what it keeps
        assert bits(state.params) == bits(first.params)
        assert set(state.clients.clients()) == set(state.participants)
        return
    if fed.masks is None:
        assert bits(state.params) != bits(first.params)
        return
    touched = torch.zeros(len(first.params), dtype=torch.bool)
    for client in state.participants:
        touched |= fed.masks(client).mask
    assert bits(state.params[~touched]) == bits(first.params[~touched])
    assert bits(state.params[touched]) != bits(first.params[touched])
