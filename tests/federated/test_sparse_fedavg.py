"""FedAvg under masks: contract 3, both averages of client masks, blending, exact resume."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_fedavg import CLASSES, WIDTH, cnn_federation, config, linear_federation, plain, run
from test_server import aggregated

from fl_core.base.rng import stream
from fl_core.config.method_sections import ServerConfig
from fl_core.federated.memory import ClientMemory
from fl_core.federated.rounds import fedavg
from fl_core.federated.state import Federation, State
from fl_core.federated.update import Update
from fl_core.optim.sgdm import Active

P = CLASSES * (WIDTH + 1)
RULES: list[dict[str, Any]] = [
    {"local__momentum": 0.9, "local__weight_decay": 0.1},
    {"local__momentum": 0.9, "local__nesterov": True, "local__weight_decay": 0.1},
    {"server__lr": 0.7, "local__momentum": 0.5, "local__dampening": 0.5},
]


def random_mask(size: int, share: float, *name: int) -> torch.Tensor:
    return torch.from_numpy(stream(0, "mask", *name).random(size) < share)


def masked(cfg: Any, fed: Federation, share: float = 0.3) -> Federation:
    """A shared mask, or one a client, as the configuration says."""
    size = fed.model.layout.size
    own = cfg.mask.scope == "per_client"
    masks = [Active.of(random_mask(size, share, client if own else 0)) for client in range(6)]
    fed.masks = masks.__getitem__
    return fed


def start(fed: Federation) -> State:
    """From random parameters, a negative zero among them."""
    size = fed.model.layout.size
    params = 0.1 * torch.from_numpy(stream(2, "init").standard_normal(size)).float()
    params[::7] = -0.0
    return State(params)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(one.view(torch.int32), other.view(torch.int32))


COMMON: dict[str, Any] = {"federation__clients": 6, "federation__participation": 0.5, "rounds": 6,
                          "local__steps": 3, "local__lr": 0.3, "local__batch_size": 4,
                          "mask__sparsity": 0.7}  # fmt: skip


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("scope", ["shared", "per_client"])
@pytest.mark.parametrize("execution", ["sequential", "stacked"])
@pytest.mark.parametrize("average", ["senders", "all"])
def test_frozen_means_bit_identical(
    rule: dict[str, Any], scope: str, execution: str, average: str
) -> None:
    if scope == "shared" and average == "all":
        return
    cfg = config(**COMMON, **rule, mask__scope=scope, mask__average=average,
                 compute__execution=execution)  # fmt: skip
    fed = masked(cfg, linear_federation())
    assert fed.masks is not None
    first = start(fed)
    state = run(cfg, fed, first)[-1].state
    touched, last = torch.zeros(P, dtype=torch.bool), state.params
    for client in state.participants:
        touched |= fed.masks(client).mask
    assert 0 < touched.sum() < P
    assert same_bits(last[~touched], first.params[~touched])
    assert (last[touched] != first.params[touched]).float().mean() > 0.9


@pytest.mark.parametrize("execution", ["sequential", "stacked"])
@pytest.mark.parametrize("scope", ["shared", "per_client"])
@pytest.mark.parametrize("rule", RULES)
def test_an_all_true_mask_is_the_dense_run_to_the_bit(
    rule: dict[str, Any], scope: str, execution: str
) -> None:
    cfg = config(**COMMON, **rule, mask__scope=scope, compute__execution=execution)
    dense = linear_federation()
    fed = masked(cfg, linear_federation(), share=1.1)
    one, other = run(cfg, fed, start(fed)), run(cfg, dense, start(dense))
    assert same_bits(one[-1].state.params, other[-1].state.params)
    keys = ("train_loss", "val_accuracy", "val_loss", "client_drift", "client_drift_active")
    for a, b in zip(one, other, strict=True):
        assert {k: a.metrics[k] for k in keys} == {k: b.metrics[k] for k in keys}


def test_one_active_entry_moves_alone() -> None:
    cfg = config(**COMMON, local__weight_decay=0.1, local__momentum=0.9)
    fed = linear_federation()
    mask = torch.zeros(P, dtype=torch.bool)
    mask[5] = True
    fed.masks = lambda client: Active.of(mask)
    first = start(fed)
    last = run(cfg, fed, first)[-1].state.params
    assert torch.equal(last != first.params, mask)


@pytest.mark.parametrize("scope", ["shared", "per_client"])
def test_stacked_clients_match_one_at_a_time(scope: str) -> None:
    found = []
    for execution in ("sequential", "stacked"):
        cfg = config(**COMMON, local__momentum=0.9, mask__scope=scope,
                     compute__execution=execution)  # fmt: skip
        fed = masked(cfg, linear_federation())
        found.append(run(cfg, fed, start(fed))[-1].state.params)
    assert torch.allclose(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("execution", ["sequential", "stacked"])
def test_networks_train_under_masks_too(execution: str) -> None:
    """A tensor without active entries gets no gradient; the others move where they may."""
    cfg = config(**{**COMMON, "federation__clients": 5, "rounds": 2},
                 compute__execution=execution, local__momentum=0.9)  # fmt: skip
    fed = cnn_federation()
    size = fed.model.layout.size
    mask = random_mask(size, 0.1)
    layout = fed.model.layout
    layout.views(mask)[layout.names[0]].fill_(False)
    fed.masks = lambda client: Active.of(mask)
    first = State(fed.model.flat.clone())
    last = run(cfg, fed, first)[-1].state.params
    assert same_bits(last[~mask], first.params[~mask])
    assert (last[mask] != first.params[mask]).float().mean() > 0.5


def sent(values: list[float], mask: list[bool] | None, examples: int) -> Update:
    sends = None if mask is None else torch.tensor(mask)
    vectors = {"params": torch.tensor(values)}
    return Update(0, 0, examples, examples, vectors, {}, torch.tensor(0.0), examples, sends)


def test_average_over_senders_or_all_by_hand() -> None:
    """Entries: sent by both (weights 1 and 3), by the second alone, by none."""
    server = torch.tensor([1.0, 1.0, -0.0])
    updates = [
        sent([2.0, 9.0, 9.0], [True, False, False], 1),
        sent([4.0, 5.0, 9.0], [True, True, False], 3),
    ]
    new, summary = aggregated(server, updates)
    assert new.tolist() == [3.5, 5.0, 0.0]
    assert same_bits(new[2:], server[2:])
    # drift of what is sent: 1 and 5; of everything, 9s included, more
    assert summary.drift["client_drift_active"] == pytest.approx((1 + 5) / 2)
    assert summary.drift["client_drift"] > 9
    new, _ = aggregated(server, updates, average="all")
    assert new.tolist() == [3.5, 4.0, 0.0]
    assert same_bits(new[2:], server[2:])
    half, _ = aggregated(server, updates, ServerConfig(lr=0.5))
    assert half.tolist() == [2.25, 3.0, 0.0]


def test_only_the_sent_entries_count_even_where_they_are_not_finite() -> None:
    server = torch.tensor([1.0, 2.0])
    new, _ = aggregated(server, [sent([3.0, float("nan")], [True, False], 2)])
    assert new.tolist() == [3.0, 2.0]


@pytest.mark.parametrize("scope", ["shared", "per_client"])
@pytest.mark.parametrize("blend", ["none", "fisher"])
@pytest.mark.parametrize("execution", ["sequential", "stacked"])
def test_going_on_from_any_state_gives_the_same_bits(
    scope: str, blend: str, execution: str
) -> None:
    cfg = config(**COMMON, local__momentum=0.9, mask__scope=scope, local__blend=blend,
                 compute__execution=execution)  # fmt: skip
    fed = masked(cfg, linear_federation())
    fed.fisher = lambda client: random_mask(P, 2.0, client).float() * (client + 1)
    whole = run(cfg, fed, start(fed))
    for result in whole[:-1]:
        rest = run(cfg, fed, result.state)
        assert same_bits(rest[-1].state.params, whole[-1].state.params)
        assert [plain(r.metrics) for r in rest] == [
            plain(r.metrics) for r in whole[result.state.round :]
        ]


def test_blending_by_hand() -> None:
    """Two clients with Fisher 3 and 1 everywhere: beta = 3/4 and 1/4 of their own old parameters.

    With a learning rate of (nearly) nothing a client's new parameters are its start.
    """
    cfg = config(federation__clients=2, federation__participation=1.0, rounds=2, local__steps=1,
                 local__lr=1e-30, local__blend="fisher")  # fmt: skip
    fed = linear_federation(clients=2)
    fed.fisher = lambda client: torch.full((P,), 3.0 if client == 0 else 1.0)
    old = {c: {"params": torch.full((P,), value)} for c, value in ((0, 2.0), (1, -2.0))}
    memory = ClientMemory.empty().updated(old, 0)
    state = replace(start(fed), params=torch.ones(P), round=1, clients=memory)
    (result,) = fedavg(cfg, fed, state)
    starts = [1 + 0.75 * (2 - 1), 1 + 0.25 * (-2 - 1)]
    assert result.state.params.tolist() == [(starts[0] + starts[1]) / 2] * P
    memory = result.state.clients
    assert [float(memory.of(c)["params"][0]) for c in (0, 1)] == starts


def test_blending_over_all_clients_by_hand() -> None:
    """Fisher 3, 1 and 4, the last client not in the round: beta = 3/8 and 1/8, as eq. 5 has it."""
    cfg = config(federation__clients=3, federation__participation=0.67, rounds=2, local__steps=1,
                 local__lr=1e-30, local__blend="fisher_all")  # fmt: skip
    fed = linear_federation(clients=3)
    fishers = [torch.full((P,), value) for value in (3.0, 1.0, 4.0)]
    fed.fisher, fed.all_fisher = fishers.__getitem__, lambda: torch.stack(fishers).sum(0)
    old = {c: {"params": torch.full((P,), value)} for c, value in enumerate((2.0, -2.0, 0.0))}
    memory = ClientMemory.empty().updated(old, 0)
    state = replace(start(fed), params=torch.ones(P), round=1, clients=memory)
    (result,) = fedavg(cfg, fed, state)
    expected = [1 + 3 / 8 * (2 - 1), 1 + 1 / 8 * (-2 - 1), 1 + 4 / 8 * (0 - 1)]
    for client in result.state.participants:
        assert float(result.state.clients.of(client)["params"][0]) == expected[client]
    assert len(result.state.participants) == 2


@pytest.mark.parametrize("whose", ["fisher", "fisher_all"])
def test_blending_holds_one_client_s_vectors_at_a_time(whose: str) -> None:
    """Of twelve clients in a round: their information comes and goes one after the other."""
    alive: set[int] = set()
    most = 0

    def fisher(client: int) -> torch.Tensor:
        nonlocal most
        score = torch.full((P,), client + 1.0)
        alive.add(id(score))
        weakref.finalize(score, alive.discard, id(score))
        most = max(most, len(alive))
        return score

    cfg = config(federation__clients=12, federation__participation=1.0, rounds=3, local__steps=1,
                 local__blend=whose, compute__execution="sequential")  # fmt: skip
    fed = linear_federation(clients=12)
    fed.fisher = fisher
    fed.all_fisher = lambda: torch.full((P,), 78.0)
    run(cfg, fed, start(fed))
    assert 1 <= most <= 2


def test_blending_leaves_frozen_entries_alone() -> None:
    cfg = config(**COMMON, local__blend="fisher", local__momentum=0.9, local__weight_decay=0.1)
    fed = masked(cfg, linear_federation())
    fed.fisher = lambda client: torch.rand(P, generator=torch.Generator().manual_seed(client))
    first = start(fed)
    assert fed.masks is not None
    frozen = ~fed.masks(0).mask
    last = run(cfg, fed, first)[-1].state
    assert same_bits(last.params[frozen], first.params[frozen])
    own = [last.clients.of(client)["params"] for client in last.clients.clients()]
    assert len(own) == len(last.participants)
    assert all(same_bits(params[frozen], first.params[frozen]) for params in own)


def test_a_client_without_information_starts_from_the_server() -> None:
    """Where no client's Fisher says anything, 0 / 0 must not become NaN."""
    cfg = config(**COMMON, local__blend="fisher")
    fed = linear_federation()
    fed.fisher = lambda client: torch.zeros(P)
    plain_cfg = config(**COMMON)
    one, other = run(cfg, fed, start(fed))[-1], run(plain_cfg, fed, start(fed))[-1]
    assert same_bits(one.state.params, other.state.params)


@pytest.mark.parametrize("scope", ["shared", "per_client"])
def test_a_tenth_of_the_parameters_is_at_most_a_ninth_of_the_bytes(scope: str) -> None:
    """After a client's first message; the ledger's own tests have the details."""
    cfg = config(**{**COMMON, "rounds": 12, "mask__sparsity": 0.9}, mask__scope=scope)
    fed = cnn_federation(clients=6)
    size = fed.model.layout.size
    masks = [Active.of(random_mask(size, 0.1, c if scope == "per_client" else 0)) for c in range(6)]
    fed.masks = masks.__getitem__
    results = run(cfg, fed, State(fed.model.flat.clone()))
    per_round = results[-1].metrics["bytes_up_round"]
    assert per_round <= 3 * (16 + 4 * size) / 9
    assert results[-1].metrics["bytes_up"] < results[-1].metrics["bytes_up_dense"] / 5
