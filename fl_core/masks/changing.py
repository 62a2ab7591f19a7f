"""Masks that change over the rounds: sparser or denser by a schedule, or calibrated anew.

    s_t   sparsity of round t, from `mask.sparsity` to `mask.sparsity_end` (`mask.schedule`)
    round(n (1 - s_t)) entries are active in round t, and what the guard adds (see `select`)

Without `mask.recalibrate` all masks of a run lie along the one ranking that its first calibration
gives: each is a part of the next larger one, and what a shrinking sparsity wakes up are the next
entries of that ranking. With it a shared mask is calibrated anew before every n-th round, on the
parameters as they are then; a client's own when it first takes part in such a stretch of n rounds,
on the parameters that it is sent. (Readjusting masks every few rounds is FedDST's idea: Bibikar et
al., AAAI 2022, who exchange a share of the entries at the clients; a whole calibration is ours.)

A calibration keeps one small number an entry: the smallest of the coming masks that has it. The
first is an artefact, as those of `calibration` are; later ones are a part of the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

import torch
from torch import Tensor

from fl_core.config.artefact import stage_artefact
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.cost import Cost
from fl_core.federated.masking import CALIBRATED, Made
from fl_core.federated.state import State
from fl_core.masks.calibration import MASK_READS, report
from fl_core.masks.calibrator import Calibrator
from fl_core.masks.parties import SERVER, Parties
from fl_core.masks.select import active_counts
from fl_core.optim.sgdm import Active

#: The fields that decide the first masks: a schedule goes from the first round to the last.
CHANGING_READS = (*MASK_READS, "rounds")
#: Bytes of the clients' first calibrations that stay in memory; the others are read again.
MOST = 256 * 2**20
_LEVELS, _PERIOD = CALIBRATED + "levels", CALIBRATED + "period"


class ChangingMasks:
    """The masks of one trial; a call gives those of the coming round."""

    def __init__(self, parties: Parties) -> None:
        self.parties, self.calibrator = parties, Calibrator(parties)
        self.config, self._mask = parties.config, parties.config.mask
        self._own = self._mask.scope == "per_client"
        self._first: dict[int, dict[str, Tensor]] = {}

    def __call__(self, state: State, clients: Sequence[int]) -> Made:
        """The masks, once those that are due are calibrated."""
        sent = None
        if self._mask.recalibrate and self._own:
            state = self._own_anew(state, clients)
        elif self._mask.recalibrate and state.round and not state.round % self._mask.recalibrate:
            state, sent = self._shared_anew(state)

        @cache
        def of(party: int, round: int) -> Active:
            return Active.of(self._at(self._levels(state, party), party, round))

        def of_client(client: int, round: int) -> Active:
            return of(client if self._own else SERVER, round)

        return Made(state, of_client, sent)

    def cost(self) -> Cost:
        """What the first calibration of a shared mask took."""
        return Cost() if self._own else Cost.of(self._calibrated_first(SERVER)["cost"])

    def report(self, state: State) -> tuple[dict[str, float], dict[str, str]]:
        """What the masks of the last round look like, as metrics and a table by layer as CSV; but
        active are their mean over the rounds, without what the guard adds.

        Not of masks that clients calibrate anew: each holds its own, and no longer than the run.
        """
        if self._own and self._mask.recalibrate:
            return {}, {}
        last, parties = state.round - 1, sorted(state.participants) if self._own else [SERVER]
        masks = [self._at(self._levels(state, party), party, last) for party in parties]
        more = [int(m.sum()) - self._count(p, last) for m, p in zip(masks, parties, strict=True)]
        metrics, tables = report(masks, sum(more) / len(more), self.calibrator)
        counts = [self._count(party, round) for party in parties for round in range(state.round)]
        active = sum(counts) / len(counts)
        share = {"mask_active": active, "mask_active_share": active / self._maskable}
        return {**metrics, **share}, tables

    def _own_anew(self, state: State, clients: Iterable[int]) -> State:
        """The clients that have no mask of this stretch of rounds make one."""
        period, fresh = self._mask.period(state.round), {}
        for client in clients:
            kept = state.clients.of(client)
            if _PERIOD in kept and int(kept[_PERIOD]) == period:
                continue
            tensors = self._calibrate(client, self.config, state.params, state.round, period)
            fresh[client] = {
                **kept,
                _LEVELS: tensors["levels"],
                _PERIOD: torch.tensor(period),
            }
        return replace(state, clients=state.clients.updated(fresh, state.round))

    def _shared_anew(self, state: State) -> tuple[State, Cost | None]:
        period = self._mask.period(state.round)
        tensors = self._calibrate(SERVER, self.config, state.params, state.round, period)
        sent = Cost.of(tensors["cost"])
        state = replace(state, server={**state.server, _LEVELS: tensors["levels"]})
        return state, sent if any(sent) else None

    def _levels(self, state: State, party: int) -> Tensor:
        """(P,) of the last calibration."""
        kept = state.clients.of(party) if self._own and self._mask.recalibrate else state.server
        return kept[_LEVELS] if _LEVELS in kept else self._calibrated_first(party)["levels"]

    def _calibrated_first(self, party: int) -> dict[str, Tensor]:
        """A calibration on the start: an artefact."""
        if party in self._first:
            return self._first[party]
        start, machine = self.parties.start, self.parties.machine

        def make(config: TrialConfig) -> dict[str, Tensor]:
            return self._calibrate(party, config, start, 0, 0)

        made = stage_artefact(
            "masks_over_rounds", self.config, machine, CHANGING_READS, make, party
        )
        if made["levels"].nbytes * (1 + len(self._first)) <= MOST or party == SERVER:
            self._first[party] = made
        return made

    def _calibrate(
        self, party: int, config: TrialConfig, params: Tensor, round: int, when: int
    ) -> dict[str, Tensor]:
        """What the rounds until the next calibration need."""
        sparsest = max(self._sparsities(party, round))
        own = replace(
            config,
            mask=replace(config.mask, sparsity=sparsest, schedule="constant", sparsity_end=0.0),
        )
        found, sent = self.calibrator.calibrate(
            party, own, params, self._counts(party, round), when
        )
        return {"levels": found.levels, "cost": sent.to_tensor()}

    def _at(self, levels: Tensor, party: int, round: int) -> Tensor:
        """(P,) bool: a mask of one calibration."""
        level = self._counts(party, round).index(self._count(party, round))
        return (levels <= level).to(self.parties.start.device)

    def _sparsities(self, party: int, round: int) -> list[float]:
        """Of all rounds between two calibrations, this among them."""
        step = self._mask.recalibrate or self.config.rounds
        first = round - round % step
        last = min(first + step, self.config.rounds)
        return [self.calibrator.sparsity(party, r) for r in range(first, last)]

    def _counts(self, party: int, round: int) -> list[int]:
        """The different numbers of active entries in those rounds, increasing."""
        return sorted({self._number(s) for s in self._sparsities(party, round)})

    def _count(self, party: int, round: int) -> int:
        return self._number(self.calibrator.sparsity(party, round))

    def _number(self, sparsity: float) -> int:
        return active_counts(self._maskable, sparsity, 1)[-1]

    @property
    def _maskable(self) -> int:
        return int(self.calibrator.allowed.sum())
