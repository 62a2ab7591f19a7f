"""FedProx and SCAFFOLD against their papers; where they rest: test_drift."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from quadratics import Quadratic, descend, joint_minimiser, one_round
from test_fedavg import CLASSES, WIDTH, config, linear_federation, run
from torch import Tensor, nn

from fl_core.base.rng import stream
from fl_core.config.method_sections import LocalConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.client import local_update, plan_work
from fl_core.federated.rule import PLAIN, Gathered, Visit
from fl_core.federated.rules.prox import prox
from fl_core.federated.rules.scaffold import scaffold
from fl_core.federated.rules.table import rule_of
from fl_core.federated.run import Run
from fl_core.federated.schedule import step_rates
from fl_core.federated.selection import Selection
from fl_core.federated.selections.table import select
from fl_core.federated.server import begun
from fl_core.federated.state import Federation, State
from fl_core.federated.work import client_updates
from fl_core.optim.sgdm import SGDM, Active

SIZE = 5


def quadratic(name: int, examples: int = 1) -> Quadratic:
    """Its Hessian is no diagonal, with eigenvalues in [0.5, 2]."""
    rng = stream(0, "quadratic", name)
    basis, _ = torch.linalg.qr(torch.from_numpy(rng.standard_normal((SIZE, SIZE))))
    hessian = basis @ torch.diag(torch.linspace(0.5, 2, SIZE, dtype=torch.float64)) @ basis.T
    optimum = torch.from_numpy(rng.standard_normal(SIZE))
    return Quadratic(hessian, optimum, examples)


def in_float32(loss: Quadratic) -> Quadratic:
    return Quadratic(loss.hessian.float(), loss.optimum.float(), loss.examples)


def uneven(clients: int = 4) -> Federation:
    """Shards of 5, 10, 15 and 30 examples."""
    fed = linear_federation(clients=clients)
    whole = torch.cat([torch.from_numpy(shard) for shard in fed.shards])
    fed.shards = [part.numpy() for part in whole.split([5, 10, 15, 30])]
    return fed


def at_random(fed: Federation) -> State:
    draws = stream(2, "init").standard_normal(fed.model.layout.size, dtype="float32")
    return State(0.1 * torch.from_numpy(draws))


FOUR: dict[str, Any] = {"federation__clients": 4, "local__lr": 0.3, "local__batch_size": 4,
                        "local__steps": 3}  # fmt: skip

# --- FedProx ------------------------------------------------------------------------------------


def test_the_pull_by_hand() -> None:
    """mu (w - w_start), not half of it; the gradient is changed in place."""
    grad, start = torch.tensor([1.0, 1.0]), torch.tensor([2.0, 3.0])
    rule = prox(LocalConfig(rule="prox", mu=0.5))
    assert rule.correct is not None
    rule.correct(grad, torch.tensor([4.0, 0.0]), Visit(start, {}, {}))
    assert grad.tolist() == [2.0, -0.5]
    assert prox(LocalConfig(rule="prox", mu=0.0)) is PLAIN


def test_with_one_step_there_is_no_pull() -> None:
    fed = uneven()
    same = {**FOUR, "local__steps": 1, "federation__participation": 0.5, "rounds": 4}
    pulled = config(**same, local__rule="prox", local__mu=0.7)
    start = at_random(fed)
    ours, fedavg = run(pulled, fed, start), run(config(**same), fed, start)
    assert torch.equal(ours[-1].state.params, fedavg[-1].state.params)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("masked", [False, True])
def test_it_ends_between_its_own_optimum_and_where_it_began(momentum: float, masked: bool) -> None:
    """(H + mu I)^-1 (H w* + mu w); under a mask the same on the entries that train."""
    mu, loss = 0.7, quadratic(0)
    start = torch.from_numpy(stream(1, "start").standard_normal(SIZE))
    mask = torch.tensor([True, False, True, True, False]) if masked else torch.ones(SIZE).bool()
    visit = Visit(start, {}, {}, active=Active(mask, None))
    rule = prox(LocalConfig(rule="prox", mu=mu))
    found = descend(rule, visit, loss, [0.05] * 2000, SGDM(momentum))
    hessian = loss.hessian[mask][:, mask]
    # the frozen entries stay at the start and add their share to the gradient
    moved = loss.hessian[mask] @ loss.optimum - loss.hessian[mask][:, ~mask] @ start[~mask]
    pulled = hessian + mu * torch.eye(len(hessian), dtype=torch.float64)
    wanted = torch.linalg.solve(pulled, moved + mu * start[mask])
    torch.testing.assert_close(found[mask], wanted, rtol=1e-9, atol=1e-9)
    assert torch.equal(found[~mask], start[~mask])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_client_minimises_its_loss_and_the_proximal_term(momentum: float) -> None:
    """torch.optim.SGD on F + mu/2 ||w - w_start||^2: with momentum the buffer gathers the pull."""
    fed, mu = uneven(), 0.8
    local = LocalConfig(rule="prox", mu=mu, momentum=momentum, steps=6, batch_size=4, lr=0.3)
    start = at_random(fed).params
    work = plan_work(fed.shards[3], local, stream(0, "batches"))
    visit = Visit(start, {}, {})
    found = local_update(fed.model, visit, fed.train, work, local, [0.3] * 6, rule=rule_of(local))
    model = nn.Linear(WIDTH, CLASSES)
    weight, bias = start.split([WIDTH * CLASSES, CLASSES])
    model.load_state_dict({"weight": weight.view(CLASSES, WIDTH), "bias": bias})
    optimiser = torch.optim.SGD(model.parameters(), 0.3, momentum)
    for row in work.indices:
        chosen = torch.from_numpy(row)
        optimiser.zero_grad()
        now = nn.utils.parameters_to_vector(model.parameters())
        loss = F.cross_entropy(model(fed.train.batch(chosen)), fed.train.labels[chosen])
        (loss + mu / 2 * (now - start).square().sum()).backward()
        optimiser.step()
    wanted = nn.utils.parameters_to_vector(model.parameters()).detach()
    torch.testing.assert_close(found.params, wanted, rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found.params, start, atol=0.1)


# --- SCAFFOLD -----------------------------------------------------------------------------------

every_option = pytest.mark.parametrize("option", [1, 2])


@every_option
def test_one_client_alone_is_plain_sgd(option: int) -> None:
    """c is its own c_k, and the correction nothing."""
    fed = linear_federation(clients=1)
    same = {**FOUR, "federation__clients": 1, "rounds": 6, "local__steps": 4}
    controlled = config(**same, local__rule="scaffold", local__option=option)
    start = at_random(fed)
    for ours, sgd in zip(run(controlled, fed, start), run(config(**same), fed, start), strict=True):
        torch.testing.assert_close(ours.state.params, sgd.state.params, rtol=1e-5, atol=1e-5)
        control = ours.state.clients.of(0)["control"]
        torch.testing.assert_close(ours.state.server["rule/control"], control)


@every_option
@pytest.mark.parametrize("scope", ["dense", "shared", "per_client"])
def test_the_server_s_control_is_the_mean_of_all_clients(option: int, scope: str) -> None:
    """Of all N, whether they took part or not (then theirs is zero), after every round."""
    fed = uneven()
    masks = {} if scope == "dense" else {"mask__sparsity": 0.5, "mask__scope": scope}
    cfg = config(**FOUR, federation__participation=0.5, rounds=6, local__rule="scaffold",
                 local__option=option, **masks)  # fmt: skip
    size = fed.model.layout.size
    if masks:
        own = [torch.from_numpy(stream(0, "mask", c).random(size) < 0.5) for c in range(4)]
        fed.masks = lambda client: Active(own[client if scope == "per_client" else 0], None)
    for result in run(cfg, fed, at_random(fed)):
        clients = result.state.clients
        total = sum(clients.of(client)["control"].double() for client in clients.clients())
        assert isinstance(total, Tensor)
        found = result.state.server["rule/control"].double()
        torch.testing.assert_close(found, total / 4, rtol=1e-5, atol=1e-6)
        assert found.norm() > 0.01


@every_option
def test_the_first_round_is_fedavg_in_which_clients_weigh_the_same(option: int) -> None:
    fed = uneven()
    same = {**FOUR, "federation__participation": 0.75, "rounds": 1}
    plain, start = config(**same), at_random(fed)
    controlled = config(**same, local__rule="scaffold", local__option=option)
    chosen = select(start, fed, plain)
    sent = [u.sent["params"] for u in client_updates(Run(plain, fed, PLAIN), start, chosen)]
    (result,) = run(controlled, fed, start)
    torch.testing.assert_close(result.state.params, torch.stack(sent).mean(0), rtol=1e-6, atol=1e-7)
    (weighted,) = run(plain, fed, start)
    assert not torch.allclose(result.state.params, weighted.state.params, atol=1e-3)


def controlled_updates(cfg: TrialConfig, fed: Federation) -> tuple[State, list[Any]]:
    """The state after two rounds, and the next round's updates."""
    state = run(cfg, fed, at_random(fed))[1].state
    rule = rule_of(cfg.local)
    state = begun(state, rule)
    everyone = Selection(np.arange(4))
    return state, list(client_updates(Run(cfg, fed, rule), state, everyone))


