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

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import Tensor

from fl_core.base.tables import csv_text
from fl_core.config.artefact import stage_artefact
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.cost import Cost, cost_of_masks
from fl_core.masks.calibrator import Calibrator
from fl_core.masks.overlap import overlap_table
from fl_core.masks.parties import FISHER_READS, SERVER, Parties
from fl_core.masks.select import combine, pack, unpack
from fl_core.optim.sgdm import Active

#: The fields that decide a mask.
MASK_READS = (
    *FISHER_READS,
    "mask.rule",
    "mask.sparsity",
    "mask.schedule",
    "mask.sparsity_end",
    "mask.recalibrate",
    "mask.size_power",
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
    """The masks of one trial in which they stay as they are; a call gives a client's mask.

    Construction checks, in milliseconds, that the masks can be calibrated.
    """

    def __init__(self, parties: Parties) -> None:
        self.parties, self.calibrator = parties, Calibrator(parties)
        self.config, self.machine = parties.config, parties.machine
        self.model, self.start = parties.model, parties.start
        self.allowed = self.calibrator.allowed
        self._packed: dict[int, Tensor] = {}
        self._added: dict[int, int] = {}
        self._sent = Cost()  # by the calibration of the shared mask

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
            config = self._client_config(party) if party != SERVER else self.config
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
        added = sum(map(self.added, parties)) / len(parties)
        return report(map(self.mask, parties), added, self.calibrator)

    def _client_config(self, client: int) -> TrialConfig:
        """What a client's own mask depends on: the same whether it is used alone or combined.

        Nothing else: a method that takes no masks of each client's own may take their union.
        """
        sparsity = self.calibrator.sparsity(client, 0)
        own = replace(self.config.mask, scope="per_client", source="server", sparsity=sparsity)
        return replace(self.config.only(MASK_READS), mask=own)

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
        found, sent = self.calibrator.calibrate(party, config, self.start)
        return {
            "mask": pack(found.mask),
            "added": torch.tensor(found.added),
            "cost": sent.to_tensor(),
        }


def report(
    masks: Iterable[Tensor], added: float, calibrator: Calibrator
) -> tuple[dict[str, float], dict[str, str]]:
    """What masks (P,) bool look like, beside the mean number of entries that a guard added to one:
    metrics, and a table by layer as CSV.
    """
    packed = [pack(mask) for mask in masks]
    rows = overlap_table(packed, calibrator.parties.model.layout, calibrator.allowed)
    overall = rows[-1]
    metrics = {
        "mask_active": float(overall["active_share"]) * float(overall["size"]),
        "mask_active_share": float(overall["active_share"]),
        "mask_added": added,
    }
    if len(packed) > 1:
        names = ("jaccard", "expected", "excess", "expected_given_layers")
        metrics |= {f"mask_{name}": float(overall[name]) for name in names}
    return metrics, {"masks.csv": csv_text(list(overall), [row.values() for row in rows])}
