"""Every method under masks: frozen bits, all-True masks, order, and one client at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from methods import METHODS, Method
from test_fedavg import cnn_federation, linear_federation
from tiny import (
    EXECUTIONS,
    MASKS,
    bits,
    configured,
    federation,
    results,
    rough,
    start,
    travels,
    turnout,
    updates_of,
)

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.party import Party
from fl_core.federated.aggregates.table import joined
from fl_core.federated.personal.own import MODEL, with_own_part
from fl_core.federated.rules.table import rule_of
from fl_core.federated.run import Run
from fl_core.federated.server import begun, server_step
from fl_core.federated.state import Federation, State
from fl_core.federated.update import Measured, Update
from fl_core.optim.sgdm import Active

every_method = pytest.mark.parametrize("method", METHODS, ids=str)
every_execution = pytest.mark.parametrize("execution", EXECUTIONS)


@every_execution
@pytest.mark.parametrize("masks", ["shared", "senders", "all"])
@every_method
def test_frozen_entries_keep_their_bits(method: Method, masks: str, execution: str) -> None:
    """Negative zeros among them; nor does a client keep or send anything else of them."""
    cfg = rough(configured(method, masks, compute__execution=execution))
    fed = federation(cfg)
    assert fed.masks is not None
    first = start(fed)
    state = results(cfg, fed, first)[-1].state
    touched = torch.zeros(len(first.params), dtype=torch.bool)
    for client in state.participants:
        touched |= fed.masks(client).mask
    assert 0 < touched.sum() < len(touched)
    assert bits(state.params[~touched]) == bits(first.params[~touched])
    part, run = ~travels(cfg, fed), Run.of(cfg, fed)
    for client in state.clients.clients():  # nor does what a client keeps to itself
        frozen, kept = ~fed.masks(client).mask, state.clients.of(client)
        own = kept.get(MODEL, with_own_part(run, state, client, state.params))
        assert bits(own[frozen & part]) == bits(first.params[frozen & part])
        assert MODEL not in kept or bits(own[~touched]) == bits(first.params[~touched])
    assert bits(state.params[part]) == bits(first.params[part])
    touched &= ~part
    if not touched.any():  # every client is alone
        return
    assert (state.params[touched] != first.params[touched]).float().mean() > 0.9


@every_execution
@pytest.mark.parametrize("scope", ["shared", "per_client"])
@every_method
def test_an_all_true_mask_is_the_dense_run(method: Method, scope: str, execution: str) -> None:
    cfg = rough(configured(method, compute__execution=execution, mask__scope=scope))
    dense, masked = federation(cfg), federation(cfg)
    size = dense.model.layout.size
    masked.masks = lambda client: Active.of(torch.ones(size, dtype=torch.bool))
    names = ("train_loss", "val_accuracy", "val_loss", "client_drift", "client_drift_active")
    for one, other in zip(results(cfg, masked), results(cfg, dense), strict=True):
        assert bits(one.state.params) == bits(other.state.params)
        assert {n: one.metrics[n] for n in names} == {n: other.metrics[n] for n in names}
        assert one.state.server.keys() == other.state.server.keys()
        for name in one.state.server.keys() - {"timing/seconds"}:  # a mask takes time to be sent
            assert bits(one.state.server[name]) == bits(other.state.server[name])


@pytest.mark.parametrize("masks", MASKS)
@every_method
def test_stacked_clients_are_clients_one_by_one(method: Method, masks: str) -> None:
    agree(method, masks, linear_federation)


@every_method
def test_stacked_networks_are_networks_one_by_one(method: Method) -> None:
    agree(method, "shared", cnn_federation)


def agree(method: Method, masks: str, make: Callable[..., Federation]) -> None:
    """Both ways of computing give the same run, but for rounding."""
    found = []
    for execution in EXECUTIONS:
        cfg = configured(method, masks, compute__execution=execution, local__lr=0.1, rounds=3)
        fed = federation(cfg, make)
        found.append(results(cfg, fed, State(fed.model.flat.clone())))
    for one, other in zip(*found, strict=True):
        close(one.state.params, other.state.params, 1e-4)
        assert one.state.server.keys() == other.state.server.keys()
        for name, tensor in one.state.server.items():
            close(tensor, other.state.server[name], 1e-4)
        assert one.state.clients.clients() == other.state.clients.clients()
        assert one.metrics["bytes_up"] == other.metrics["bytes_up"]
        assert one.metrics["bytes_down"] == other.metrics["bytes_down"]


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


@every_execution
@pytest.mark.parametrize("masks", ["dense", "senders"])
@every_method
def test_the_order_of_clients_changes_nothing(method: Method, masks: str, execution: str) -> None:
    cfg = rough(configured(method, masks, compute__execution=execution))
    fed = federation(cfg)
    state = begun(results(cfg, fed)[1].state, rule_of(cfg.local))
    run = Run.of(cfg, fed)
    here = turnout(cfg, fed, state)
    chosen, state = here.chosen, here.now.state
    weights = None if chosen.weights is None else chosen.weights[::-1]
    other_way = chosen._replace(clients=chosen.clients[::-1], weights=weights)
    updates = list(updates_of(cfg, fed, state, here))
    reversed_ = here._replace(chosen=other_way, chains=here.chains[::-1])
    reverse = list(updates_of(cfg, fed, state, reversed_))
    for one, other in zip(updates, reverse[::-1], strict=True):
        same_update(one, other)
    targets, states = zip(*(served(run, state, u) for u in (updates, updates[::-1])), strict=True)
    close(*targets, 1e-12)
    close(states[0].params, states[1].params, 1e-6)
    for name, tensor in states[0].server.items():
        close(tensor, states[1].server[name], 1e-6)
    assert states[0].selected == states[1].selected


def same_update(one: Update, other: Update) -> None:
    """From the same client, the same numbers but for rounding."""
    who = ("client", "version", "num_examples", "weight", "images")
    assert [getattr(one, name) for name in who] == [getattr(other, name) for name in who]
    assert (one.mask is None) == (other.mask is None)
    assert one.mask is None or other.mask is None or torch.equal(one.mask, other.mask)
    for ours, theirs in ((one.sent, other.sent), (one.kept, other.kept)):
        assert ours.keys() == theirs.keys()
        for name, tensor in ours.items():
            close(tensor, theirs[name], 1e-5)


def served(run: Run, state: State, updates: Sequence[Update]) -> tuple[torch.Tensor, State]:
    """(aggregate, state) after a round with these updates."""
    config: TrialConfig = run.config
    measured = Measured(state.params, moves=run.rule.moves)
    party = Party(run, state.round, sorted(update.client for update in updates))
    target = joined(measured.passing(updates), measured.start, party).target
    assert target is not None
    return target, server_step(config, run.rule, state, target, measured)
