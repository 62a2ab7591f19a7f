"""Masks of a trial: rules, parties, storage; and what the config refuses before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_fedavg import CLASSES, WIDTH, linear_federation

from fl_core.base.cache import load_artefact
from fl_core.base.errors import ConfigError
from fl_core.base.machine import Machine
from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.masks import lowest as choice
from fl_core.masks import parties as module
from fl_core.masks.calibration import Calibration
from fl_core.masks.fisher import fisher
from fl_core.masks.parties import SERVER, Parties
from fl_core.masks.select import soft_mask, unpack

P = CLASSES * (WIDTH + 1)


def config(**values: Any) -> TrialConfig:
    names = {name.replace("__", "."): value for name, value in values.items()}
    base = {"federation.clients": 6, "mask.sparsity": 0.5, "mask.examples": 8, "mask.batch_size": 4,
            "mask.min_active": 0, "head.method": "fedavg", "data.val_fraction": 0.4}  # fmt: skip
    return TrialConfig().override({**base, **names})


def lowest(scores: torch.Tensor, count: int) -> torch.Tensor:
    """Of equal scores the first; here none are."""
    order = np.arange(len(scores), dtype=np.float32)
    return torch.from_numpy(choice.lowest(scores.numpy(), count, lambda: order))


def calibration(cfg: TrialConfig, folder: Path) -> Calibration:
    return Calibration(parties(cfg, folder))


def parties(cfg: TrialConfig, folder: Path) -> Parties:
    """On a linear model with random weights."""
    fed = linear_federation()
    start = torch.from_numpy(stream(1, "init").standard_normal(P)).float()
    machine = Machine(cache_dir=folder)
    return Parties(cfg, machine, fed.model, fed.train, fed.shards, start)


def sensitivity(found: Parties, party: int, pool: np.ndarray, round: int = 0) -> torch.Tensor:
    """Fisher by hand: the party's examples, the round's labels, at the starting parameters."""
    cfg = found.config
    found.model.flat.copy_(found.start)
    chosen = stream(cfg.seed, "calibration", party + 1).choice(pool, 8, replace=False)
    labels = stream(cfg.seed, "labels", party + 1, round)
    return fisher(found.model, found.source, chosen, cfg.mask.fisher, 4, labels)


RULES = {
    "least_sensitive": lambda f, w: f,
    "most_sensitive": lambda f, w: -f,
    "low_magnitude": lambda f, w: w,  # of |w|, not of Fisher scores (mistake 3)
    "high_magnitude": lambda f, w: -w,
}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("party", [SERVER, 3])
def test_each_rule_keeps_what_its_name_says(rule: str, party: int, tmp_path: Path) -> None:
    scope = "shared" if party == SERVER else "per_client"
    found = calibration(config(mask__rule=rule, mask__scope=scope), tmp_path)
    pool = found.parties.server_pool if party == SERVER else found.parties.shards[party]
    scores = RULES[rule](sensitivity(found.parties, party, pool), found.start.abs())
    assert torch.equal(found(max(party, 0)).mask, lowest(scores, P // 2))


def test_random_masks_follow_the_seed_and_the_client(tmp_path: Path) -> None:
    def masks(**values: Any) -> list[torch.Tensor]:
        found = calibration(
            config(mask__rule="random", mask__scope="per_client", **values), tmp_path
        )
        return [found(client).mask for client in range(3)]

    first, other = masks(), masks(seed=1)
    assert all(int(mask.sum()) == P // 2 for mask in first)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])
    assert all(torch.equal(a, b) for a, b in zip(first, masks(), strict=True))


def test_rounds_recalibrate_the_damped_model(tmp_path: Path) -> None:
    """R=2 by hand: the second round's scores are those of the softly masked model, fresh labels."""
    found = calibration(config(mask__rounds=2, mask__sparsity=0.75), tmp_path)
    first = lowest(sensitivity(found.parties, SERVER, found.parties.server_pool), P // 2)
    twin = replace(found.parties, start=soft_mask(found.start, first, found.allowed, 0.1))
    scores = sensitivity(twin, SERVER, found.parties.server_pool, round=1)
    scores[~first] = torch.inf
    assert torch.equal(found(0).mask, lowest(scores, P // 4))


# --- equal scores ---------------------------------------------------------------------------------


def test_equal_scores_are_chosen_from_by_seed_and_client(tmp_path: Path) -> None:
    """Zeros have no magnitude: by their places every client would keep the same first half."""

    def mask(client: int, **values: Any) -> torch.Tensor:
        cfg = config(mask__rule="low_magnitude", mask__scope="per_client", **values)
        found = calibration(cfg, tmp_path)
        found.start.zero_()
        return found(client).mask

    first = mask(0)
    assert int(first.sum()) == P // 2
    assert not first[: P // 2].all()
    assert torch.equal(mask(0), first)
    assert not torch.equal(mask(1), first)
    assert not torch.equal(mask(0, seed=1), first)


def test_layers_behind_dropped_ones_are_chosen_from_by_seed(tmp_path: Path) -> None:
    """Dropped weights that count nothing at all stop every gradient: by their places the first
    entries of the first layer would be chosen.
    """

    def mask(rounds: int, sparsity: float, seed: int) -> torch.Tensor:
        cfg = config(
            mask__dropped_weight=0.0, mask__rounds=rounds, mask__sparsity=sparsity, seed=seed
        )
        deep = torch.nn.Sequential(torch.nn.Linear(WIDTH, 6), torch.nn.Linear(6, CLASSES))
        with torch.no_grad():
            deep[0].weight.fill_(1.0)
            deep[0].bias.fill_(9.0)
            deep[1].weight.fill_(1e-3)  # the sensitive ones: they go first
        model, fed = FlatModule(deep), linear_federation()
        machine = Machine(cache_dir=tmp_path)
        start = model.flat.clone()
        found = Calibration(Parties(cfg, machine, model, fed.train, fed.shards, start))
        return found(0).mask

    first = mask(1, 0.5, 0)
    assert not first[6 * (WIDTH + 1) :].any()  # nothing of the second layer is left
    chosen = mask(2, 0.75, 0)  # of those that are left half, all of score 0
    left = first.nonzero().flatten()
    assert set(chosen.nonzero().flatten().tolist()) < set(left.tolist())
    assert not chosen[left[: int(chosen.sum())]].all()


# --- an absolute threshold ------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["shared", "per_client"])
@pytest.mark.parametrize("source", ["server", "scores"])
def test_a_threshold_keeps_what_fisher_says(scope: str, source: str, tmp_path: Path) -> None:
    """On the server, on a client, and on the clients' average."""
    values = {"mask__sparsity": 0.0, "mask__scope": scope}
    if scope == "shared":
        values["mask__source"] = source
    found = calibration(config(**values, mask__threshold=0.05), tmp_path)
    assert found.config.mask.in_force
    if scope == "per_client":
        wanted = sensitivity(found.parties, 3, found.parties.shards[3])
    elif source == "server":
        wanted = sensitivity(found.parties, SERVER, found.parties.server_pool)
    else:
        parts = [
            sensitivity(found.parties, c, shard) for c, shard in enumerate(found.parties.shards)
        ]
        wanted = torch.stack(parts).mean(0)  # of equal sizes
    mask = found(3).mask
    assert torch.equal(mask, wanted < 0.05)
    assert 0 < int(mask.sum()) < P
    metrics, _ = found.report([3 if scope == "per_client" else SERVER])
    assert metrics["mask_active"] == int(mask.sum())
    assert metrics["mask_added"] == 0


def test_a_threshold_has_a_key_of_its_own(tmp_path: Path) -> None:
    for number, value in enumerate((0.05, 0.1), 1):
        calibration(config(mask__sparsity=0.0, mask__threshold=value), tmp_path)(0)
        assert len(list(tmp_path.iterdir())) == number


def test_summed_client_scores_weigh_examples(tmp_path: Path) -> None:
    found = calibration(config(mask__source="scores"), tmp_path)
    found.parties.shards = [found.parties.shards[0], np.concatenate(found.parties.shards[1:])]
    sizes = np.array([len(shard) for shard in found.parties.shards])
    parts = [
        sensitivity(found.parties, client, shard)
        for client, shard in enumerate(found.parties.shards)
    ]
    total = sum(part * float(n) for part, n in zip(parts, sizes / sizes.sum(), strict=True))
    assert isinstance(total, torch.Tensor)
    assert torch.equal(found(0).mask, lowest(total, P // 2))


@pytest.mark.parametrize(("source", "least"), [("union", 1), ("intersection", 6), ("majority", 4)])
def test_client_masks_combine_to_a_shared_one(source: str, least: int, tmp_path: Path) -> None:
    own = calibration(config(mask__scope="per_client"), tmp_path / "own")
    votes = sum(own(client).mask.int() for client in range(6))
    shared = calibration(config(mask__source=source), tmp_path / "shared")
    assert torch.equal(shared(0).mask, votes >= least)
    assert torch.equal(shared(0).mask, shared(5).mask)
    assert shared.added(SERVER) == 0  # another number of entries is not the guard's doing


def test_masks_are_stored_packed_once_and_shared_by_trials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fields of the main stage give the same file; those of the mask another one."""
    calls = []

    def counted(*args: Any) -> torch.Tensor:
        calls.append(args)
        return fisher(*args)

    monkeypatch.setattr(module, "fisher", counted)
    base = config()
    wanted = calibration(base, tmp_path)(0).mask
    assert len(calls) == 1
    for values in (
        {"local.lr": 0.5}, {"rounds": 3}, {"schedule.name": "cosine"}, {"server.lr": 0.5},
        {"local.momentum": 0.9}, {"eval_every": 1}, {"keep": "best"},
    ):  # fmt: skip
        assert torch.equal(calibration(base.override(values), tmp_path)(0).mask, wanted)
    assert len(calls) == 1
    assert len(list(tmp_path.iterdir())) == 1
    for number, values in enumerate((
        {"mask.sparsity": 0.6}, {"mask.fisher": "talos"}, {"seed": 1}, {"head.rounds": 3},
        {"mask.examples": 9}, {"mask.rounds": 2}, {"mask.granularity": "tensor"},
    ), 2):  # fmt: skip
        calibration(base.override(values), tmp_path)(0)
        assert len(list(tmp_path.iterdir())) == number
    packed = load_artefact(next(tmp_path.iterdir()))[0]["mask"]
    assert packed.dtype == torch.uint8
    assert len(packed) == -(-P // 8)
    assert unpack(packed, P).dtype == torch.bool


def test_a_client_mask_is_computed_when_first_asked_for(tmp_path: Path) -> None:
    found = calibration(config(mask__scope="per_client"), tmp_path)
    assert not list(tmp_path.iterdir())
    found(4)
    assert [p.name.endswith("-4.safetensors") for p in tmp_path.iterdir()] == [True]


def test_the_guard_is_reported(tmp_path: Path) -> None:
    """High weights, low bias scores: without the guard the bias would be frozen altogether."""
    cfg = config(mask__rule="high_magnitude", mask__sparsity=0.9, mask__min_active=2)
    found = calibration(cfg, tmp_path)
    found.start[-CLASSES:] = 0
    assert int(found(0).mask.sum()) == round(0.1 * P) + 2
    assert found.added(SERVER) == 2


def test_hybrid_ends_are_its_parts(tmp_path: Path) -> None:
    def mask(**values: Any) -> torch.Tensor:
        return calibration(config(**values), tmp_path)(0).mask

    def hybrid(weight: float) -> torch.Tensor:
        return mask(mask__rule="hybrid", mask__hybrid_weight=weight)

    assert torch.equal(hybrid(1.0), mask())
    assert torch.equal(hybrid(0.0), mask(mask__rule="low_magnitude"))


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"mask__examples": 41}, "mask.examples=41: the server's calibration split has only 40"),
        ({"mask__scope": "per_client", "mask__examples": 11}, "client 0 has only 10 examples"),
        ({"mask__source": "union", "mask__examples": 11}, "client 0 has only 10 examples"),
        ({"mask__layers": "conv"}, "mask.layers='conv': "),
        ({"mask__sparsity": 0.999}, "mask.sparsity=0.999: freezes all 28 parameters"),
    ],
)
def test_what_cannot_be_calibrated_is_one_line_before_work(
    values: dict[str, Any], text: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        calibration(config(**values), tmp_path)
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_rules_without_fisher_need_no_examples(tmp_path: Path) -> None:
    cfg = config(mask__rule="random", mask__scope="per_client", mask__examples=10**6)
    assert int(calibration(cfg, tmp_path)(0).mask.sum()) == P // 2


def test_clients_without_enough_examples_for_their_fisher_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="client 0 has only 10 examples"):
        parties(config(mask__examples=11), tmp_path).check_clients()


def test_client_fisher_is_that_of_the_start(tmp_path: Path) -> None:
    found = parties(config(), tmp_path)
    wanted = sensitivity(found, 2, found.shards[2])
    found.model.flat.zero_()
    assert torch.equal(found.client_fisher(2), wanted)


def test_the_sum_of_all_clients_fisher_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = config()
    found = parties(cfg, tmp_path)
    wanted = sum(found.client_fisher(client).double() for client in range(6))
    assert isinstance(wanted, torch.Tensor)
    assert torch.equal(found.all_fisher(), wanted.float())
    monkeypatch.setattr(module, "fisher", None)
    assert torch.equal(parties(cfg, tmp_path).all_fisher(), wanted.float())


def test_calibration_leaves_no_trace_in_the_model_that_matters(tmp_path: Path) -> None:
    found = calibration(config(mask__rounds=3), tmp_path)
    start, trainable = (
        found.start.clone(),
        [p.requires_grad for p in found.model.module.parameters()],
    )
    found(0)
    assert torch.equal(found.start, start)
    assert [p.requires_grad for p in found.model.module.parameters()] == trainable
    assert isinstance(found.model, FlatModule)