def test_option_1_is_the_gradient_of_all_examples_at_the_server_s_parameters() -> None:
    fed = uneven()
    cfg = config(**FOUR, federation__participation=0.5, rounds=4, local__rule="scaffold",
                 local__option=1)  # fmt: skip
    state, updates = controlled_updates(cfg, fed)
    for update in updates:
        params = state.params.clone().requires_grad_()
        weight, bias = params.split([WIDTH * CLASSES, CLASSES])
        chosen = torch.from_numpy(fed.shards[update.client])
        logits = F.linear(fed.train.batch(chosen), weight.view(CLASSES, WIDTH), bias)
        F.cross_entropy(logits, fed.train.labels[chosen]).backward()  # type: ignore[no-untyped-call]
        assert params.grad is not None
        torch.testing.assert_close(update.kept["control"], params.grad, rtol=1e-4, atol=1e-6)
        old = state.clients.of(update.client).get("control", torch.zeros_like(params))
        torch.testing.assert_close(update.sent["control"], update.kept["control"] - old)
        assert update.images == 3 * 4 + update.num_examples  # what it has gone through


@pytest.mark.parametrize("execution", ["sequential", "stacked"])
def test_option_2_divides_by_the_rates_of_the_steps_done(execution: str) -> None:
    """Under a schedule, and in epochs of 2, 3, 4 and 8 steps; the difference is what is sent."""
    fed = uneven()
    epochs = {**FOUR, "local__steps": 1, "local__unit": "epochs"}
    cfg = config(**epochs, federation__participation=0.5, rounds=4, local__rule="scaffold",
                 schedule__name="cosine", compute__execution=execution)  # fmt: skip
    state, updates = controlled_updates(cfg, fed)
    assert [len(fed.shards[u.client]) for u in updates] == [5, 10, 15, 30]
    for update, steps in zip(updates, (2, 3, 4, 8), strict=True):
        travel = sum(step_rates(cfg.local, cfg.schedule, state.round, 4, steps))
        old = state.clients.of(update.client).get("control", torch.zeros_like(state.params))
        moved = (state.params - update.sent["params"]) / travel
        new = old - state.server["rule/control"] + moved
        torch.testing.assert_close(update.kept["control"], new, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(update.sent["control"], new - old, rtol=1e-4, atol=1e-5)


def test_with_one_full_batch_the_options_agree() -> None:
    """The one gradient is that of all examples: c_k - c + (g + c - c_k)."""
    fed = uneven()
    finals = [
        run(config(**{**FOUR, "local__steps": 1, "local__batch_size": 30}, rounds=6,
                   federation__participation=0.5, local__rule="scaffold", local__option=option),
            fed, at_random(fed))[-1].state
        for option in (1, 2)
    ]  # fmt: skip
    one, other = finals
    torch.testing.assert_close(one.params, other.params, rtol=1e-4, atol=1e-5)
    controls = [state.server["rule/control"] for state in finals]
    torch.testing.assert_close(*controls, rtol=1e-4, atol=1e-5)


@every_option
def test_some_of_the_clients_a_round_reach_it_too(option: int) -> None:
    clients = [in_float32(quadratic(name)) for name in range(4)]
    cfg = config(federation__clients=4, local__rule="scaffold", local__option=option)
    state = State(torch.zeros(SIZE))
    for round in range(400):
        chosen = stream(0, "clients", round).choice(4, 2, replace=False).tolist()
        state = one_round(cfg, state, clients, chosen, lambda client: [0.05] * 4)
    distance = float((state.params - joint_minimiser(clients)).norm())
    assert distance < 1e-3


def test_the_control_moves_by_a_share_of_all_clients_not_of_those_that_answered() -> None:
    """N = 8; three send changes of 1, 2 and 5: c rises by 1."""
    rule = scaffold(LocalConfig(rule="scaffold"))
    assert rule.serve is not None
    target = torch.zeros(1, dtype=torch.float64)
    sums = {"control": torch.tensor([8.0], dtype=torch.float64)}
    told, unchanged = rule.serve(
        Gathered({"control": torch.tensor([0.5])}, target, target, sums, senders=3, clients=8)
    )
    assert told["control"].tolist() == [1.5]
    assert unchanged is target
