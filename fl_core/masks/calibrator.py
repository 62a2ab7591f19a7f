"""One calibration: R rounds of a party's scores on a model, and the masks that these give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np
from torch import Tensor

from fl_core.base.rng import stream
from fl_core.config.fields import refuse
from fl_core.config.trial_config import TrialConfig
from fl_core.config.vocabulary import EXAMPLE_RULES
from fl_core.federated.cost import Cost, cost_of_scores
from fl_core.masks.layers import maskable
from fl_core.masks.parties import SERVER, Parties
from fl_core.masks.rules import Scoring, checked_scores, rule_of
from fl_core.masks.select import Calibrated, active_counts, calibrate_mask, soft_mask
from fl_core.masks.shares import sparsity_of


class Calibrator:
    """Calibrates for the server or a client, on any parameters of the model.

    Construction checks, in milliseconds, that masks can be calibrated.
    """

    def __init__(self, parties: Parties) -> None:
        self.parties = parties
        config, mask = parties.config, parties.config.mask
        layout = parties.model.layout
        self.allowed = maskable(parties.model.module, layout, mask.layers).to(parties.start.device)
        rule_of(mask)  # the user's own is there
        count = int(self.allowed.sum())
        ends = [mask.sparsity_at(round, config.rounds) for round in (0, config.rounds - 1)]
        if not mask.min_active and not active_counts(count, max(ends), 1)[-1]:
            raise refuse("mask.sparsity", max(ends), f"freezes all {count} parameters")
        if mask.rule in EXAMPLE_RULES:
            on_server = mask.scope == "shared" and mask.source == "server"
            if on_server:
                parties.check_server()
            else:
                parties.check_clients()

    def sparsity(self, party: int, round: int) -> float:
        """A party's own, in a round of the main stage."""
        config = self.parties.config
        sparsity = config.mask.sparsity_at(round, config.rounds)
        sizes = [len(shard) for shard in self.parties.shards]
        power = 0.0 if party == SERVER else config.mask.size_power
        return sparsity_of(sparsity, power, sizes, party)

    def calibrate(
        self,
        party: int,
        config: TrialConfig,
        params: Tensor,
        counts: Sequence[int] = (),
        when: int = 0,
    ) -> tuple[Calibrated, Cost]:
        """Masks of `counts` active entries (see `calibrate_mask`), and what their scores cost.

        params: (P,) of the model that is calibrated on. when: calibrations before this one; the
        first is on the start, which every client is sent for it if clients' scores are summed.
        """
        sitting = _Sitting(self, party, config, params, when)
        layout = self.parties.model.layout
        found = calibrate_mask(
            sitting.score, self.allowed, layout, config.mask, sitting.order, counts
        )
        return found, sitting.sent


class _Sitting:
    """One calibration while it goes on."""

    def __init__(
        self, calibrator: Calibrator, party: int, config: TrialConfig, params: Tensor, when: int
    ) -> None:
        self.parties, self.allowed = calibrator.parties, calibrator.allowed
        self.party, self.config, self.params, self.when = party, config, params, when
        self.sent = Cost()  # by clients whose scores are summed

    def order(self) -> np.ndarray:
        """(P,) what decides between equal scores."""
        return self._order

    @cached_property
    def _order(self) -> np.ndarray:
        draws = stream(self.config.seed, "ties", *self._indices)
        return draws.random(len(self.params), np.float32)

    def score(self, active: Tensor, round: int) -> Tensor:
        """(P,) scores of the rule: the lowest stay trainable."""
        mask, parties = self.config.mask, self.parties

        def sensitivity(party: int) -> Tensor:
            return parties.fisher(party, self.config, round, self.when)

        def saliency(party: int) -> Tensor:
            return parties.saliency(party, self.config)

        def asked(score: Callable[[int], Tensor]) -> Tensor:
            damped = soft_mask(self.params, active, self.allowed, mask.dropped_weight)
            parties.model.flat.copy_(damped)
            if self.party == SERVER and mask.source == "scores":
                clients = len(parties.shards)
                one = cost_of_scores(active, round, clients, start=not self.when)
                self.sent = self.sent.plus(one)
                return parties.average(score)
            return score(self.party)

        scoring = Scoring(
            mask,
            self.params,
            active,
            round,
            parties.model.layout,
            sensitivity=partial(asked, sensitivity),
            saliency=partial(asked, saliency),
            draws=lambda: stream(self.config.seed, "mask", *self._indices),
        )
        return checked_scores(rule_of(mask)(scoring), len(self.params), mask.rule)

    @property
    def _indices(self) -> tuple[int, ...]:
        """Of its random streams: those of the first calibration are as they always were."""
        return (self.party + 1, self.when) if self.when else (self.party + 1,)
