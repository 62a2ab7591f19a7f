"""Masks over the rounds: how many, which, for whom; SSFL's score; by hand."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_calibration import CLASSES, WIDTH, P, config, lowest, parties, sensitivity

from fl_core.federated.cost import Cost
from fl_core.federated.messages import encode, encode_mask, length_of, mask_length
from fl_core.federated.state import State
from fl_core.masks.calibration import Calibration
from fl_core.masks.changing import ChangingMasks
from fl_core.masks.parties import SERVER
from fl_core.masks.saliency import saliency
from fl_core.masks.shares import active_shares, sparsity_of

TEN: dict[str, Any] = {"rounds": 10, "mask__schedule": "linear", "mask__sparsity": 0.25,
                       "mask__sparsity_end": 0.75}  # fmt: skip


def counts(masks: ChangingMasks, client: int = 0, **state: Any) -> list[int]:
    start = State(masks.parties.start, **state)
    of = masks(start, [client]).of
    return [int(of(client, round).mask.sum()) for round in range(masks.config.rounds)]


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize(("first", "last"), [(0.25, 0.75), (0.9, 0.0)])
def test_exact_counts_along_one_ranking(
    schedule: str, first: float, last: float, tmp_path: Path
) -> None:
    cfg = config(**{**TEN, "mask__schedule": schedule, "mask__sparsity": first,
                    "mask__sparsity_end": last})  # fmt: skip
    progress = np.arange(10) / 9
    if schedule == "cosine":
        progress = (1 - np.cos(np.pi * progress)) / 2
    wanted = [round(P * (1 - s)) for s in (1 - progress) * first + progress * last]
    masks = ChangingMasks(parties(cfg, tmp_path))
    assert counts(masks) == wanted
    assert (wanted[0], wanted[-1]) == (round(P * (1 - first)), round(P * (1 - last)))
    scores = sensitivity(masks.parties, SERVER, masks.parties.server_pool)
    of = masks(State(masks.parties.start), [0]).of
    for number, count in enumerate(wanted):
        assert torch.equal(of(0, number).mask, lowest(scores, count))


@pytest.mark.parametrize("granularity", ["global", "tensor"])
def test_several_rounds_of_calibration_and_the_guard_keep_masks_nested(
    granularity: str, tmp_path: Path
) -> None:
    """The sparsest is the mask that a constant sparsity gives: to the entry, under one threshold;
    under one a tensor the rounds on the way there have other shares.
    """
    values = {"mask__rounds": 3, "mask__granularity": granularity, "mask__min_active": 3,
              "mask__rule": "hybrid", "mask__hybrid_weight": 0.5}  # fmt: skip
    masks = ChangingMasks(parties(config(**TEN, **values), tmp_path))
    of = masks(State(masks.parties.start), [0]).of
    seen = [of(0, round).mask for round in range(10)]
    assert all(not bool((small & ~large).any()) for large, small in pairwise(seen))
    exact = [round(P * (1 - masks.calibrator.sparsity(SERVER, r))) for r in range(10)]
    assert all(0 <= int(m.sum()) - n <= 3 for m, n in zip(seen, exact, strict=True))
    constant = Calibration(parties(config(mask__sparsity=0.75, **values), tmp_path))
    same = torch.equal(seen[-1], constant(0).mask)
    assert same or (granularity == "tensor" and seen[-1].sum() == constant(0).mask.sum())


def test_a_schedule_between_equal_ends_is_the_constant_mask(tmp_path: Path) -> None:
    same = {**TEN, "mask__sparsity_end": 0.25}
    masks = ChangingMasks(parties(config(**same), tmp_path))
    constant = Calibration(parties(config(mask__sparsity=0.25), tmp_path))
    of = masks(State(masks.parties.start), [0]).of
    assert all(torch.equal(of(0, round).mask, constant(0).mask) for round in range(10))


@pytest.mark.parametrize("scope", ["shared", "per_client"])
def test_calibrated_anew_on_the_parameters_of_the_round(scope: str, tmp_path: Path) -> None:
    cfg = config(mask__recalibrate=3, mask__scope=scope, mask__rule="high_magnitude")
    masks = ChangingMasks(parties(cfg, tmp_path))
    later = torch.roll(masks.parties.start, 5)
    state = masks(State(masks.parties.start), [4]).state
    for round, params, wanted in (
        (2, later, masks.parties.start),  # not due
        (3, later, later),
        (5, masks.parties.start, later),  # kept since
    ):
        made = masks(State(params, round=round, server=state.server, clients=state.clients), [4])
        state = made.state
        mask = made.of(4, round).mask
        assert torch.equal(mask, lowest(-wanted.abs(), P // 2))


def test_all_clients_score_anew_and_it_is_counted(tmp_path: Path) -> None:
    """R = 2, without the model: that is part of the main stage."""
    cfg = config(mask__recalibrate=3, mask__source="scores", mask__rounds=2, mask__sparsity=0.75)
    masks = ChangingMasks(parties(cfg, tmp_path))
    start = State(masks.parties.start)
    assert masks(start, [0]).sent is None
    count = P // 2
    up = 6 * (16 + 4 * P + 16 + 4 * count)
    first = masks.cost()
    assert first.up == up
    active = 16 + min(4 * count, (P + 7) // 8)
    assert first.down == 6 * (16 + 4 * P + active)
    assert masks(State(start.params, round=3), [0]).sent == Cost(up, 6 * active)


# --- by the clients' sizes ------------------------------------------------------------------------


def test_shares_follow_the_sizes() -> None:
    assert active_shares(0.5, 1, [1, 2, 3]) == pytest.approx([0.25, 0.5, 0.75])
    assert active_shares(0.5, -1, [1, 2, 4]) == pytest.approx([6 / 7, 3 / 7, 3 / 14])
    # the largest would have 1.2 (0.8 * 3 / 2): it has 1, and the others what is left
    assert active_shares(0.8, 1, [1, 2, 3]) == pytest.approx([1.4 / 3, 2.8 / 3, 1])
    assert active_shares(0.9, 4, [1, 10, 100]) == pytest.approx([0.7, 1, 1])
    assert sparsity_of(0.3, 0.0, [1, 2], 0) == 0.3
    for mean in (0.05, 0.4, 0.95):
        found = active_shares(mean, 1.5, [7, 1, 30, 4, 2])
        assert sum(found) / 5 == pytest.approx(mean)
        assert max(found) <= 1


def test_who_has_more_examples_trains_more(tmp_path: Path) -> None:
    found = parties(config(mask__scope="per_client", mask__size_power=1.0), tmp_path)
    everything = np.concatenate(found.shards)
    found.shards = np.split(everything, [10, 30])
    masks = Calibration(found)
    assert [int(masks(c).mask.sum()) for c in range(3)] == [
        round(P * 0.25), round(P * 0.5), round(P * 0.75)
    ]  # fmt: skip


# --- SSFL's score ---------------------------------------------------------------------------------


def test_saliency_of_a_linear_model_by_hand(tmp_path: Path) -> None:
    """d L / d W = mean over examples of (softmax - onehot) x^T, times W, absolute."""
    found = parties(config(), tmp_path)
    indices = np.arange(7)
    found.model.flat.copy_(found.start)
    weight, bias = found.start[:-CLASSES].view(CLASSES, WIDTH), found.start[-CLASSES:]
    inputs, labels = found.source.batch(torch.arange(7)), found.source.labels[:7]
    residual = (inputs @ weight.T + bias).softmax(1) - torch.eye(CLASSES)[labels]
    by_hand = torch.cat([(residual.T @ inputs / 7 * weight).flatten(), residual.mean(0) * bias])
    for batch in (2, 7):
        score = saliency(found.model, found.source, indices, batch)
        torch.testing.assert_close(score, by_hand.abs(), rtol=1e-5, atol=1e-7)
    assert torch.equal(found.model.flat, found.start)


def test_ssfl_keeps_the_highest_mean_of_the_clients(tmp_path: Path) -> None:
    """Of |g w| of each, weighted by their examples: not of the mean gradient."""
    found = parties(config(mask__rule="most_salient", mask__source="scores"), tmp_path)
    found.shards = [found.shards[0], np.concatenate(found.shards[1:])]
    total = torch.zeros(P)
    for client, shard in enumerate(found.shards):
        found.model.flat.copy_(found.start)
        total += found.saliency(client, found.config) * (len(shard) / 60)
    assert torch.equal(Calibration(found)(0).mask, lowest(-total, P // 2))


# --- lengths --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 5, 100])
def test_lengths_are_those_of_messages(count: int) -> None:
    mask = torch.arange(100) < count
    for encoding in ("dense", "index", "bitmap", "values"):
        assert length_of(100, count, encoding) == len(encode(torch.zeros(100), mask, encoding))
    assert mask_length(100, count) == len(encode_mask(mask))
