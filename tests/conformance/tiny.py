"""Federations that train in a moment, clients of unequal sizes, masks, comparison of states."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from methods import Method, Settings
from test_fedavg import CLASSES, WIDTH, config, linear_federation, plain, run
from torch import Tensor

from fl_core.base.errors import ConfigError
from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.data.sharding import class_counts
from fl_core.federated.attacks import attacked
from fl_core.federated.books import ledger_of
from fl_core.federated.results import RoundResult
from fl_core.federated.run import Run
from fl_core.federated.state import Federation, State
from fl_core.federated.timing.table import turnout_of
from fl_core.federated.timing.turnout import Turnout
from fl_core.federated.update import Update
from fl_core.federated.work import client_updates
from fl_core.models.heads import build_head
from fl_core.optim.sgdm import Active

CLIENTS = 6
BASE: Settings = {
    "federation.clients": CLIENTS, "federation.participation": 0.5, "rounds": 4,
    "local.steps": 3, "local.lr": 0.3, "local.batch_size": 4,
}  # fmt: skip
#: How clients are masked: none, one mask for all, one each in either average.
MASKS: dict[str, Settings] = {
    "dense": {},
    "shared": {"mask.sparsity": 0.7},
    "senders": {"mask.sparsity": 0.7, "mask.scope": "per_client"},
    "all": {"mask.sparsity": 0.7, "mask.scope": "per_client", "mask.average": "all"},
}
EXECUTIONS = ("sequential", "stacked")


def configured(method: Method, masks: str = "dense", **values: object) -> TrialConfig:
    """The method under the settings that all of them share."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    return config().override({**BASE, **masks_of(method, masks), **method.values, **named})


def masks_of(method: Method, masks: str) -> Settings:
    """The settings of these masks; the test is skipped where the method refuses them."""
    if masks in method.facts.refuses:
        pytest.skip(f"{method} refuses such masks")
    return MASKS[masks]


def allowed(config: TrialConfig, **wishes: Value) -> TrialConfig:
    """The configuration with those of the wishes that it takes; the others are refused."""
    for name, value in wishes.items():
        try:
            config = config.override({name.replace("__", "."): value})
        except ConfigError:
            continue
    return config


def rough(cfg: TrialConfig) -> TrialConfig:
    """With all that might move what must not: momentum, weight decay, a rate of the server."""
    if not cfg.local.keep_momentum:
        cfg = allowed(cfg, local__momentum=0.9)
    return allowed(cfg, local__weight_decay=0.1, server__lr=0.7)


def federation(cfg: TrialConfig, make: Callable[..., Federation] = linear_federation) -> Federation:
    """As the configuration says: clients of unequal sizes, masks, Fisher information."""
    clients = cfg.federation.clients
    fed = make(clients=clients)
    if cfg.head.hidden and make is linear_federation:
        fed.model = FlatModule(build_head(cfg.head, WIDTH, CLASSES, seed=0))
    everything = np.concatenate(fed.shards)
    ends = np.cumsum(np.arange(1, clients + 1)) * len(everything) // sum(range(1, clients + 1))
    fed.shards = np.split(everything, ends[:-1])
    labels = fed.train.labels.numpy()
    fed.class_counts = class_counts(labels, fed.shards, fed.class_counts.shape[1])
    size = fed.model.layout.size
    if cfg.mask.in_force:
        own = cfg.mask.scope == "per_client"
        drawn = [draw(size, 1 - cfg.mask.sparsity, c if own else 0) for c in range(clients)]
        fed.masks = [Active.of(mask) for mask in drawn].__getitem__
    fisher = [torch.from_numpy(stream(0, "fisher", c).random(size)).float() for c in range(clients)]
    fed.fisher = fisher.__getitem__
    fed.exemplars = fed.val
    fed.all_fisher = lambda: torch.stack(fisher).sum(0)
    return attacked(cfg, fed)


def draw(size: int, share: float, *name: int) -> Tensor:
    return torch.from_numpy(stream(0, "mask", *name).random(size) < share)


def start(fed: Federation) -> State:
    """From random parameters, negative zeros among them."""
    params = 0.1 * torch.from_numpy(stream(2, "init").standard_normal(fed.model.layout.size))
    params[::7] = -0.0
    return State(params.float())


def results(
    cfg: TrialConfig, fed: Federation | None = None, state: State | None = None
) -> list[RoundResult]:
    fed = fed or federation(cfg)
    return run(cfg, fed, state or start(fed))


def turnout(cfg: TrialConfig, fed: Federation, state: State) -> Turnout:
    """Who takes part in the coming round."""
    run = Run.of(cfg, fed)
    return turnout_of(run, state, ledger_of(run, state, {}))


def updates_of(cfg: TrialConfig, fed: Federation, state: State, here: Turnout) -> Iterator[Update]:
    """What those who take part send."""
    return client_updates(Run.of(cfg, fed), state, here.chosen, here.starts, here.chains)


def travels(cfg: TrialConfig, fed: Federation) -> Tensor:
    """(P,) bool: what of a model is not its client's own."""
    part = Run.of(cfg, fed).part
    return torch.ones(fed.model.layout.size, dtype=torch.bool) if part is None else ~part


def bits(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def content(state: State) -> dict[str, object]:
    """All that a state carries, to the bit, without what differs from run to run."""
    named: dict[str, Tensor | None] = {"params": state.params, "best": state.best}
    named |= {f"server/{name}": tensor for name, tensor in state.server.items()}
    for client in state.clients.clients():
        named |= {f"client {client}/{n}": t for n, t in state.clients.of(client).items()}
    found: dict[str, object] = {n: None if t is None else bits(t) for n, t in named.items()}
    totals = {n: v for n, v in state.totals.items() if not n.startswith("seconds")}
    return found | {
        "round": state.round, "selected": dict(state.selected), "totals": totals,
        "best accuracy": (state.best_accuracy, state.evaluations_since_best),
    }  # fmt: skip


def story(found: list[RoundResult]) -> list[object]:
    """Metrics and states of a run, to the bit."""
    return [(str(plain(r.metrics)), content(r.state), r.done, r.diverged) for r in found]
