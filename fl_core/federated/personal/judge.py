"""Clients as judges: each with the model that it would use, on examples in its own class shares.

A client's own model is the server's with its local part, or the one beside it, or the server's
after further steps; `personal_...` are the accuracies of these. `global_...` are those of the one
model that a client gets that never took part, on the same examples. A client that never took part
is judged with that one, too. Mean, worst and 10th percentile (linear between ranks) are over the
clients with an example, each counting the same.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch import Tensor

from fl_core.base.rng import stream
from fl_core.base.tables import csv_text
from fl_core.data.sources import Source
from fl_core.data.splits import split_like
from fl_core.federated.evaluate import Evaluation, evaluate
from fl_core.federated.personal.own import MODEL, with_own_part
from fl_core.federated.rule import PLAIN
from fl_core.federated.run import Run
from fl_core.federated.state import State
from fl_core.federated.turns import trained

PERCENTILE = 10


class Judge:
    """A run's clients with their share of these examples; part: "val" or "test", what they are."""

    def __init__(self, run: Run, source: Source, part: str) -> None:
        self._run, self._source, self._part = run, source, part
        labels, counts = source.labels.cpu().numpy(), run.fed.class_counts
        self._splits = split_like(labels, counts, stream(run.config.seed, f"judge_{part}"))
        self._judging = [client for client, own in enumerate(self._splits) if len(own)]

    def _accuracies(self, state: State, shared: Evaluation) -> tuple[np.ndarray, np.ndarray]:
        """(personal, global), each (clients,), NaN for one without examples."""
        assert shared.hits is not None
        correct = shared.hits.cpu().numpy()
        same = np.full(len(self._splits), np.nan)
        for client in self._judging:
            same[client] = correct[self._splits[client]].mean()
        if self._run.personal.shares_all:
            return same, same
        own, model = same.copy(), self._run.fed.model
        for client, params in self._own_models(state):
            model.flat.copy_(params)
            examples = self._source.subset(self._splits[client])
            precision = self._run.config.compute.precision
            own[client] = evaluate(model.module, examples, precision).accuracy
        return own, same

    def _own_models(self, state: State) -> Iterator[tuple[int, Tensor]]:
        """(client, its model (P,)) of those that have one other than the shared one."""
        run = self._run
        if run.personal.tune:
            chunk = run.config.federation.sampled  # as much memory as a round
            tuned = run.own_steps(PLAIN, run.personal.tune)
            for first in range(0, len(self._judging), chunk):
                clients = self._judging[first : first + chunk]
                for turn, _, result in trained(tuned, state, clients, None):
                    yield turn.client, result.params
            return
        for client in self._judging:
            if client not in state.clients:
                continue
            if run.part is None:
                yield client, state.clients.of(client)[MODEL]
            else:
                yield client, with_own_part(run, state, client, state.params)

    def verdict(self, state: State, shared: Evaluation) -> tuple[dict[str, float], str]:
        """Mean, worst and 10th percentile by name, and every client's accuracies as CSV.

        shared: what the shared model of this state makes of the examples.
        """
        own, theirs = self._accuracies(state, shared)
        found = {
            f"{self._part}_{whose}_{name}": value
            for whose, accuracies in (("personal", own), ("global", theirs))
            for name, value in _figures(accuracies[self._judging]).items()
        }
        rows = zip(range(len(own)), map(len, self._splits), own, theirs, strict=True)
        return found, csv_text(("client", "examples", "personal", "global"), rows)


def _figures(accuracies: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(accuracies.mean()),
        "worst": float(accuracies.min()),
        "p10": float(np.percentile(accuracies, PERCENTILE)),
    }
