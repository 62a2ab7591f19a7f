"""A round costs its own clients' work, however many others there are or took part before.

Counted, not timed (tests/benchmarks/many_clients.py has seconds and memory): the calls that the
interpreter makes, the bytes that Python and numpy allocate, and the clients that are looked at.
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from test_fedavg import CLASSES, config, linear_federation

from fl_core.base.persistent import Persistent
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.memory import ClientMemory
from fl_core.federated.rounds import fedavg
from fl_core.federated.state import Federation, State

FEW, MANY = 100, 45_000  # as many as CIFAR-100 has examples for
KEEPING = 5000  # clients that keep something, of many: making them takes most of the time here
ROUNDS = 6
MODES: dict[str, dict[str, Any]] = {
    "synchronous": {},
    "scaffold": {"local.rule": "scaffold"},
    "slow clients that fail": {"timing.speed_spread": 1.0, "timing.dropout": 0.3},
}


class Shards(Sequence[np.ndarray]):
    """Of so many clients, five examples each; who was looked at."""

    def __init__(self, clients: int, examples: int) -> None:
        self._clients, self._examples = clients, examples
        self.seen: list[int] = []

    def __len__(self) -> int:
        return self._clients

    def __getitem__(self, client: Any) -> Any:
        self.seen.append(client)
        return (np.arange(5) + 7 * client) % self._examples


def begun(cfg: TrialConfig, clients: int) -> tuple[Federation, State]:
    """A federation in which everyone has taken part, and many keep something."""
    fed = linear_federation(clients=2)
    fed.shards = Shards(clients, len(fed.train.labels))
    fed.class_counts = np.ones((clients, CLASSES))
    params = torch.zeros(fed.model.layout.size)
    memory = ClientMemory.empty()
    if cfg.local.rule == "scaffold":
        kept = {client: {"control": params} for client in range(min(clients, KEEPING))}
        memory = memory.updated(kept, 0)
    everyone = Persistent(dict.fromkeys(range(clients), 1))
    return fed, State(params, round=1, clients=memory, selected=everyone)


def rounds_of(mode: str, clients: int) -> tuple[list[int], list[int], set[int]]:
    """(calls of each round, most bytes beside those before it, clients looked at)."""
    values = {"federation.clients": clients, "federation.participation": 10 / clients}
    cfg = config().override(
        {**values, **MODES[mode], "rounds": ROUNDS + 3, "eval_every": 1, "local.momentum": 0.0}
    )
    fed, state = begun(cfg, clients)
    run = fedavg(cfg, fed, state)
    next(run)  # with what comes once
    fed.shards.seen.clear()  # type: ignore[attr-defined]
    counts, peaks = [], []
    for _ in range(ROUNDS // 2):
        counts.append(calls(lambda: next(run)))
        tracemalloc.start()
        next(run)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return counts, peaks, set(fed.shards.seen)  # type: ignore[attr-defined]


def calls(do: Callable[[], object]) -> int:
    """Functions called meanwhile, of Python and of C."""
    found = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        do()
    finally:
        sys.setprofile(before)
    return found


@pytest.mark.parametrize("mode", MODES)
def test_a_round_does_not_look_at_all_clients(mode: str) -> None:
    few, many = rounds_of(mode, FEW), rounds_of(mode, MANY)
    assert len(many[2]) <= 10 * ROUNDS
    # a client is drawn, and a batch shuffled, with a call or two more or less
    assert max(many[0]) < 1.1 * max(few[0])
    assert max(many[1]) < 1.5 * max(few[1]) + 20_000
