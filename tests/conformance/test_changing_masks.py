"""Every method under masks that change over the rounds: frozen bits, resume, every byte by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from methods import METHODS, Method, Settings, facts_of
from test_bytes import HEADER, shared_mask, values
from tiny import BASE, bits, federation, results, rough, start, story

from fl_core.base.errors import ConfigError
from fl_core.base.machine import Machine
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.masking import masks_of
from fl_core.federated.selections.table import select
from fl_core.federated.state import Federation, State
from fl_core.masks.changing import ChangingMasks
from fl_core.masks.parties import Parties

#: Sparser over four rounds, calibrated anew before the third.
CHANGING: Settings = {
    "mask.schedule": "linear", "mask.sparsity": 0.3, "mask.sparsity_end": 0.8,
    "mask.recalibrate": 2, "mask.rule": "high_magnitude", "head.method": "fedavg",
}  # fmt: skip
#: As said; and every client its own, along one ranking, with the larger clients training more.
SCOPES: dict[str, Settings] = {
    "shared": CHANGING,
    "per_client": {
        **CHANGING, "mask.scope": "per_client", "mask.recalibrate": 0, "mask.size_power": 0.5
    },
    "per_client, anew": {**CHANGING, "mask.scope": "per_client"},
}  # fmt: skip
every_scope = pytest.mark.parametrize(
    "scope",
    ["shared", *(pytest.param(s, marks=pytest.mark.soak) for s in SCOPES if s != "shared")],
)


def configured(method: Method, scope: str) -> TrialConfig:
    """The method under these masks; the test is skipped where it refuses them."""
    base = TrialConfig().override({**BASE, "eval_every": 1, **method.facts.needs})
    try:
        return rough(base.override({**SCOPES[scope], **method.values}))
    except ConfigError as refusal:
        pytest.skip(str(refusal))


def changing(cfg: TrialConfig, folder: Path) -> Federation:
    """A federation with real masks, of its linear model."""
    fed = federation(cfg)
    fed.masks = None
    found = Parties(cfg, Machine(cache_dir=folder), fed.model, fed.train, fed.shards,
                    start(fed).params)  # fmt: skip
    fed.changing = ChangingMasks(found)
    return fed


@every_scope
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_masks_may_change_under_every_method(method: Method, scope: str, tmp_path: Path) -> None:
    cfg = configured(method, scope)
    fed, facts = changing(cfg, tmp_path), facts_of(f"{method.field}={method.choice}")
    whole = results(cfg, fed)
    assert story(results(cfg, fed, whole[1].state)) == story(whole)[2:]
    by_hand, state, ever_frozen = ByHand(cfg, fed, facts.down, facts.up), start(fed), False
    for result in whole:
        chosen = select(state, fed, cfg)
        trained = masks_of(fed, state, chosen.clients.tolist()).trained
        assert trained is not None
        frozen = ~trained
        assert trained.any()
        ever_frozen |= bool(frozen.any())
        assert bits(result.state.params[frozen]) == bits(state.params[frozen])
        if not chosen.asked:
            down, up = by_hand.round(state, chosen.clients.tolist())
            numbers = [n * len(chosen.clients) * (HEADER + 4) for n in facts.numbers]
            assert result.metrics["bytes_down_round"] == down + numbers[0]
            assert result.metrics["bytes_up_round"] == up + numbers[1]
        state = result.state
    assert ever_frozen


class ByHand:
    """What a round sends, from sets of entries and what every client was told when."""

    def __init__(self, cfg: TrialConfig, fed: Federation, down: int, up: int) -> None:
        self.cfg, self.fed, self.vectors = cfg, fed, (down, up)
        self.size = fed.model.layout.size
        self.shared = cfg.mask.scope == "shared"
        self.anew = cfg.mask.recalibrate > 0
        self.missing: dict[int, set[int]] = {}  # of each client seen: changed since
        self.mask: dict[int, tuple[int, set[int]]] = {}  # its last mask, and when it was made
        self.ever: set[int] = set()  # entries that anybody trained

    def round(self, state: State, clients: list[int]) -> tuple[int, int]:
        made = masks_of(self.fed, state, clients).made
        assert made is not None
        masks = {c: _set(made.of(c, state.round).mask) for c in clients}
        down = sum(self.down(c, masks[c], state.round) for c in clients)
        up = sum(self.up(c, masks[c]) for c in clients)
        for client in clients:
            self.missing[client] = set()
            self.mask[client] = (self.cfg.mask.period(state.round), masks[client])
        touched = set().union(*masks.values())
        self.ever |= touched
        for missing in self.missing.values():
            missing |= touched
        return down, up

    def down(self, client: int, mask: set[int], round: int) -> int:
        more = self.vectors[0] - 1
        period, old = self.mask.get(client, (-1, set()))
        now = self.cfg.mask.period(round)
        told = 0
        if self.shared and (period, old) != (now, mask):
            told = shared_mask(len(mask), self.size)
            if period == now:
                told = min(told, shared_mask(len(mask ^ old), self.size))
        if client not in self.missing:
            start = (
                self.changed(self.ever, set()) if round and not (self.shared or self.anew) else 0
            )
            return (1 + more) * values(self.size) + start + told
        known = mask | (old if period == now else set())
        total = self.changed(self.missing[client], known) + told
        if more:
            total += self.changed(self.ever, known) + (more - 1) * values(len(self.ever))
        return total

    def changed(self, entries: set[int], known: set[int]) -> int:
        """Entries with their positions, or values of all that is known to be active."""
        located = HEADER + 4 * len(entries) + min(4 * len(entries), (self.size + 7) // 8)
        lengths = [located, values(self.size)]
        return min([*lengths, values(len(known))] if entries <= known else lengths)

    def up(self, client: int, mask: set[int]) -> int:
        more = (self.vectors[1] - 1) * values(len(mask))
        if self.shared or self.mask.get(client, (0, set()))[1] == mask:
            return values(len(mask)) + more
        return HEADER + 4 * len(mask) + min(4 * len(mask), (self.size + 7) // 8) + more


def _set(mask: torch.Tensor) -> set[int]:
    return set(mask.nonzero().flatten().tolist())
