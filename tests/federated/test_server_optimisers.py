"""Server optimisers over rounds: FedAvgM against torch, FedAdam by hand, limits that are FedAvg."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from quadratics import one_round
from test_fedavg import config
from test_rules import quadratic
from test_server import bits, update
from torch import Tensor

from fl_core.base.rng import stream
from fl_core.config.method_sections import ServerConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.table import aggregate
from fl_core.federated.rule import PLAIN
from fl_core.federated.schedule import step_rates
from fl_core.federated.server import OPTIMISERS, server_step
from fl_core.federated.state import State
from fl_core.federated.update import Measured, Update

ROUNDS, SIZE = 8, 20


def rounds(server: ServerConfig, sent: Sequence[list[Update]], start: Tensor) -> list[State]:
    """The states after rounds in which this was sent."""
    config, states = TrialConfig(server=server), [State(start)]
    for updates in sent:
        measured = Measured(states[-1].params)
        target = aggregate(measured.passing(updates), measured.start, config)
        states.append(server_step(config, PLAIN, states[-1], target, measured))
    return states[1:]


def clients_parameters(*name: int) -> Tensor:
    """(rounds, 2, P): what two clients send, whatever they start from."""
    drawn = stream(3, "sent", *name).standard_normal((ROUNDS, 2, SIZE), dtype="float32")
    return torch.from_numpy(drawn)


def as_updates(sent: Tensor) -> list[list[Update]]:
    return [[update(one, 1), update(other, 3)] for one, other in sent]


@pytest.mark.parametrize("name", ["momentum", "nesterov"])
@pytest.mark.parametrize(("lr", "beta"), [(1.0, 0.9), (0.3, 0.7), (1.0, 0.97)])
def test_momentum_is_torch_s_sgd_on_pseudo_gradients(name: str, lr: float, beta: float) -> None:
    """w - sum n_k w_k / sum n_k is the gradient (Hsu et al. 2019)."""
    sent = clients_parameters()
    states = rounds(ServerConfig(name, lr, beta), as_updates(sent), torch.ones(SIZE))
    params = torch.nn.Parameter(torch.ones(SIZE, dtype=torch.float64))
    optimiser = torch.optim.SGD([params], lr, beta, nesterov=name == "nesterov")
    for state, (one, other) in zip(states, sent.double(), strict=True):
        params.grad = params.detach() - (one + 3 * other) / 4
        optimiser.step()
        # the server's parameters are rounded to float32 after every round
        torch.testing.assert_close(state.params.double(), params.detach(), rtol=1e-5, atol=1e-5)


def test_adam_s_first_round_by_hand() -> None:
    """Delta = (0.5, -0.5): w + lr * 0.1 Delta / (sqrt(0.99 tau^2 + 0.01 Delta^2) + tau)."""
    sent = [[update([1.0, 0.0], 1), update([1.0 + 2 / 3, 1.0 - 1 / 3], 3)]]
    (state,) = rounds(ServerConfig("adam", 0.1, tau=0.01), sent, torch.ones(2))
    for found, delta in zip(state.params.tolist(), (0.5, -0.5), strict=True):
        root = math.sqrt(0.99 * 1e-4 + 0.01 * delta**2)
        assert found == pytest.approx(1 + 0.1 * 0.1 * delta / (root + 0.01), rel=1e-6)
    m, v = state.server["optimiser/m"], state.server["optimiser/v"]
    assert m.tolist() == pytest.approx([-0.05, 0.05])
    assert v.tolist() == pytest.approx([0.99e-4 + 0.0025] * 2)


@pytest.mark.parametrize("name", ["adagrad", "yogi"])
def test_far_below_tau_it_is_fedavg(name: str) -> None:
    """v begins at tau^2 and stays there, so the step is m / (2 tau): with lr = 2 tau, Delta.

    Not so Adam, whose v fades by beta2 a round.
    """
    sent = clients_parameters()
    adaptive = ServerConfig(name, lr=2e4, beta1=0.0, tau=1e4)
    ours = rounds(adaptive, as_updates(sent), torch.ones(SIZE))
    fedavg = rounds(ServerConfig(), as_updates(sent), torch.ones(SIZE))
    for one, other in zip(ours, fedavg, strict=True):
        torch.testing.assert_close(one.params, other.params, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.parametrize("lr", [0.1, 1.0, 30.0])
def test_what_nobody_changed_stays_to_the_bit(name: str, lr: float) -> None:
    server = torch.tensor([1.0, -0.0, 0.1, -1e-38] * (SIZE // 4))
    kept = torch.arange(SIZE) % 5 > 0
    sent = torch.where(kept, server, clients_parameters())
    states = rounds(ServerConfig(name, lr), as_updates(sent), server)
    for state in states:
        assert bits(state.params[kept]) == bits(server[kept])
        assert (state.params[~kept] != server[~kept]).all()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_an_older_state_stays_as_it_was(name: str) -> None:
    sent = as_updates(clients_parameters())
    config = ServerConfig(name, 0.1)
    before = rounds(config, sent[:3], torch.ones(SIZE))
    kept = [{n: t.clone() for n, t in state.server.items()} for state in before]
    measured = Measured(before[-1].params)
    trial = TrialConfig(server=config)
    target = aggregate(measured.passing(sent[3]), measured.start, trial)
    for _ in range(2):
        after = server_step(trial, PLAIN, before[-1], target, measured)
        again = rounds(config, sent[:4], torch.ones(SIZE))[-1]
        assert bits(after.params) == bits(again.params)
    for state, wanted in zip(before, kept, strict=True):
        assert state.server.keys() == wanted.keys()
        assert all(torch.equal(state.server[n], t) for n, t in wanted.items())


# --- SlowMo -------------------------------------------------------------------------------------


def test_at_a_constant_rate_slowmo_is_momentum() -> None:
    sent = as_updates(clients_parameters())
    found, wanted = (
        rounds(ServerConfig(name, 0.7, 0.6), sent, torch.ones(SIZE))
        for name in ("slowmo", "momentum")
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.params, other.params, rtol=1e-6, atol=1e-6)


def test_with_one_step_a_round_the_outer_step_is_data_parallel_sgd() -> None:
    """Clients of one full batch: torch's Nesterov on the mean of their gradients."""
    clients = [quadratic(1), quadratic(2)]
    cfg = config(federation__clients=2, server__optimiser="nesterov", server__momentum=0.9)
    params = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    optimiser = torch.optim.SGD([params], 0.05, momentum=0.9, nesterov=True)
    state = State(torch.zeros(5))
    for _ in range(ROUNDS):
        state = one_round(cfg, state, clients, [0, 1], lambda client: [0.05])
        params.grad = (clients[0].gradient(params) + clients[1].gradient(params)).detach() / 2
        optimiser.step()
    torch.testing.assert_close(state.params.double(), params.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["slowmo", "momentum"])
def test_with_one_step_a_round_slowmo_is_torch_s_sgd_under_a_schedule(name: str) -> None:
    """u is in units of gradients: what FedAvgM has gathered stays as large as its rates were."""
    clients = [quadratic(1), quadratic(2)]
    cfg = config(federation__clients=2, local__lr=0.3, local__steps=1, schedule__name="cosine",
                 rounds=ROUNDS, server__optimiser=name, server__momentum=0.6)  # fmt: skip
    params = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
    optimiser = torch.optim.SGD([params], 0.3, momentum=0.6)
    state = State(torch.zeros(5))
    for round in range(ROUNDS):
        rates = step_rates(cfg.local, cfg.schedule, round, ROUNDS, 1)
        state = one_round(cfg, state, clients, [0, 1], lambda client: rates)  # noqa: B023
        optimiser.param_groups[0]["lr"] = rates[0]
        params.grad = (clients[0].gradient(params) + clients[1].gradient(params)).detach() / 2
        optimiser.step()
    distance = float((state.params - params.detach()).norm())
    assert distance < 1e-6 if name == "slowmo" else distance > 0.01
