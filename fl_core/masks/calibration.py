"""Stage 3: gradient masks, calibrated on the model that fine-tuning starts from.

R rounds of scores -> masks (TaLoS, Iurada et al., ICLR 2025): on the server's calibration split
for all clients (`shared`), or on each client's own examples (`per_client`). A mask is computed
when it is first asked for, and stored bit-packed under a hash of the fields it depends on: no
trial, arm or study calibrates the same mask twice.

`mask.threshold` is compared with each party's own scores (the server's, a client's, or the
clients' averaged), which are means over examples and need no rescaling.

A shared mask made of the clients' scores or masks travels (`Calibration.cost`): every client is
sent the starting parameters once. Of masks it sends its own, bit-packed or by indices. Of scores
it sends in each round a float32 for every entry that is still active, and from the second round
on is sent which these are. A mask of the server's costs nothing here; that any shared mask goes to
the clients is part of the main stage, as are the first messages of clients with masks of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property, partial

import numpy as np
import torch
from torch import Tensor

from fl_core.base.rng import stream
from fl_core.base.tables import csv_text
from fl_core.config.artefact import stage_artefact
from fl_core.config.fields import refuse
from fl_core.config.trial_config import TrialConfig
from fl_core.config.vocabulary import FISHER_RULES
from fl_core.federated.cost import Cost, cost_of_masks, cost_of_scores
from fl_core.masks.overlap import overlap_table
from fl_core.masks.parties import FISHER_READS, SERVER, Parties
from fl_core.masks.rules import Scoring, checked_scores, rule_of
from fl_core.masks.select import (
    active_counts,
    calibrate_mask,
    combine,
    maskable,
    pack,
    soft_mask,
    unpack,
)
from fl_core.optim.sgdm import Active

#: The fields that decide a mask.
MASK_READS = (
    *FISHER_READS,
    "mask.rule",
    "mask.sparsity",
    "mask.threshold",
    "mask.rounds",
    "mask.scope",
    "mask.source",
    "mask.layers",
    "mask.granularity",
    "mask.min_active",
    "mask.min_share",
    "mask.dropped_weight",
    "mask.hybrid_weight",
)


class Calibration:
    """The masks of one trial; a call gives a client's mask.

    Construction checks, in milliseconds, that the masks can be calibrated.
    """

    def __init__(self, parties: Parties) -> None:
        self.parties = parties
        self.config, self.machine = parties.config, parties.machine
        self.model, self.start = parties.model, parties.start
        self._packed: dict[int, Tensor] = {}
        self._added: dict[int, int] = {}
        self._sent = Cost()  # by the calibration of the shared mask
        mask = self.config.mask
        self.allowed = maskable(self.model.module, self.model.layout, mask.layers).to(
            self.start.device
        )
        rule_of(mask)  # the user's own is there
        count = int(self.allowed.sum())
        if not mask.min_active and not active_counts(count, mask.sparsity, 1)[-1]:
            raise refuse("mask.sparsity", mask.sparsity, f"freezes all {count} parameters")
        if mask.rule in FISHER_RULES:
            on_server = mask.scope == "shared" and mask.source == "server"
            if on_server:
                parties.check_server()
            else:
                parties.check_clients()

    def __call__(self, client: int) -> Active:
        """The client's mask: everyone's own, or the shared one."""
        if self.config.mask.scope == "shared":
            return self._shared
        return Active.of(self.mask(client))

    @cached_property
    def _shared(self) -> Active:
        return Active.of(self.mask(SERVER))

    def mask(self, party: int) -> Tensor:
        """(P,) bool, on the device: the mask of the server or of a client."""
        if party not in self._packed:
            config = self._client_config if party != SERVER else self.config
            tensors = stage_artefact(
                "mask", config, self.machine, MASK_READS, partial(self._calibrate, party), party
            )
            self._packed[party], self._added[party] = tensors["mask"], int(tensors["added"])
            if party == SERVER:
                self._sent = Cost.of(tensors["cost"])
        return unpack(self._packed[party], len(self.start)).to(self.start.device)

    def cost(self) -> Cost:
        """What the shared mask took; nothing where every client makes its own."""
        if self.config.mask.scope == "shared":
            self.mask(SERVER)
        return self._sent

    def added(self, party: int) -> int:
        """Entries that the guard against layer collapse added to a mask's exact number."""
        self.mask(party)
        return self._added[party]

    def report(self, parties: Sequence[int]) -> tuple[dict[str, float], dict[str, str]]:
        """What the masks of these parties look like: metrics, and a table by layer as CSV."""
        masks = [pack(self.mask(party)) for party in parties]
        rows = overlap_table(masks, self.model.layout, self.allowed)
        overall = rows[-1]
        metrics = {
            "mask_active": float(overall["active_share"]) * float(overall["size"]),
            "mask_active_share": float(overall["active_share"]),
            "mask_added": sum(map(self.added, parties)) / len(parties),
        }
        if len(parties) > 1:
            names = ("jaccard", "expected", "excess", "expected_given_layers")
            metrics |= {f"mask_{name}": float(overall[name]) for name in names}
        return metrics, {"masks.csv": csv_text(list(overall), [row.values() for row in rows])}

    @property
    def _client_config(self) -> TrialConfig:
        """What a client's own mask depends on: the same whether it is used alone or combined."""
        own = replace(self.config.mask, scope="per_client", source="server")
        return replace(self.config, mask=own)

    def _calibrate(self, party: int, config: TrialConfig) -> dict[str, Tensor]:
        if party == SERVER and config.mask.source in ("union", "intersection", "majority"):
            for client in range(len(self.parties.shards)):
                self.mask(client)
            packed = [self._packed[client] for client in range(len(self.parties.shards))]
            # no exact number was asked for: what the clients' guards added is in their masks
            return {
                "mask": combine(packed, config.mask.source),
                "added": torch.tensor(0),
                "cost": cost_of_masks(unpack(one, len(self.start)) for one in packed).to_tensor(),
            }

        def score(active: Tensor, round: int) -> Tensor:
            return self._score(party, config, active, round)

        @cache
        def order() -> np.ndarray:
            return stream(config.seed, "ties", party + 1).random(len(self.start), np.float32)

        self._sent = Cost()
        found = calibrate_mask(score, self.allowed, self.model.layout, config.mask, order)
        return {
            "mask": pack(found.mask),
            "added": torch.tensor(found.added),
            "cost": self._sent.to_tensor(),
        }

    def _score(self, party: int, config: TrialConfig, active: Tensor, round: int) -> Tensor:
        """(P,) scores of the rule: the lowest stay trainable."""
        mask, layout = config.mask, self.model.layout

        def sensitivity() -> Tensor:
            damped = soft_mask(self.start, active, self.allowed, mask.dropped_weight)
            self.model.flat.copy_(damped)
            if party == SERVER and mask.source == "scores":
                sent = cost_of_scores(active, round, len(self.parties.shards))
                self._sent = self._sent.plus(sent)
                return self.parties.average_fisher(config, round)
            return self.parties.fisher(party, config, round)

        def draws() -> np.random.Generator:
            return stream(config.seed, "mask", party + 1)

        scoring = Scoring(mask, self.start, active, round, layout, sensitivity, draws)
        return checked_scores(rule_of(mask)(scoring), len(self.start), mask.rule)
