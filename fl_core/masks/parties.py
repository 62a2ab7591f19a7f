"""Who calibrates, and the Fisher information of each on its own examples.

The server's calibration split is drawn from the validation images, as TaLoS does: what a mask
learns from them are sensitivities, under labels that the model itself draws (`mask.fisher=sampled`
or `talos`). With `empirical` it is their LABELS too, the very ones that a search is scored on: a
validation score is then optimistic, and captions say so. A client's are of its training examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from fl_core.base.machine import Machine
from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.artefact import stage_artefact
from fl_core.config.fields import refuse
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sharding import PARTITION_READS
from fl_core.data.sources import Source, split_train_val
from fl_core.masks.fisher import fisher
from fl_core.masks.saliency import saliency

#: The fields that decide the clients' examples and the parameters that fine-tuning starts from,
#: and so a client's Fisher information.
FISHER_READS = (
    *PARTITION_READS,
    "data.image_size",
    "backbone.",
    "federation.participation",
    "head.",
    "fine_tune.strategy",
    "mask.fisher",
    "mask.examples",
    "mask.batch_size",
)
SERVER = -1  # who calibrates: the server, or a client by its number


@dataclass
class Parties:
    """The server and the clients of one trial, and the model whose Fisher information they take."""

    config: TrialConfig
    machine: Machine
    model: FlatModule
    source: Source  # all training examples, without augmentation
    shards: Sequence[np.ndarray]
    start: Tensor  # (P,) what fine-tuning starts from

    def check_server(self) -> None:
        """The server has as many examples as a calibration takes, or a ConfigError."""
        self._check_examples(len(self.server_pool), "the server's calibration split has")

    def check_clients(self) -> None:
        """Every client has, or a ConfigError."""
        smallest = int(np.argmin([len(shard) for shard in self.shards]))
        self._check_examples(len(self.shards[smallest]), f"client {smallest} has")

    def fisher(self, party: int, config: TrialConfig, round: int, when: int = 0) -> Tensor:
        """(P,) on a party's own examples, of the model as it stands, with a round's labels; `when`
        counts how often masks were calibrated before.
        """
        mask, chosen = config.mask, self._examples(party, config)
        again = (when,) if when else ()  # of the first calibration as it always was
        labels = stream(config.seed, "labels", party + 1, round, *again)
        return fisher(self.model, self.source, chosen, mask.fisher, mask.batch_size, labels)

    def saliency(self, party: int, config: TrialConfig) -> Tensor:
        """(P,) on the same examples, with the labels of the data set."""
        chosen = self._examples(party, config)
        return saliency(self.model, self.source, chosen, config.mask.batch_size)

    def _examples(self, party: int, config: TrialConfig) -> np.ndarray:
        """The same in every round of calibration, and whenever masks are calibrated anew."""
        pool = self.server_pool if party == SERVER else self.shards[party]
        rng = stream(config.seed, "calibration", party + 1)
        who = "the server's calibration split" if party == SERVER else f"client {party}"
        self._check_examples(len(pool), f"{who} has")  # the user's own rule is not known to ask
        return rng.choice(pool, config.mask.examples, replace=False)

    def average(self, score: Callable[[int], Tensor]) -> Tensor:
        """(P,) the clients' scores averaged by their examples."""
        total = torch.zeros_like(self.start)
        examples = sum(map(len, self.shards))
        for client, shard in enumerate(self.shards):
            total.add_(score(client), alpha=len(shard) / examples)
        return total

    def client_fisher(self, client: int) -> Tensor:
        """(P,) diagonal Fisher of the starting parameters on a client's own examples."""

        def make(config: TrialConfig) -> dict[str, Tensor]:
            self.model.flat.copy_(self.start)
            return {"fisher": self.fisher(client, config, 0)}

        tensors = stage_artefact("fisher", self.config, self.machine, FISHER_READS, make, client)
        return tensors["fisher"].to(self.start.device)

    def all_fisher(self) -> Tensor:
        """(P,) the sum of all clients' Fisher: one after the other, kept as an artefact."""
        return self._all_fisher

    @cached_property
    def _all_fisher(self) -> Tensor:
        def make(config: TrialConfig) -> dict[str, Tensor]:
            total = torch.zeros_like(self.start, dtype=torch.float64)
            for client in range(len(self.shards)):
                total.add_(self.client_fisher(client))
            return {"fisher": total.float()}

        tensors = stage_artefact("fisher_sum", self.config, self.machine, FISHER_READS, make)
        return tensors["fisher"].to(self.start.device)

    @cached_property
    def server_pool(self) -> np.ndarray:
        """The validation images, also where the confirmation trains on them."""
        data = replace(self.config.data, train_on="train")
        return split_train_val(self.source.labels.cpu().numpy(), data)[1]

    def _check_examples(self, have: int, who: str) -> None:
        wanted = self.config.mask.examples
        if have < wanted:
            raise refuse("mask.examples", wanted, f"{who} only {have} examples")
