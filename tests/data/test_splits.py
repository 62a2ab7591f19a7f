"""Examples split over clients as their training examples are."""

from __future__ import annotations

import numpy as np
import pytest

from fl_core.base.rng import stream
from fl_core.config.sections import FederationConfig
from fl_core.data.sharding import class_counts, shard
from fl_core.data.splits import split_like

CLASSES = 10
SHARDINGS = {
    "iid": FederationConfig(clients=20),
    "one class": FederationConfig(clients=20, sharding="classes", classes_per_client=1),
    "skewed": FederationConfig(clients=20, sharding="dirichlet", alpha=0.3),
    "unequal": FederationConfig(clients=20, sharding="dirichlet_labels", alpha=0.5),
}


def labels_of(each: int) -> np.ndarray:
    return stream(0, "labels").permutation(np.repeat(np.arange(CLASSES), each))


@pytest.mark.parametrize("name", SHARDINGS)
def test_every_example_once_in_the_clients_shares(name: str) -> None:
    train, test = labels_of(200), labels_of(41)
    shards = shard(train, SHARDINGS[name], stream(0, "shard"))
    counts = class_counts(train, shards, CLASSES)
    split = split_like(test, counts, stream(0, "judge"))
    assert sorted(np.concatenate(split)) == list(range(len(test)))
    got = class_counts(test, split, CLASSES)
    wanted = counts * 41 / 200
    assert np.abs(got - wanted).max() < 1
    assert np.abs(got.sum(1) - wanted.sum(1)).max() < 2  # errors do not add up over the classes


def test_a_class_that_nobody_holds_is_nobodys() -> None:
    split = split_like(np.array([0, 1, 2, 2]), np.array([[3, 0, 5], [3, 0, 5]]), stream(0, "x"))
    assert sorted(np.concatenate(split)) == [0, 2, 3]


def test_another_stream_deals_others() -> None:
    counts = np.full((4, CLASSES), 5)
    one, other = (split_like(labels_of(40), counts, stream(seed, "x")) for seed in (0, 1))
    assert any(set(a) != set(b) for a, b in zip(one, other, strict=True))
