"""Who takes part: each rule next to what its paper says, the estimators, the counts."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from test_fedavg import config, linear_federation
from toy import config as toy_config
from toy import machine_of, plain, write_features

from fl_core.base.cache import load_artefact, save_artefact
from fl_core.base.rng import stream
from fl_core.checkpoint import resume_trial, trial_path
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.evaluate import evaluate
from fl_core.federated.selection import Selection
from fl_core.federated.selections.availability import present
from fl_core.federated.selections.dirichlet import log_chances
from fl_core.federated.selections.drawing import draw, inclusion
from fl_core.federated.selections.table import select
from fl_core.federated.state import Federation, State
from fl_core.trial import run_trial

# --- how often each was selected ----------------------------------------------------------------


def test_a_checkpoint_from_before_selections_were_counted(tmp_path: Path) -> None:
    """Goes on to the same bits, with the counts that it would have had."""
    machine = machine_of(tmp_path)
    write_features(machine.cache_dir)
    cfg = toy_config(rounds=4, eval_every=2)
    for folder in ("whole", "old"):
        begun = run_trial(cfg, machine, tmp_path / folder)
        next(begun)
        begun.close()
    path = trial_path(tmp_path / "old", cfg)
    tensors, meta = load_artefact(path)
    meta["state"]["participants"] = sorted(client for client, _ in meta["state"].pop("selected"))
    save_artefact(path, tensors, meta)
    (_, state), (_, old) = (
        resume_trial(trial_path(tmp_path / folder, cfg), "cpu") for folder in ("whole", "old")
    )
    assert state is not None
    assert old is not None
    assert old.selected == state.selected
    assert sum(old.selected.values()) == 2 * cfg.federation.sampled
    one, other = (list(run_trial(cfg, machine, tmp_path / name)) for name in ("whole", "old"))
    assert plain(one) == plain(other)


# --- each rule next to what its paper says ------------------------------------------------------


def chosen(cfg: TrialConfig, fed: Federation, round: int) -> Selection:
    return select(State(torch.zeros(fed.model.layout.size), round=round), fed, cfg)


def times(cfg: TrialConfig, fed: Federation, rounds: int) -> np.ndarray:
    """(K,) how often each client was selected."""
    found = [chosen(cfg, fed, round).clients for round in range(rounds)]
    return np.bincount(np.concatenate(found), minlength=cfg.federation.clients)


def test_chances_of_a_large_gamma_are_even_and_of_a_small_one_are_not() -> None:
    """Chi-square of 9 degrees; without replacement it is smaller than that by (K - m) / (K - 1)."""
    cfg = config(select__rule="dirichlet", federation__clients=10, federation__participation=0.3)
    fed, rounds = linear_federation(clients=10), 2000
    expected = 0.3 * rounds
    for gamma, even in ((1e6, True), (0.5, False)):
        counts = times(cfg.override({"select.gamma": gamma}), fed, rounds)
        statistic = ((counts - expected) ** 2 / expected).sum() * 9 / 7
        assert (statistic < 27.9) == even  # p = 0.001


@pytest.mark.parametrize("gamma", [0.05, 0.5, 5.0])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_probability_of_being_chosen_is_exact(gamma: float, count: int) -> None:
    """Next to the sum over all orders in which six clients may be drawn."""
    log_p = log_chances(1, gamma, 6)
    p, wanted = np.exp(log_p), np.zeros(6)
    for order in itertools.permutations(range(6), count):
        likely = left = 1.0
        for client in order:
            likely, left = likely * p[client] / left, left - p[client]
        wanted[list(order)] += likely
    np.testing.assert_allclose(inclusion(log_p, count), wanted, rtol=1e-6)
    assert inclusion(log_p, count).sum() == pytest.approx(count, rel=1e-9)


def test_a_drawing_has_these_probabilities() -> None:
    log_p = log_chances(2, 1.0, 8)
    drawn = [draw(stream(0, "test", i), log_p, 3) for i in range(4000)]
    share = np.bincount(np.concatenate(drawn), minlength=8) / 4000
    pi = inclusion(log_p, 3)
    assert (abs(share - pi) < 4.5 * np.sqrt(pi * (1 - pi) / 4000)).all()


@pytest.mark.parametrize("rule", ["uniform", "dirichlet"])
def test_unbiased_is_the_step_of_all_clients_in_the_mean(rule: str) -> None:
    """Over all rounds' draws of unequal clients; the biased average is not."""
    cfg = config(select__rule=rule, federation__participation=0.5, federation__clients=4,
                 **({"select__gamma": 1.0} if rule == "dirichlet" else {}))  # fmt: skip
    fed = linear_federation(clients=4)
    fed.shards = np.split(np.concatenate(fed.shards), [5, 20, 50])
    examples = np.array([len(shard) for shard in fed.shards])
    moved = torch.from_numpy(stream(0, "moved").standard_normal((4, 3)))
    start = torch.ones(3, dtype=torch.float64)
    wanted = torch.from_numpy(examples / examples.sum()) @ moved
    distance = {}
    for reweight in ("biased", "unbiased"):
        steps, one_way = [], cfg.override({"select.reweight": reweight})
        for round in range(1500):
            one = chosen(one_way, fed, round)
            weights = torch.tensor(one.weights or examples[one.clients], dtype=torch.float64)
            target = start + weights @ moved[one.clients] / weights.sum()
            steps.append(one.scaled(target, start) - start)
        found = torch.stack(steps)
        error = found.std(0) / 1500**0.5
        distance[reweight] = float(((found.mean(0) - wanted).abs() / error).max())
    assert distance["unbiased"] < 4 < 10 < distance["biased"]


