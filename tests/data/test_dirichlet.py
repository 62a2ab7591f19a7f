"""The two Dirichlet shardings: what each source says of classes and sizes, and contract 4."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_sharding import labels_of, spread, table_of, unbalanced

from fl_core.base.rng import stream
from fl_core.data import dirichlet
from fl_core.data.sharding import class_counts, shard_dirichlet, shard_dirichlet_labels, shard_iid

Array = np.ndarray[Any, Any]
CIFAR = labels_of([450] * 100)  # CIFAR-100's training examples


def counts_of(labels: Array, clients: int, alpha: float, seed: int = 0) -> Array:
    return table_of(labels, shard_dirichlet(labels, clients, alpha, stream(seed, "shard")))


def label_counts(labels: Array, clients: int, alpha: float, seed: int = 0) -> Array:
    return table_of(labels, shard_dirichlet_labels(labels, clients, alpha, stream(seed, "shard")))


def log_rise(start: float, steps: int) -> float:
    """log of start (start + 1) ... (start + steps - 1)."""
    return math.lgamma(start + steps) - math.lgamma(start)


def expected_classes(alpha: float, classes: int, examples: int) -> float:
    """Distinct classes among `examples` draws from q ~ Dir(alpha / classes, ...): each class is
    missed with E[(1 - q_c)^n], q_c ~ Beta(a, alpha - a).
    """
    a = alpha / classes
    missed = math.exp(log_rise(alpha - a, examples) - log_rise(alpha, examples))
    return classes * (1 - missed)


# --- a mix for each client (Hsu et al. 2019) ------------------------------------------------------


@pytest.mark.parametrize("alpha", [1e-300, 0.01, 1.0, 1000.0, 1e300])
@pytest.mark.parametrize("clients", [1, 10, 100, 1000])
@pytest.mark.parametrize("kind", ["balanced", "long tail"])
def test_sizes_are_equal(kind: str, clients: int, alpha: float) -> None:
    counts = counts_of(CIFAR if kind == "balanced" else labels_of(unbalanced(kind)), clients, alpha)
    assert len(counts) == clients
    assert spread(counts.sum(axis=1)) <= 1


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(1, 30),
    st.floats(1e-3, 1e3), st.integers(0, 2**32),
)  # fmt: skip
def test_any_request(sizes: list[int], clients: int, alpha: float, seed: int) -> None:
    assume(clients <= sum(sizes))
    counts = counts_of(labels_of(sizes), clients, alpha, seed)
    assert len(counts) == clients
    assert spread(counts.sum(axis=1)) <= 1


def test_a_client_draws_about_three_of_a_hundred_classes_at_alpha_03() -> None:
    """The concentrations sum to alpha, not to alpha times the classes (which gives 63)."""
    assert expected_classes(0.3, 100, 450) == pytest.approx(2.85, abs=0.01)
    logs = dirichlet.log_draws(np.full(100, 0.3 / 100), 1000, stream(0, "mix"))
    drawn = stream(0, "counts").multinomial(450, np.exp(logs))
    assert (drawn > 0).sum(axis=1).mean() == pytest.approx(2.85, abs=0.15)
    held = np.mean([(counts_of(CIFAR, 100, 0.3, seed) > 0).sum(axis=1) for seed in range(3)])
    assert 2.8 < held < 4.5  # a few more than drawn: popular classes run out


@pytest.mark.parametrize("alpha", [0.01, 0.1, 1.0, 10.0, 100.0])
def test_the_number_of_classes_a_client_holds(alpha: float) -> None:
    held = (counts_of(CIFAR, 100, alpha) > 0).sum(axis=1).mean()
    expected = expected_classes(alpha, 100, 450)
    assert 0.95 * expected < held < 1.1 * expected + 1.5


@pytest.mark.parametrize("alpha", [1.0, 10.0, 100.0])
def test_a_clients_place_does_not_matter(alpha: float) -> None:
    """Filling clients one after the other from drawn mixes alone leaves the last ones scraps: 15
    classes where others hold 89 (alpha = 100).
    """
    held = (counts_of(CIFAR, 100, alpha) > 0).sum(axis=1)
    assert held[-10:].mean() == pytest.approx(held[:-10].mean(), rel=0.25)


def test_clients_hold_their_drawn_mix_where_nothing_runs_out() -> None:
    """One client's own concentration shows in what it holds: the variance of Dir(alpha p)."""
    counts = counts_of(CIFAR, 100, 30.0)
    assert (counts / 450).var() == pytest.approx(0.01 * 0.99 / 31, rel=0.1)


def test_larger_alpha_mixes_more() -> None:
    shares = [counts_of(CIFAR, 100, alpha) / 450 for alpha in (0.01, 0.1, 1.0, 10.0, 1000.0)]
    entropy = [-(q * np.log(np.where(q > 0, q, 1))).sum(axis=1).mean() for q in shares]
    assert all(after > before + 0.1 for before, after in pairwise(entropy))
    assert entropy[0] < 0.1 * math.log(100)
    assert entropy[-1] > 0.98 * math.log(100)


