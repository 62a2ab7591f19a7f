"""FedDyn against what Acar et al. say of it; its joint minimiser: test_drift."""

from __future__ import annotations

import pytest
import torch
from quadratics import descend
from test_fedavg import config, run
from test_rules import FOUR, SIZE, at_random, quadratic, uneven

from fl_core.base.rng import stream
from fl_core.config.method_sections import LocalConfig
from fl_core.federated.rule import Gathered, Visit
from fl_core.federated.rules.table import rule_of
from fl_core.federated.run import Run
from fl_core.federated.selections.table import select
from fl_core.federated.work import client_updates
from fl_core.optim.sgdm import SGDM, Active


def test_a_step_by_hand() -> None:
    """g + alpha (w - w_start) - h_k: the linear part and the pull, each with its sign."""
    grad, start = torch.tensor([1.0, 1.0]), torch.tensor([2.0, 3.0])
    rule = rule_of(LocalConfig(rule="dyn", alpha=0.5))
    assert rule.correct is not None
    rule.correct(grad, torch.tensor([4.0, 0.0]), Visit(start, {}, {"linear": torch.ones(2)}))
    assert grad.tolist() == [1.0, -1.5]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("masked", [False, True])
def test_a_client_minimises_its_bent_loss(momentum: float, masked: bool) -> None:
    """f - <h, w> + alpha/2 ||w - w_start||^2, on the entries that train; then h is its gradient."""
    alpha, loss = 0.7, quadratic(0)
    start, linear = torch.from_numpy(stream(1, "start").standard_normal((2, SIZE)))
    mask = torch.tensor([True, False, True, True, False]) if masked else torch.ones(SIZE).bool()
    linear = torch.where(mask, linear, 0.0)
    visit = Visit(start, {}, {"linear": linear}, active=Active(mask, None))
    rule = rule_of(LocalConfig(rule="dyn", alpha=alpha))
    found = descend(rule, visit, loss, [0.05] * 2000, SGDM(momentum))
    hessian = loss.hessian[mask][:, mask]
    moved = loss.hessian[mask] @ loss.optimum - loss.hessian[mask][:, ~mask] @ start[~mask]
    bent = hessian + alpha * torch.eye(len(hessian), dtype=torch.float64)
    wanted = torch.linalg.solve(bent, moved + linear[mask] + alpha * start[mask])
    torch.testing.assert_close(found[mask], wanted, rtol=1e-9, atol=1e-9)
    assert torch.equal(found[~mask], start[~mask])
    assert rule.finish is not None
    sent, kept = rule.finish(found, visit)
    assert not sent
    gradient = torch.where(mask, loss.gradient(found), 0.0)
    torch.testing.assert_close(kept["linear"], gradient, rtol=1e-9, atol=1e-9)


def test_the_server_by_hand() -> None:
    """N = 8; three moved by 16 in all: h falls by alpha 2, and h / alpha goes off their mean."""
    rule = rule_of(LocalConfig(rule="dyn", alpha=0.5))
    assert rule.serve is not None
    double = torch.tensor([16.0], dtype=torch.float64)
    told, target = rule.serve(
        Gathered({"linear": torch.tensor([0.25])}, double, double, {}, senders=3, clients=8,
                 moved=double)
    )  # fmt: skip
    assert told["linear"].tolist() == [-0.75]
    assert target.tolist() == [17.5]


@pytest.mark.parametrize("scope", ["dense", "shared", "per_client"])
def test_both_forms_of_the_paper_agree(scope: str) -> None:
    """h is the mean of all N h_k; w is mean_S w_k and the mean of all that clients ever moved."""
    fed, alpha = uneven(), 0.2
    masks = {} if scope == "dense" else {"mask__sparsity": 0.5, "mask__scope": scope}
    cfg = config(**FOUR, federation__participation=0.5, rounds=6, local__rule="dyn",
                 local__alpha=alpha, mask__average="all" if scope == "per_client" else "senders",
                 **masks)  # fmt: skip
    size = fed.model.layout.size
    if masks:
        own = [torch.from_numpy(stream(0, "mask", c).random(size) < 0.5) for c in range(4)]
        fed.masks = lambda client: Active(own[client if scope == "per_client" else 0], None)
    state, moved = at_random(fed), torch.zeros(size, dtype=torch.float64)
    first = state.params
    for result in run(cfg, fed, state):
        chosen = select(state, fed, cfg)
        updates = list(client_updates(Run(cfg, fed, rule_of(cfg.local)), state, chosen))
        changes = [u.sent["params"].double() - state.params.double() for u in updates]
        moved += torch.stack(changes).sum(0) / 4
        trained = torch.ones(size, dtype=torch.bool)
        if masks:
            assert fed.masks is not None
            trained = torch.stack(
                [fed.masks(client).mask for client in chosen.clients.tolist()]
            ).any(0)
        wanted = state.params.double() + torch.stack(changes).mean(0)
        wanted = torch.where(trained, wanted + moved, wanted)
        torch.testing.assert_close(result.state.params.double(), wanted, rtol=1e-5, atol=1e-6)
        state = result.state
        clients = [state.clients.of(client)["linear"].double() for client in state.participants]
        mean = torch.stack(clients).sum(0) / 4
        torch.testing.assert_close(state.server["rule/linear"], mean, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(
            state.server["rule/linear"], -alpha * moved, rtol=1e-4, atol=1e-6
        )
        assert (state.params != first).any()


def test_an_entry_that_nobody_trains_stays_though_others_bent_it() -> None:
    """Clients with masks of their own: -h / alpha alone would carry it off round by round."""
    fed = uneven()
    cfg = config(**FOUR, federation__participation=0.5, rounds=6, local__rule="dyn",
                 mask__sparsity=0.5, mask__scope="per_client")  # fmt: skip
    own = [torch.arange(fed.model.layout.size) % 4 == client for client in range(4)]
    fed.masks = lambda client: Active(own[client], None)
    state, rested = at_random(fed), 0
    for result in run(cfg, fed, state):
        idle = ~torch.stack([own[c] for c in select(state, fed, cfg).clients.tolist()]).any(0)
        assert torch.equal(result.state.params[idle], state.params[idle])
        rested += int(result.state.server["rule/linear"][idle].count_nonzero())
        state = result.state
    assert rested > 0
