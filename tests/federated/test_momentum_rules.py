"""FedCM, GHBM and FedHBM against what their papers say of them; where they rest: test_drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from quadratics import one_round
from test_fedavg import config, run
from test_rules import FOUR, SIZE, at_random, quadratic, uneven
from torch import Tensor

from fl_core.config.trial_config import Value
from fl_core.data.sources import FeatureSource
from fl_core.federated.memory import ClientMemory
from fl_core.federated.rules.table import rule_of
from fl_core.federated.run import Run
from fl_core.federated.schedule import step_rates
from fl_core.federated.selection import Selection
from fl_core.federated.selections.table import select
from fl_core.federated.server import begun
from fl_core.federated.state import Federation, State
from fl_core.federated.work import client_updates

RATE, ROUNDS = 0.2, 12
EVERYBODY = Selection(np.arange(4))


def alone(**values: Value) -> list[Tensor]:
    """The parameters after every round, each a step of one client on all its examples."""
    cfg = config(federation__clients=1, **values)
    state, states = State(torch.zeros(SIZE)), []
    for _ in range(ROUNDS):
        state = one_round(cfg, state, [quadratic(0)], [0], lambda client: [RATE])
        states.append(state.params.double())
    return states


def walk(direction: Callable[[Tensor, Tensor], Tensor]) -> list[Tensor]:
    """The same by hand: (gradient, last direction) -> direction of a step."""
    params, last, states = torch.zeros(SIZE).double(), torch.zeros(SIZE).double(), []
    for _ in range(ROUNDS):
        last = direction(quadratic(0).gradient(params), last)
        params = params - RATE * last
        states.append(params)
    return states


def without_gradients() -> Federation:
    """Its features are zeros: weights have no gradients, biases do."""
    fed = uneven()
    assert isinstance(fed.train, FeatureSource)
    fed.train.features.zero_()
    return fed


# --- FedCM --------------------------------------------------------------------------------------


def test_fedcm_alone_with_one_step_is_an_average_of_gradients() -> None:
    """Its sign: m points up, as the gradient does."""
    found = alone(local__rule="cm", local__alpha=0.3)
    wanted = walk(lambda grad, last: 0.3 * grad + 0.7 * last)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("execution", ["sequential", "stacked"])
@pytest.mark.parametrize("unit", ["steps", "epochs"])
def test_fedcm_s_momentum_is_the_last_round_s_gradient(unit: str, execution: str) -> None:
    """Divided by the rates of that round, under a schedule; of uneven steps by their mean."""
    fed = uneven()
    values = {**FOUR, "local__unit": unit, "local__steps": 1 if unit == "epochs" else 3}
    cfg = config(**values, federation__participation=0.75, rounds=4, local__rule="cm",
                 local__alpha=0.4, schedule__name="cosine",
                 compute__execution=execution)  # fmt: skip
    state = at_random(fed)
    for result in run(cfg, fed, state):
        clients = select(state, fed, cfg).clients.tolist()
        steps = [-(-len(fed.shards[c]) // 4) if unit == "epochs" else 3 for c in clients]
        travels = [
            sum(step_rates(cfg.local, cfg.schedule, state.round, cfg.rounds, s)) for s in steps
        ]
        examples = [len(fed.shards[c]) for c in clients]
        weighted = zip(examples, travels, strict=True)
        travel = sum(n * t for n, t in weighted) / sum(examples)
        wanted = (state.params.double() - result.state.params.double()) / travel
        found = result.state.server["rule/momentum"].double()
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        state = result.state


# --- GHBM ---------------------------------------------------------------------------------------


def test_ghbm_alone_with_one_step_and_one_model_is_heavy_ball_momentum() -> None:
    found = alone(local__rule="ghbm", local__beta=0.6, local__tau=1)
    wanted = walk(lambda grad, last: grad + 0.6 * last)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("tau", [1, 3])
@pytest.mark.parametrize("server", [{}, {"server__optimiser": "adam", "server__lr": 0.01}])
def test_ghbm_s_momentum_is_of_the_server_s_own_models(tau: int, server: dict[str, Value]) -> None:
    """(w^(t-tau) - w^t) / tau, whatever step the server takes; FedAvg before there are tau."""
    fed = uneven()
    same = {**FOUR, **server, "federation__participation": 0.5, "rounds": 7}
    cfg = config(**same, local__rule="ghbm", local__tau=tau)
    start = at_random(fed)
    results = run(cfg, fed, start)
    models = [start.params, *(result.state.params for result in results)]
    for done, result in enumerate(results, start=1):
        wanted = (models[done - tau] - models[done]) / tau if done >= tau else 0 * start.params
        assert torch.equal(result.state.server["rule/momentum"], wanted)
    plain = [r.state.params for r in run(config(**same), fed, start)]
    for done in range(1, tau + 1):
        torch.testing.assert_close(models[done], plain[done - 1], rtol=1e-6, atol=1e-7)
    assert not torch.allclose(models[tau + 1], plain[tau], atol=1e-4)


@pytest.mark.parametrize("execution", ["sequential", "stacked"])
def test_ghbm_adds_beta_times_its_momentum_to_a_round_whatever_the_rates(execution: str) -> None:
    """To clients without a gradient, of 2, 3, 4 and 8 steps under a schedule: -beta m each."""
    fed = without_gradients()
    cfg = config(**{**FOUR, "local__steps": 1}, local__unit="epochs", local__beta=0.6,
                 local__rule="ghbm", schedule__name="cosine", rounds=7,
                 compute__execution=execution)  # fmt: skip
    state = begun(at_random(fed), rule_of(cfg.local))
    momentum = torch.ones_like(state.params)
    state.server["rule/momentum"].copy_(momentum)
    weights = slice(0, len(state.params) - fed.class_counts.shape[1])  # but the bias, which learns
    for update in client_updates(Run(cfg, fed, rule_of(cfg.local)), state, EVERYBODY):
        moved = update.sent["params"] - state.params
        torch.testing.assert_close(moved[weights], -0.6 * momentum[weights], rtol=1e-5, atol=1e-6)


# --- FedHBM -------------------------------------------------------------------------------------


@pytest.mark.parametrize("execution", ["sequential", "stacked"])
def test_fedhbm_s_momentum_is_from_where_the_client_last_ended(execution: str) -> None:
    """Clients without a gradient take steps of beta C / J (a - w); a new one stays where it is."""
    fed = without_gradients()
    cfg = config(**FOUR, federation__participation=0.5, rounds=6, local__rule="hbm",
                 local__beta=0.8, compute__execution=execution)  # fmt: skip
    start = at_random(fed)
    old = {client: start.params + client + 1 for client in (0, 2)}
    memory = ClientMemory.empty().updated({c: {"anchor": a} for c, a in old.items()}, 0)
    state = replace(start, round=1, clients=memory)
    weights = slice(0, len(start.params) - fed.class_counts.shape[1])  # but the bias, which learns
    for update in client_updates(Run(cfg, fed, rule_of(cfg.local)), state, EVERYBODY):
        wanted = start.params
        for _ in range(3):
            wanted = wanted - 0.8 * 0.5 / 3 * (old.get(update.client, wanted) - wanted)
        found = update.sent["params"]
        torch.testing.assert_close(found[weights], wanted[weights], rtol=1e-5, atol=1e-6)
        assert torch.equal(update.kept["anchor"], found)