def test_large_alpha_tends_to_the_prior() -> None:
    totals = unbalanced("wide")
    assert np.abs(counts_of(labels_of(totals), 10, 1e8) - totals / 10).max() < 2


def test_a_thousand_is_more_even_than_iid() -> None:
    """As the docstrings say: iid clients differ by chance, these by nothing."""
    by_chance = class_counts(CIFAR, shard_iid(CIFAR, 100, stream(0, "shard")), 100)
    assert counts_of(CIFAR, 100, 1000.0).var() < 0.6 * by_chance.var()
    assert label_counts(CIFAR, 100, 1000.0).var() < 0.1 * by_chance.var()


def test_the_concentration_follows_the_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(concentration: Array, rows: int, rng: np.random.Generator) -> Array:
        seen.append(concentration)
        return np.full((rows, len(concentration)), -math.log(len(concentration)))

    monkeypatch.setattr(dirichlet, "log_draws", spy)
    shard_dirichlet(labels_of([10, 20, 70]), 5, 2.0, stream(0, "shard"))
    shard_dirichlet(labels_of([30, 30, 30]), 5, 2.0, stream(0, "shard"))
    assert np.allclose(seen, [[0.2, 0.4, 1.4], [2 / 3] * 3])


@pytest.mark.parametrize("alpha", [0.02, 0.5, 20.0])
def test_draws_have_the_moments_of_a_dirichlet(alpha: float) -> None:
    concentration = alpha * np.array([1.0, 2.0, 5.0])
    mix = np.exp(dirichlet.log_draws(concentration, 20_000, stream(0, "mix")))
    mean = concentration / concentration.sum()
    variance = mean * (1 - mean) / (concentration.sum() + 1)
    assert np.allclose(mix.sum(axis=1), 1)
    assert np.allclose(mix.mean(axis=0), mean, atol=4 * np.sqrt(variance.max() / 20_000))
    assert np.allclose(mix.var(axis=0), variance, rtol=0.05)


def test_scaled_mixes_ask_for_what_there_is() -> None:
    """Against iterative proportional fitting in plain numbers, where these do not underflow."""
    mix, totals = stream(0, "mix").dirichlet([1.0] * 3, size=4), np.array([2000, 3000, 1000])
    table = 1500 * mix
    for _ in range(dirichlet.SWEEPS):
        table *= totals / table.sum(axis=0)
        table *= (1500 / table.sum(axis=1))[:, None]
    scaled = dirichlet._scaled(np.log(mix), totals)
    assert np.allclose(1500 * np.exp(scaled), table)
    assert np.allclose(table.sum(axis=0), totals, rtol=0.01)


# --- a split over the clients for each class (Yurochkin et al. 2019, NIID-Bench) ------------------


@pytest.mark.parametrize("alpha", [0.05, 0.3, 1.0, 1000.0, 1e300])
@pytest.mark.parametrize("clients", [1, 10, 100])
@pytest.mark.parametrize("kind", ["balanced", "wide"])
def test_every_client_has_ten_examples(kind: str, clients: int, alpha: float) -> None:
    counts = label_counts(CIFAR if kind == "balanced" else labels_of(unbalanced(kind)), clients,
                          alpha)  # fmt: skip
    assert len(counts) == clients
    assert counts.sum(axis=1).min() >= 10


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=8), st.integers(1, 5),
    st.floats(3, 1e3), st.integers(0, 2**32),
)  # fmt: skip
def test_any_split(sizes: list[int], clients: int, alpha: float, seed: int) -> None:
    assume(sum(sizes) > 20 * clients)
    counts = label_counts(labels_of(sizes), clients, alpha, seed)
    assert len(counts) == clients
    assert counts.sum(axis=1).min() >= 10


@pytest.mark.parametrize("alpha", [0.1, 0.3, 1.0])
def test_a_clients_classes_and_size_are_those_of_independent_splits(alpha: float) -> None:
    """Share of a class at a client: Beta(alpha, (K - 1) alpha). It holds the class with
    probability min(450 share, 1); sizes have the variance of 100 independent shares.
    """
    counts = label_counts(CIFAR, 100, alpha)
    shares = stream(0, "beta").beta(alpha, 99 * alpha, 200_000)
    held = 100 * np.minimum(450 * shares, 1).mean()
    assert (counts > 0).sum(axis=1).mean() == pytest.approx(held, rel=0.03)
    deviation = 450 * math.sqrt(100 * 0.01 * 0.99 / (100 * alpha + 1))
    assert counts.sum(axis=1).std() == pytest.approx(deviation, rel=0.25)


def test_cuts_are_the_shares_rounded_up_or_down() -> None:
    """And on average the shares themselves, whatever a client's place."""
    shares, totals = np.array([[0.004, 0.5, 0.496], [0.25, 0.0, 0.75]]), np.array([100, 7])
    rng = stream(0, "cuts")
    every = np.array([dirichlet._cut(shares, totals, rng) for _ in range(4000)])
    exact = (shares * totals[:, None]).T
    assert (np.abs(every - exact) < 1).all()
    assert (every.sum(axis=1) == totals).all()
    assert np.allclose(every.mean(axis=0), exact, atol=0.03)