@pytest.mark.parametrize(("clients", "share"), [(10, 0.2), (10, 0.3), (7, 0.5), (5, 1.0)])
def test_every_client_once_a_cycle(clients: int, share: float) -> None:
    cfg = config(
        select__rule="cyclic", federation__clients=clients, federation__participation=share
    )
    fed = linear_federation(clients=clients)
    cycle = -(-clients // cfg.federation.sampled)
    sizes = {len(chosen(cfg, fed, round).clients) for round in range(cycle)}
    assert max(sizes) <= cfg.federation.sampled
    assert max(sizes) - min(sizes) <= 1
    for begin in (0, cycle, 5 * cycle):
        found = [chosen(cfg, fed, begin + i).clients for i in range(cycle)]
        assert sorted(np.concatenate(found)) == list(range(clients))


def test_those_of_the_candidates_with_the_highest_loss_train() -> None:
    cfg = config(select__rule="power_of_choice", select__candidates=6, federation__clients=10,
                 federation__participation=0.3)  # fmt: skip
    fed = linear_federation(clients=10)
    params = torch.from_numpy(stream(0, "params").standard_normal(fed.model.layout.size)).float()
    for round in range(5):
        one = select(State(params, round=round), fed, cfg)
        fed.model.flat.copy_(params)
        loss = {c: evaluate(fed.model.module, fed.train.subset(fed.shards[c])).loss
                for c in one.asked}  # fmt: skip
        assert len(loss) == 6
        assert set(one.clients.tolist()) == set(sorted(loss, key=loss.__getitem__)[-3:])
        assert one.weights == [1, 1, 1]


def test_as_many_candidates_as_are_chosen_is_plain_sampling_by_examples() -> None:
    cfg = config(select__rule="power_of_choice", select__candidates=2, federation__clients=5,
                 federation__participation=0.4)  # fmt: skip
    fed = linear_federation(clients=5)
    fed.shards = np.split(np.concatenate(fed.shards), [4, 12, 25, 50])
    assert chosen(cfg, fed, 0).asked == ()
    pi = inclusion(np.log([len(shard) for shard in fed.shards]), 2)
    share = times(cfg, fed, 2000) / 2000
    assert (abs(share - pi) < 4.5 * np.sqrt(pi * (1 - pi) / 2000)).all()


def test_who_is_there_follows_the_seed_and_the_round_alone() -> None:
    cfg = config(select__rule="availability", select__presence=0.3, federation__clients=20)
    there = [present(cfg, round).tolist() for round in range(50)]
    other = cfg.override({"federation.participation": 0.9, "local.lr": 0.01, "rounds": 7})
    assert there == [present(other, round).tolist() for round in range(50)]
    assert there != [present(cfg.override({"seed": 1}), round).tolist() for round in range(50)]
    fed = linear_federation(clients=20)
    for round, clients in enumerate(there):
        found = chosen(other, fed, round).clients.tolist()
        assert set(found) <= set(clients)
        assert len(found) == min(len(clients), other.federation.sampled)
    means = [len(present(cfg.override({"seed": seed}), 0)) / 20 for seed in range(200)]
    assert np.mean(means) == pytest.approx(0.3, abs=0.03)


def test_where_nobody_is_there_the_first_to_come_trains_alone() -> None:
    cfg = config(select__rule="availability", select__presence=0.01, federation__clients=3)
    assert all(len(present(cfg, round)) == 1 for round in range(20))
