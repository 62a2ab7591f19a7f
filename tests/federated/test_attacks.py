"""Attackers: who they are, what they alter, and what stays honest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_client import image_source
from test_fedavg import CLASSES, cnn_federation, config, linear_federation, run
from torch import Tensor

from fl_core.data.sources import FeatureSource, ImageSource
from fl_core.federated.attacks import attacked, attackers_of, falsified

START = torch.tensor([1.0, -0.0, 2.0, 3.0])
MASK = torch.tensor([True, False, True, True])


def test_more_attackers_are_the_fewer_ones_and_others() -> None:
    few, many = (
        set(attackers_of(config(attack__rule="label_flip", attack__share=share, seed=3)))
        for share in (0.1, 0.3)
    )
    assert (len(few), len(many)) == (10, 30)
    assert few < many
    assert few != set(attackers_of(config(attack__rule="label_flip", attack__share=0.1, seed=4)))
    assert attackers_of(config()) == []


def test_flipped_labels_are_those_of_the_attackers_alone() -> None:
    fed = linear_federation()
    cfg = config(federation__clients=6, attack__rule="label_flip", attack__share=0.5)
    other = attacked(cfg, fed)
    rows = np.concatenate([fed.shards[c] for c in other.attackers])
    mine = np.isin(np.arange(len(fed.train.labels)), rows)
    labels, before = other.train.labels.numpy(), fed.train.labels.numpy()
    assert len(other.attackers) == 3
    assert (labels[mine] == CLASSES - 1 - before[mine]).all()
    assert (labels[~mine] == before[~mine]).all()
    assert other.val is fed.val
    assert other.class_counts is fed.class_counts
    assert attacked(config(attack__rule="label_flip", attack__share=0.0), fed) is fed


def test_noise_on_features_has_the_size_of_the_features() -> None:
    fed = linear_federation(examples=600)
    cfg = config(federation__clients=6, attack__rule="noisy_inputs", attack__share=0.5,
                 attack__scale=2.0)  # fmt: skip
    other = attacked(cfg, fed)
    assert isinstance(fed.train, FeatureSource)
    assert isinstance(other.train, FeatureSource)
    rows = torch.from_numpy(np.concatenate([fed.shards[c] for c in sorted(other.attackers)]))
    added = other.train.features - fed.train.features
    unit = fed.train.features[:600].std(0, correction=0)
    torch.testing.assert_close(added[rows].std(0), 2 * unit, rtol=0.2, atol=0)
    added[rows] = 0
    assert not added.any()
    again = attacked(cfg, fed).train
    assert isinstance(again, FeatureSource)
    assert torch.equal(again.features, other.train.features)  # drawn once, a part of the example


def test_noise_on_images_leaves_pixels() -> None:
    fed = cnn_federation()
    cfg = config(federation__clients=5, attack__rule="noisy_inputs", attack__share=0.4)
    other = attacked(cfg, fed).train
    assert isinstance(other, ImageSource)
    before = image_source()
    assert other.pixels.dtype == torch.uint8
    assert other.pixels.shape == before.pixels.shape
    changed = (other.pixels != before.pixels).flatten(1).any(1)
    assert set(torch.where(changed)[0].tolist()) == {
        int(row) for client in attackers_of(cfg) for row in fed.shards[client]
    }


@pytest.mark.parametrize("rule", ["sign_flip", "gaussian"])
def test_what_is_sent_is_altered_where_it_trains(rule: str) -> None:
    cfg = config(federation__clients=6, attack__rule=rule, attack__share=1.0, attack__scale=3.0)
    fed = replace(linear_federation(), attackers=frozenset({2}))
    moved = torch.where(MASK, START + torch.tensor([0.5, 0.0, -1.0, 0.0]), START)
    honest = {"params": moved, "extra": MASK.float()}

    def told(client: int, round: int) -> dict[str, Tensor]:
        return dict(falsified(cfg, fed, client, round, honest, START, MASK))

    assert told(1, 0) == honest  # the same tensors
    found = told(2, 0)
    assert torch.signbit(found["params"][1])
    assert float(found["extra"][1]) == 0
    if rule == "sign_flip":
        assert found["params"].tolist() == [-0.5, -0.0, 5.0, 3.0]
        assert found["extra"].tolist() == [-3.0, 0.0, -3.0, -3.0]
    else:
        assert (found["params"] != honest["params"])[MASK].all()
        assert not torch.equal(found["params"], told(2, 1)["params"])  # fresh in every round
        assert torch.equal(found["params"], told(2, 0)["params"])


def test_who_attacks_is_told() -> None:
    fed = linear_federation(clients=6)
    cfg = config(federation__clients=6, federation__participation=0.5, rounds=3,
                 attack__rule="sign_flip", attack__share=0.5)  # fmt: skip
    results = run(cfg, attacked(cfg, fed))
    assert {result.metrics["attackers"] for result in results} == {3}
    rows = [row["attackers_round"] for result in results for row in result.rounds]
    assert all(0 <= count <= 3 for count in rows)
    assert sum(rows) > 0
    (honest, *_) = run(config(federation__clients=6, rounds=1), fed)
    assert "attackers" not in honest.metrics
    assert "attackers_round" not in honest.rounds[0]
