"""What does not change from round to round of a run: configuration, clients, rules."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from fl_core.config.fields import refuse
from fl_core.config.method_sections import LocalConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.personal.rule import NOBODY, Personal, divided
from fl_core.federated.personal.table import personal_of
from fl_core.federated.rule import LocalRule
from fl_core.federated.rules.table import rule_of
from fl_core.federated.state import Federation
from fl_core.optim.sgdm import Active


class Run(NamedTuple):
    """A run as the clients' work needs it.

    part: (P,) bool, what of a model stays with its client. steps, batch: a client's, where others
    than those of the section `local`. purpose: before the names of their random streams.
    """

    config: TrialConfig
    fed: Federation
    rule: LocalRule
    personal: Personal = NOBODY
    part: Tensor | None = None
    steps: int | None = None
    batch: int | None = None
    purpose: str = ""

    @classmethod
    def of(cls, config: TrialConfig, fed: Federation) -> Run:
        """With the rules that the configuration names; ConfigError where the model lacks the part
        that should stay with a client.
        """
        rule, personal = rule_of(config.local), personal_of(config.personal)
        if personal.part is None:
            return cls(config, fed, rule, personal)
        part = personal.part(fed.model)
        if not part.any():
            needs = "no layer that trains is of the kind that stays with a client"
            raise refuse("personal.rule", config.personal.rule, needs)
        return cls(config, fed, divided(rule, part), personal, part)

    @property
    def local(self) -> LocalConfig:
        """A client's work, with this run's steps and batch."""
        local, steps, batch = self.config.local, self.steps, self.batch
        if steps is None and batch is None:
            return local
        return replace(local, steps=steps or local.steps, batch_size=batch or local.batch_size)

    @property
    def own_masks(self) -> bool:
        """Whether every client trains, and sends, entries of its own."""
        return self.fed.masks is not None and self.config.mask.scope == "per_client"

    def shared(self, vector: Tensor) -> Tensor:
        """Of a vector (P,) the entries that travel."""
        return vector if self.part is None else vector[~self.part]

    def own_steps(self, rule: LocalRule, steps: int) -> Run:
        """So many steps by this rule that are the client's own affair."""
        return self._replace(rule=rule, steps=steps, purpose="personal_")

    def training(self, entries: Tensor) -> Run:
        """The same where only these entries (P,) train, of those that train at all."""
        masks = self.fed.masks

        def within(client: int) -> Active:
            mask = entries if masks is None else masks(client).mask & entries
            if not mask.any():
                needs = "a mask freezes all of what a client keeps to itself, or all of the rest"
                raise refuse("personal.rule", self.config.personal.rule, needs)
            return Active.of(mask)

        return self._replace(fed=replace(self.fed, masks=within))
