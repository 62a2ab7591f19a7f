"""FedSeq: who goes with whom, chains against a plain loop, what they send, take and lose."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_fedavg import CLASSES, WIDTH, config, linear_federation, run

from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import EXEMPLARS, exemplars
from fl_core.federated.books import ledger_of
from fl_core.federated.run import Run
from fl_core.federated.state import Federation, State
from fl_core.federated.timing.confidence import confidences
from fl_core.federated.timing.grouping import at_random, distance_to_uniform, greedy
from fl_core.federated.timing.superclient_report import described, superclient_rows
from fl_core.federated.timing.superclients import (
    formed,
    members_of,
    superclients,
    superclients_cost,
)
from fl_core.federated.timing.turnout import Turnout

ONE_CLASS = np.eye(4)[[0, 0, 1, 1, 2, 2]]  # of six clients
EQUAL = np.full(6, 10)
MESSAGE = 16 + 4 * (CLASSES * WIDTH + CLASSES)  # a model, with its header


def sequential(**values: Any) -> TrialConfig:
    """Chains that are formed of known classes unless the values say otherwise."""
    base = {"timing__mode": "superclients", "timing__grouping": "oracle", "rounds": 2,
            "federation__clients": 6, "local__steps": 2, "local__batch_size": 4}  # fmt: skip
    return config(**{**base, **values})


def by_class(clients: int = 6) -> Federation:
    """Sorted by label: each client holds a class or two."""
    fed = linear_federation(clients=clients)
    order = np.argsort(fed.train.labels.numpy()[:60], kind="stable")
    fed.shards = np.array_split(order, clients)
    labels = fed.train.labels.numpy()
    fed.class_counts = np.stack([np.bincount(labels[s], minlength=CLASSES) for s in fed.shards])
    fed.exemplars = fed.val
    return fed


def turnout(cfg: TrialConfig, fed: Federation, state: State) -> Turnout:
    run = Run.of(cfg, fed)
    return superclients(run, state, ledger_of(run, state, {}))


# --- who goes with whom -------------------------------------------------------------------------


def test_greedy_by_hand() -> None:
    """From the uniform mix all are as good: the first; then the first with another class."""
    assert greedy(ONE_CLASS, EQUAL, 3, 30).tolist() == [0, 1, 0, 1, 0, 1]
    assert greedy(ONE_CLASS, EQUAL, 11, 20).tolist() == [0, 1, 0, 1, 2, 2]  # enough examples
    assert greedy(ONE_CLASS, EQUAL, 1, 1).tolist() == list(range(6))
    assert greedy(ONE_CLASS, EQUAL, 6, 60).tolist() == [0] * 6


def test_a_group_is_the_mix_of_its_examples() -> None:
    """Of client 0 with 10 examples and 1 with 90 the mix is (.1, .9, 0): 3 then lacks less."""
    mixes = np.array([[1, 0, 0], [0, 1, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])
    assert greedy(mixes, np.array([10, 90, 10, 10]), 3, 1000)[[0, 1, 2]].tolist() == [0, 0, 0]


def test_the_clients_of_an_incomplete_group_go_where_there_is_room() -> None:
    """After {0, 2} and {1, 3, 4} client 5 has 4 of 20 examples: it goes to 0 and 2."""
    examples = np.array([10, 10, 10, 4, 14, 4])
    assert greedy(ONE_CLASS, examples, 3, 20).tolist() == [0, 1, 0, 1, 1, 0]
    assert greedy(ONE_CLASS[:5], EQUAL[:5], 2, 100).tolist() == [0, 1, 0, 1, 2]  # no room


def test_chance_does_not_look_at_classes() -> None:
    found = at_random(stream(0, "superclients"), EQUAL, 3, 100)
    assert sorted(found.tolist()) == [0, 0, 0, 1, 1, 1]
    others = [at_random(stream(s, "superclients"), EQUAL, 3, 100).tolist() for s in range(5)]
    assert len({str(one) for one in others}) > 1


def test_distance_to_uniform() -> None:
    assert distance_to_uniform(np.full(4, 0.25)) == pytest.approx(0)
    assert distance_to_uniform(np.eye(4)[2]) == pytest.approx(np.log(4))


def test_confidence_knows_a_client_s_classes() -> None:
    fed = by_class()
    cfg = sequential(timing__grouping="confidence", timing__pretraining=3)
    found = confidences(Run.of(cfg, fed), State(fed.model.flat.clone()))
    assert found.sum(1) == pytest.approx(np.ones(6))
    assert (found.argmax(1) == fed.class_counts.argmax(1)).all()
    one = formed(Run.of(cfg, fed), State(fed.model.flat.clone()))
    assert formed(Run.of(cfg, fed), one) is one  # once


def test_exemplars_are_of_the_validation_split() -> None:
    labels, data = np.repeat(np.arange(3), 200), TrialConfig().data
    found = exemplars(labels, data)
    assert np.bincount(labels[found]).tolist() == [EXEMPLARS] * 3
    assert (found == exemplars(labels, replace(data, train_on="train+val"))).all()


def test_what_forming_them_takes() -> None:
    fed = by_class()
    assert superclients_cost(sequential(), fed) == (6 * (16 + 4 * CLASSES), 0, 0)
    assert superclients_cost(sequential(timing__grouping="random"), fed) == (0, 0, 0)
    asked = sequential(timing__grouping="confidence", timing__pretraining=3)
    fed.beside = 100
    passes = 3 * 3  # epochs of ten examples in batches of four
    assert superclients_cost(asked, fed) == (6 * MESSAGE, 6 * (MESSAGE + 100), passes)


# --- chains -------------------------------------------------------------------------------------


def steps(fed: Federation, params: torch.Tensor, round: int, client: int) -> torch.Tensor:
    """Two steps of four examples, as a client takes them from these parameters."""
    weight, bias = params[: CLASSES * WIDTH].view(CLASSES, WIDTH), params[CLASSES * WIDTH :]
    order = stream(0, "batches", round, client).permutation(fed.shards[client])
    for indices in torch.from_numpy(order[:8]).split(4):
        w, b = (one.detach().clone().requires_grad_() for one in (weight, bias))
        F.cross_entropy(
            F.linear(fed.train.batch(indices), w, b), fed.train.labels[indices]
        ).backward()
        assert w.grad is not None
        assert b.grad is not None
        weight, bias = w.detach() - 0.1 * w.grad, b.detach() - 0.1 * b.grad
    return torch.cat([weight.reshape(-1), bias])


@pytest.mark.parametrize("execution", ["sequential", "stacked"])
def test_one_superclient_of_everybody_is_cyclic_sgd(execution: str) -> None:
    fed = by_class()
    cfg = sequential(timing__chain=6, timing__examples=60, compute__execution=execution)
    params = torch.zeros(fed.model.layout.size)
    for round, result in enumerate(run(cfg, fed, State(params))):
        for client in stream(0, "chain", round, 0).permutation(6).tolist():
            params = steps(fed, params, round, client)
        torch.testing.assert_close(result.state.params, params, rtol=1e-5, atol=1e-6)
        assert result.metrics["local_steps"] == 2 * 6 * (round + 1)
        assert result.metrics["bytes_up"] == result.metrics["bytes_down"]
        assert result.metrics["bytes_up"] == 6 * MESSAGE * (round + 1)
        assert result.state.selected == dict.fromkeys(range(6), round + 1)


@pytest.mark.parametrize("execution", ["sequential", "stacked"])
def test_two_chains_are_averaged_by_their_examples(execution: str) -> None:
    """Of unequal lengths: the clients at one place are trained together where that is faster."""
    fed = by_class()
    fed.shards = [*fed.shards[:4], np.concatenate(fed.shards[4:])]
    fed.class_counts = np.stack([*fed.class_counts[:4], fed.class_counts[4:].sum(0)])
    cfg = sequential(federation__clients=5, timing__chain=3, timing__examples=100, rounds=1,
                     federation__participation=1.0, compute__execution=execution)  # fmt: skip
    start = State(torch.zeros(fed.model.layout.size))
    chains = turnout(cfg, fed, start).chains
    assert sorted(map(len, chains)) == [2, 3]
    ends, weights = [], []
    for chain in chains:
        params = start.params
        for client in chain:
            params = steps(fed, params, 0, client)
        ends.append(params.double())
        weights.append(sum(len(fed.shards[client]) for client in chain))
    wanted = sum(w * e for w, e in zip(weights, ends, strict=True)) / sum(weights)
    (result,) = run(cfg, fed, start)
    torch.testing.assert_close(result.state.params, wanted.float(), rtol=1e-5, atol=1e-6)  # type: ignore[union-attr]
    assert result.metrics["client_drift"] == pytest.approx(float(sum(e.norm() for e in ends)) / 2)
    assert result.metrics["local_steps"] == 2 * 3
    assert result.metrics["bytes_up"] == 5 * MESSAGE
    assert result.metrics["superclients"] == 2
    assert result.metrics["superclient_clients"] == 2.5


@pytest.mark.parametrize("clients", [6, 7])
def test_chains_of_one_are_fedavg_whatever_the_share(clients: int) -> None:
    """Also where C K is no whole number: both round it."""
    values = {"federation__clients": clients, "federation__participation": 0.25}
    one = run(sequential(**values, timing__chain=1), by_class(clients))
    other = run(config(**values, rounds=2, local__steps=2, local__batch_size=4), by_class(clients))
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a.state.params, b.state.params)
    assert one[-1].state.selected == other[-1].state.selected


def test_what_is_told_of_them() -> None:
    fed = by_class()
    cfg = sequential(timing__chain=3, timing__examples=30)
    state = formed(Run.of(cfg, fed), State(fed.model.flat.clone()))
    rows = superclient_rows(fed, state)
    assert [row[0] for row in rows] == [0, 1]
    assert [row[1] for row in rows] == [30, 30]
    assert [list(map(int, str(row[3]).split())) for row in rows] == [
        np.flatnonzero(members_of(state) == n).tolist() for n in (0, 1)
    ]
    apart = described(fed, formed(Run.of(cfg.override({"timing.grouping": "random"}), fed),
                                  State(fed.model.flat.clone())))  # fmt: skip
    assert described(fed, state)["superclient_distance"] <= apart["superclient_distance"]
    assert described(fed, State(fed.model.flat)) == {}


# --- on the clock -------------------------------------------------------------------------------


def test_a_round_takes_as_long_as_its_slowest_chain() -> None:
    """Two chains of three clients at once: each is three turns of eight examples long."""
    cfg = sequential(timing__chain=3, timing__examples=30, federation__participation=1.0, rounds=1,
                     timing__speed=4.0, timing__down=1000.0, timing__up=500.0)  # fmt: skip
    (result,) = run(cfg, by_class())
    turn = MESSAGE / 1000 + 8 / 4 + MESSAGE / 500
    assert result.metrics["virtual_seconds"] == pytest.approx(3 * turn)


def test_who_fails_is_passed_over() -> None:
    cfg = sequential(timing__chain=6, timing__examples=60, timing__dropout=0.5, rounds=6)
    fed, state, lost = by_class(), State(torch.zeros(CLASSES * WIDTH + CLASSES)), 0
    for round, result in enumerate(run(cfg, fed, state)):
        here = turnout(cfg, fed, state)
        order = stream(0, "chain", round, 0).permutation(6).tolist()
        arrived = {fate.client for fate in here.fates if fate.arrives}
        assert here.chains == ([[c for c in order if c in arrived]] if arrived else [])
        assert here.seconds == pytest.approx(sum(fate.seconds for fate in here.fates))
        params = state.params
        for client in [client for client in order if client in arrived]:
            params = steps(fed, params, round, client)
        torch.testing.assert_close(result.state.params, params, rtol=1e-5, atol=1e-6)
        lost += 6 - len(arrived)
        assert result.metrics["clients_lost"] == lost
        state = result.state
    assert 0 < lost < 36


def test_at_the_deadline_a_chain_ends_with_what_has_arrived() -> None:
    turn = MESSAGE / 1000 + 8 / 4 + MESSAGE / 500
    cfg = sequential(timing__chain=6, timing__examples=60, timing__speed=4.0, timing__down=1000.0,
                     timing__up=500.0, timing__deadline=2.5 * turn)  # fmt: skip
    fed = by_class()
    here = turnout(cfg, fed, State(fed.model.flat.clone()))
    order = stream(0, "chain", 0, 0).permutation(6).tolist()
    assert here.chains == [order[:2]]
    assert [fate.client for fate in here.lost] == [order[2]]
    assert here.seconds == pytest.approx(2.5 * turn)
