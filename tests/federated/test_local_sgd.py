"""Few workers that are always there: LocalSGD, SlowMo, DiLoCo against torch's optimisers by hand.

Every worker's optimiser goes on from round to round, on the batches that the suite draws.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from test_fedavg import CLASSES, WIDTH, config, linear_federation, run
from torch import Tensor, nn

from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.sections import HeadConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.client import plan_work
from fl_core.federated.schedule import step_rates
from fl_core.federated.state import Federation, State
from fl_core.models.heads import build_head
from fl_core.optim.sgdm import Active

WORKERS: dict[str, Any] = {
    "federation__clients": 2, "federation__participation": 1.0, "rounds": 5, "local__steps": 3,
    "local__batch_size": 8, "local__lr": 0.2, "local__keep_momentum": True,
}  # fmt: skip
Inner = Callable[[list[nn.Parameter]], torch.optim.Optimizer]
Outer = Callable[[Tensor, Tensor, float], Tensor]


def workers(cfg: TrialConfig) -> Federation:
    """On a small net, whose gradients depend on where it is."""
    fed = linear_federation(clients=cfg.federation.clients)
    fed.model = FlatModule(build_head(HeadConfig(hidden=5, norm="layer"), WIDTH, CLASSES, seed=1))
    return fed


def by_hand(cfg: TrialConfig, fed: Federation, inner: Inner, outer: Outer) -> list[Tensor]:
    """The parameters (P,) after every round: an optimiser of torch's for each worker, as long as
    the run; outer(start, mean of the workers, rate in the middle of the round) -> the next start.
    """
    count = cfg.federation.clients
    models = [
        build_head(HeadConfig(hidden=5, norm="layer"), WIDTH, CLASSES, 1) for _ in range(count)
    ]
    optimisers = [inner(list(model.parameters())) for model in models]
    now, found = fed.model.flat.clone(), []
    for round in range(cfg.rounds):
        ends = []
        rates = step_rates(cfg.local, cfg.schedule, round, cfg.rounds, cfg.local.steps)
        for client, (model, optimiser) in enumerate(zip(models, optimisers, strict=True)):
            nn.utils.vector_to_parameters(now.clone(), model.parameters())  # takes views
            draws = stream(cfg.seed, "batches", round, client)
            batches = plan_work(fed.shards[client], cfg.local, draws).indices
            for rate, batch in zip(rates, torch.from_numpy(batches), strict=True):
                optimiser.param_groups[0]["lr"] = rate
                optimiser.zero_grad()
                F.cross_entropy(model(fed.train.batch(batch)), fed.train.labels[batch]).backward()
                optimiser.step()
            ends.append(nn.utils.parameters_to_vector(model.parameters()).detach())
        (middle,) = step_rates(cfg.local, cfg.schedule, round, cfg.rounds, 1)
        now = outer(now, torch.stack(ends).mean(0), middle)
        found.append(now)
    return found


def sgdm(params: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, 0.2, momentum=0.9, weight_decay=0.01)


def mean(start: Tensor, target: Tensor, rate: float) -> Tensor:
    return target


def slowmo(alpha: float, beta: float) -> Outer:
    """Algorithm 1 of the paper, lines 7 and 8."""
    slow: list[Tensor | float] = [0.0]

    def outer(start: Tensor, target: Tensor, rate: float) -> Tensor:
        slow.append(beta * slow[-1] + (start - target) / rate)
        return start - alpha * rate * slow[-1]

    return outer


def adamw(params: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(params, 0.02, betas=(0.9, 0.95), weight_decay=0.1)


def nesterov() -> Outer:
    """Algorithm 1 of DiLoCo, lines 12 and 14, with its outer rate and momentum."""
    outer_params = nn.Parameter(torch.empty(0))
    optimiser = torch.optim.SGD([outer_params], 0.7, momentum=0.9, nesterov=True)

    def outer(start: Tensor, target: Tensor, rate: float) -> Tensor:
        outer_params.data, outer_params.grad = start.clone(), start - target
        optimiser.step()
        return outer_params.detach().clone()

    return outer


DILOCO = {
    "local__optimiser": "adamw", "local__lr": 0.02, "local__beta2": 0.95,
    "local__weight_decay": 0.1, "server__optimiser": "nesterov", "server__lr": 0.7,
    "server__momentum": 0.9,
}  # fmt: skip
MOMENTUM = {"local__momentum": 0.9, "local__weight_decay": 0.01}
SLOWMO = {"server__optimiser": "slowmo", "server__momentum": 0.6, "server__lr": 0.9}
METHODS: dict[str, tuple[dict[str, Any], Inner, Callable[[], Outer]]] = {
    "LocalSGD": (MOMENTUM, sgdm, lambda: mean),
    "SlowMo": ({**MOMENTUM, **SLOWMO, "schedule__name": "cosine"}, sgdm, lambda: slowmo(0.9, 0.6)),
    "DiLoCo": (DILOCO, adamw, nesterov),
}


@pytest.mark.parametrize("execution", ["sequential", "stacked"])
@pytest.mark.parametrize("name", METHODS)
def test_over_rounds_it_is_torch_s_optimisers_by_hand(name: str, execution: str) -> None:
    values, inner, outer = METHODS[name]
    cfg = config(**{**WORKERS, **values, "compute__execution": execution})
    fed = workers(cfg)
    wanted = by_hand(cfg, fed, inner, outer())
    found = run(cfg, fed, State(fed.model.flat.clone()))
    for round, result in enumerate(found):
        torch.testing.assert_close(result.state.params, wanted[round], rtol=1e-4, atol=1e-5)
    anew = run(cfg.override({"local.keep_momentum": False}), workers(cfg))
    assert float((anew[-1].state.params - wanted[-1]).norm()) > 0.01


def test_slowmo_without_momentum_is_local_sgd_to_the_bit() -> None:
    cfg = config(**WORKERS, **MOMENTUM, schedule__name="cosine")
    slow = cfg.override({"server.optimiser": "slowmo", "server.momentum": 0.0, "server.lr": 1.0})
    one, other = (run(each, workers(cfg)) for each in (cfg, slow))
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.state.params, b.state.params)


def test_one_step_a_round_is_mini_batch_sgd_on_all_batches_together() -> None:
    """Stich 2019: H = 1 without momentum; and with it, since all momenta see the same weights."""
    for momentum in (0.0, 0.9):
        cfg = config(**{**WORKERS, "local__steps": 1, "local__momentum": momentum})
        fed = workers(cfg)
        model = build_head(HeadConfig(hidden=5, norm="layer"), WIDTH, CLASSES, 1)
        optimiser = torch.optim.SGD(model.parameters(), 0.2, momentum=momentum)
        for round, result in enumerate(run(cfg, fed, State(fed.model.flat.clone()))):
            both = [plan_work(fed.shards[k], cfg.local, stream(0, "batches", round, k)).indices[0]
                    for k in range(2)]  # fmt: skip
            union = torch.cat([torch.from_numpy(batch) for batch in both])
            optimiser.zero_grad()
            F.cross_entropy(model(fed.train.batch(union)), fed.train.labels[union]).backward()
            optimiser.step()
            wanted = nn.utils.parameters_to_vector(model.parameters()).detach()
            torch.testing.assert_close(result.state.params, wanted, rtol=1e-4, atol=1e-6)


def test_it_goes_on_where_other_executions_stopped() -> None:
    """A checkpoint of a GPU, where clients are stacked, is read where they are not; and back."""
    cfg = config(**WORKERS, **MOMENTUM, mask__sparsity=0.8)
    fed = workers(cfg)
    mask = torch.from_numpy(stream(0, "mask").random(fed.model.layout.size) < 0.2)
    fed.masks = lambda client: Active.of(mask)
    assert fed.masks(0).index is not None
    start = State(fed.model.flat.clone())
    ways = [cfg.override({"compute.execution": way}) for way in ("sequential", "stacked")]
    whole = run(ways[0], fed, start)
    for before, after in (ways, ways[::-1]):
        half = run(before, fed, start)[1].state
        found = run(after, fed, half)[-1].state
        torch.testing.assert_close(found.params, whole[-1].state.params, rtol=1e-4, atol=1e-5)
        assert torch.equal(found.params[~mask], start.params[~mask])
