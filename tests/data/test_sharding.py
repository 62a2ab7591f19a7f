"""Contract 4: shards are disjoint, complete, of equal size and of exactly N_c classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_levelling import cuts, least_squares

from fl_core.base.errors import UserError
from fl_core.base.rng import stream
from fl_core.config.sections import FederationConfig
from fl_core.data.sharding import (
    class_counts,
    shard,
    shard_by_classes,
    shard_dirichlet,
    shard_dirichlet_labels,
    shard_iid,
)

Array = np.ndarray[Any, Any]
CLIENTS = (10, 100, 1000)
HELD = (1, 2, 5, 10, 50, 100)


def labels_of(totals: list[int] | Array) -> Array:
    """Labels in random order, `totals[c]` of class c."""
    return stream(0, "labels").permutation(np.repeat(np.arange(len(totals)), totals))


def unbalanced(kind: str) -> Array:
    rng = np.random.default_rng(7)
    totals = {
        "long tail": np.round(2000 * 0.01 ** (np.arange(100) / 99)),
        "random": rng.multinomial(45_000, rng.dirichlet(np.full(100, 3.0))),
        "wide": rng.integers(200, 1500, 100),  # enough examples for K = 1000, N_c = 50
        "a split at random": rng.multivariate_hypergeometric([500] * 100, 45_000),
    }
    return totals[kind].astype(int)


def places(totals: Array, clients: int) -> int:
    """The greatest number of (client, class) pairs with an example each."""
    return int(np.minimum(totals, clients).sum())


def table_of(labels: Array, shards: list[Array], used: int | None = None) -> Array:
    """The (clients, classes) counts, after the checks that every partition must pass."""
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() for part in shards)
    everything = np.concatenate(shards)
    assert len(np.unique(everything)) == len(everything) == (used or len(labels))
    assert everything.min() >= 0
    assert everything.max() < len(labels)
    return class_counts(labels, shards, int(labels.max()) + 1)


def spread(sizes: Array) -> int:
    return int(sizes.max() - sizes.min())


def check_by_classes(labels: Array, clients: int, held: int, seed: int = 0) -> Array:
    """Shard, check contract 4 with the documented bound, and return the counts."""
    totals = np.bincount(labels)
    shards = shard_by_classes(labels, clients, held, stream(seed, "shard"))
    present = np.flatnonzero(totals)
    short = clients * held < len(present)
    counts = table_of(labels, shards, sum(len(part) for part in shards) if short else None)
    assert len(shards) == clients
    assert ((counts > 0).sum(axis=1) == held).all()
    holders = (counts > 0).sum(axis=0)[present]
    if short:  # that many whole classes
        assert set(holders) == {0, 1}
        assert holders.sum() == clients * held
        assert set(counts[counts > 0]) <= set(totals)
        assert (counts.sum(axis=0) == np.where(counts.any(axis=0), totals, 0)).all()
    else:
        assert holders.min() >= 1
        assert (counts.sum(axis=0) == totals).all()
    share = totals[present][holders > 0] / holders[holders > 0]
    assert spread(counts.sum(axis=1)) <= 1 + math.ceil(share.max() - share.min() - 1e-9)
    return counts


# --- by classes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("clients", CLIENTS)
@pytest.mark.parametrize("per_class", [450, 500])
def test_balanced_grid(per_class: int, clients: int, held: int) -> None:
    labels = labels_of([per_class] * 100)
    if clients * held > len(labels):
        with pytest.raises(UserError, match=f"classes_per_client={held}"):
            shard_by_classes(labels, clients, held, stream(0, "shard"))
        return
    counts = check_by_classes(labels, clients, held)
    assert spread(counts.sum(axis=1)) <= 1
    if clients * held >= 100:  # every class has K * N_c / 100 holders, with equal parts
        share = per_class * 100 / (clients * held)
        assert set(counts[counts > 0]) == {math.floor(share), math.ceil(share)}


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("clients", CLIENTS)
@pytest.mark.parametrize("kind", ["long tail", "random", "wide", "a split at random"])
def test_unbalanced_grid(kind: str, clients: int, held: int) -> None:
    totals = unbalanced(kind)
    labels = labels_of(totals)
    if clients * held > places(totals, clients):
        with pytest.raises(UserError, match=f"classes_per_client={held}"):
            shard_by_classes(labels, clients, held, stream(0, "shard"))
        return
    counts = check_by_classes(labels, clients, held)
    if clients * held >= 500 and held >= 5:  # far more places than classes: nothing is in the way
        assert spread(counts.sum(axis=1)) <= 1


@pytest.mark.parametrize("held", [1, 2])
def test_ten_thousand_clients(held: int) -> None:
    counts = check_by_classes(labels_of([450] * 100), 10_000, held)
    assert set(counts.sum(axis=1)) == {4, 5}
    counts = check_by_classes(labels_of([500] * 100), 10_000, held)
    assert set(counts.sum(axis=1)) == {5}
    assert set((counts > 0).sum(axis=0)) == {100 * held}


def test_one_class_a_client_is_the_whole_class() -> None:
    """Published code divides a class by the number of clients: 4 images a client, 44600 unused."""
    labels = labels_of([450] * 100)
    counts = check_by_classes(labels, 100, 1)
    assert sorted(counts.argmax(axis=1)) == list(range(100))
    assert (counts.max(axis=1) == 450).all()


def test_fewer_places_than_classes_takes_random_whole_classes() -> None:
    labels = labels_of(unbalanced("random"))
    chosen = [check_by_classes(labels, 10, 2, seed).any(axis=0) for seed in range(2)]
    assert [mask.sum() for mask in chosen] == [20, 20]
    assert (chosen[0] != chosen[1]).any()


def test_whole_classes_are_combined_to_even_sizes() -> None:
    """K * N_c = classes: no class can be cut, only the choice of classes evens the sizes out."""
    counts = check_by_classes(labels_of(unbalanced("wide")), 10, 10)
    assert spread(counts.sum(axis=1)) <= 0.01 * counts.sum(axis=1).mean()


@pytest.mark.parametrize("kind", ["balanced", "a split at random", "long tail"])
def test_clients_do_not_come_in_groups_with_the_same_classes(kind: str) -> None:
    """Evening the loads out while choosing the holders did that: 100 clients, 70 sets."""
    totals = [450] * 100 if kind == "balanced" else unbalanced(kind)
    held = (check_by_classes(labels_of(totals), 100, 10) > 0).astype(int)
    assert len(np.unique(held, axis=0)) >= 99
    overlap = (held @ held.T)[np.triu_indices(100, 1)]
    assert overlap.var() < 2.5 * 0.82  # 10 of 100 classes at random: hypergeometric, 0.82


def test_a_client_takes_about_its_share_of_each_class() -> None:
    """Few classes a client and a long tail: sizes are evened out by a little of every class."""
    counts = check_by_classes(labels_of(unbalanced("long tail")), 100, 5)
    share = counts.sum(axis=0) / (counts > 0).sum(axis=0)
    ratio = (counts / share)[counts > 0]
    assert ratio.min() > 0.7
    assert ratio.max() < 1.4


def test_who_gets_which_example_of_a_class_is_random() -> None:
    parts = shard_by_classes(np.zeros(200, dtype=int), 2, 1, stream(0, "shard"))
    assert [len(part) for part in parts] == [100, 100]
    assert 30 < (parts[0] < 100).sum() < 70


@st.composite
def small_cases(draw: st.DrawFn) -> tuple[Array, int, int]:
    totals = np.array(draw(st.lists(st.integers(0, 30), min_size=1, max_size=8)))
    clients, held = draw(st.integers(1, 12)), draw(st.integers(1, 8))
    present = int((totals > 0).sum())
    assume(held <= present and clients <= totals.sum())
    assume(clients * held <= max(present, places(totals, clients)))
    return totals, clients, held


@settings(max_examples=200, deadline=None, derandomize=True)
@given(small_cases(), st.integers(0, 2**32))
def test_any_feasible_request(case: tuple[Array, int, int], seed: int) -> None:
    totals, clients, held = case
    check_by_classes(labels_of(totals), clients, held, seed)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 4),
    st.integers(0, 2**32),
)  # fmt: skip
def test_no_other_counts_for_the_same_holders_are_more_even(
    sizes: list[int], clients: int, held: int, seed: int
) -> None:
    totals = np.array(sizes)
    assume(held <= len(totals) <= clients * held <= places(totals, clients))
    counts = check_by_classes(labels_of(totals), clients, held, seed)
    low = (counts > 0).astype(int)
    best = least_squares(totals, low, low * totals)
    assert (counts.sum(axis=1) ** 2).sum() == best


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 25), min_size=1, max_size=4), st.integers(1, 9))
def test_one_class_a_client_is_as_even_as_the_classes_allow(sizes: list[int], clients: int) -> None:
    assume(len(sizes) <= clients <= sum(sizes))
    counts = check_by_classes(labels_of(sizes), clients, 1)

    def squares(n: int, d: int) -> int:
        return sum(len(part) ** 2 for part in np.array_split(np.arange(n), d))

    holders = cuts(clients, [1] * len(sizes), sizes)
    best = min(sum(map(squares, sizes, d)) for d in holders)
    assert (counts.sum(axis=1) ** 2).sum() == best


def test_label_values_are_only_names() -> None:
    names = np.array([3, 50, 7])
    labels = np.repeat([0, 1, 2], [10, 20, 30])
    parts = shard_by_classes(labels, 6, 2, stream(0, "shard"))
    order = np.argsort(names)  # classes are visited by value
    renamed = shard_by_classes(names[order][labels], 6, 2, stream(0, "shard"))
    assert all((a == b).all() for a, b in zip(parts, renamed, strict=True))


# --- iid ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clients", [1, 7, 100, 10_000, 45_000])
def test_iid(clients: int) -> None:
    labels = labels_of([450] * 100)
    counts = table_of(labels, shard_iid(labels, clients, stream(0, "shard")))
    assert len(counts) == clients
    assert spread(counts.sum(axis=1)) <= 1
    if clients == 100:  # 4.5 of each class on average, hypergeometric: variance 4.41
        assert 4.2 < counts.var() < 4.7


# --- all of them ----------------------------------------------------------------------------------

Sharder = Callable[[Array, np.random.Generator], list[Array]]
SHARDERS: dict[str, Sharder] = {
    "iid": lambda labels, rng: shard_iid(labels, 30, rng),
    "classes": lambda labels, rng: shard_by_classes(labels, 30, 2, rng),
    "dirichlet": lambda labels, rng: shard_dirichlet(labels, 30, 0.3, rng),
    "dirichlet_labels": lambda labels, rng: shard_dirichlet_labels(labels, 30, 0.3, rng),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "iid": {}, "classes": {"classes_per_client": 2}, "dirichlet": {"alpha": 0.3},
    "dirichlet_labels": {"alpha": 0.3},
}  # fmt: skip


@pytest.mark.parametrize("name", SHARDERS)
def test_the_stream_alone_decides(name: str) -> None:
    labels = labels_of([80] * 10)

    def owners(seed: int) -> Array:
        shards = SHARDERS[name](labels, stream(seed, "shard"))
        result = np.full(len(labels), -1)
        for client, part in enumerate(shards):
            result[part] = client
        return result

    assert (owners(0) == owners(0)).all()
    assert (owners(0) != owners(1)).mean() > 0.5


@pytest.mark.parametrize("name", SHARDERS)
def test_shard_follows_the_configuration(name: str) -> None:
    labels = labels_of([80] * 10)
    config = FederationConfig(clients=30, sharding=name, **OPTIONS[name])
    found = shard(labels, config, stream(0, "shard"))
    wanted = SHARDERS[name](labels, stream(0, "shard"))
    assert len(found) == 30
    assert all((a == b).all() for a, b in zip(found, wanted, strict=True))


@pytest.mark.parametrize("name", ["classes", "dirichlet", "dirichlet_labels"])
def test_shard_needs_the_option_of_its_mode(name: str) -> None:
    with pytest.raises(UserError, match=f"federation.sharding='{name}'"):
        shard(labels_of([40] * 10), FederationConfig(sharding=name), stream(0, "shard"))


def test_class_counts_by_hand() -> None:
    labels = np.array([0, 2, 2, 1, 0])
    shards = [np.array([0, 1, 2]), np.array([4])]
    assert class_counts(labels, shards, 4).tolist() == [[1, 0, 2, 0], [1, 0, 0, 0]]


TEN = labels_of([10] * 10)
BAD: dict[str, tuple[str, Callable[[np.random.Generator], object]]] = {
    "iid: no client": ("clients=0: .*100", lambda r: shard_iid(TEN, 0, r)),
    "iid: more clients than examples": ("clients=101: .*100", lambda r: shard_iid(TEN, 101, r)),
    "classes: no client": ("clients=0:", lambda r: shard_by_classes(TEN, 0, 1, r)),
    "classes: more clients": ("clients=101:", lambda r: shard_by_classes(TEN, 101, 1, r)),
    "no class": ("classes_per_client=0: .*10", lambda r: shard_by_classes(TEN, 5, 0, r)),
    "absent classes": ("classes_per_client=11: .*10", lambda r: shard_by_classes(TEN, 5, 11, r)),
    "fewer examples a client than classes": (
        "classes_per_client=6: must be at most 5",
        lambda r: shard_by_classes(TEN, 20, 6, r),
    ),
    "classes too small for so many holders": (
        "classes_per_client=3: must be at most 2",
        lambda r: shard_by_classes(labels_of([1, 30, 30]), 10, 3, r),
    ),
    "dirichlet: no client": ("clients=-1:", lambda r: shard_dirichlet(TEN, -1, 1.0, r)),
    "dirichlet: more clients": ("clients=101:", lambda r: shard_dirichlet(TEN, 101, 1.0, r)),
    "alpha 0": ("alpha=0.0: ", lambda r: shard_dirichlet(TEN, 5, 0.0, r)),
    "alpha negative": ("alpha=-1.0: ", lambda r: shard_dirichlet(TEN, 5, -1.0, r)),
    "alpha infinite": ("alpha=inf: ", lambda r: shard_dirichlet(TEN, 5, math.inf, r)),
    "alpha not a number": ("alpha=nan: ", lambda r: shard_dirichlet(TEN, 5, math.nan, r)),
    "labels: no client": ("clients=0: .*10", lambda r: shard_dirichlet_labels(TEN, 0, 1.0, r)),
    "labels: fewer than ten examples a client": (
        r"clients=11: must be in \[1, 10\]",
        lambda r: shard_dirichlet_labels(TEN, 11, 1.0, r),
    ),
    "labels: alpha 0": ("alpha=0.0: ", lambda r: shard_dirichlet_labels(TEN, 5, 0.0, r)),
    "labels: someone would hold too little": (
        "alpha=0.001: in 100 draws .* must be larger",
        lambda r: shard_dirichlet_labels(TEN, 9, 0.001, r),
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_impossible_requests_get_one_clear_line(case: str) -> None:
    pattern, request = BAD[case]
    with pytest.raises(UserError, match="^federation." + pattern) as caught:
        request(stream(0, "shard"))
    assert "\n" not in str(caught.value)


def test_the_most_that_the_errors_allow_works() -> None:
    check_by_classes(TEN, 20, 5)
    check_by_classes(labels_of([1, 30, 30]), 10, 2)
    check_by_classes(TEN, 100, 1)
