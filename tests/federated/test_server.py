"""The server: who takes part, and the average by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_core.base.rng import stream
from fl_core.config.sections import FederationConfig, ServerConfig
from fl_core.federated.client import Update
from fl_core.federated.server import aggregate, num_sampled, select_clients


def update(params: list[float] | torch.Tensor, examples: int, loss: float = 0.0) -> Update:
    tensor = torch.as_tensor(params, dtype=torch.float32)
    return Update(tensor, examples, torch.tensor(loss), 3 * examples, None)


def bits(tensor: torch.Tensor) -> list[int]:
    return tensor.view(torch.int32).tolist()  # type: ignore[no-any-return]


def test_average_weighs_clients_by_their_examples() -> None:
    server = torch.tensor([1.0, 0.0])
    new, _ = aggregate(server, [update([2.0, 4.0], 1), update([6.0, 0.0], 3)], ServerConfig())
    assert new.tolist() == [5.0, 1.0]  # (2 + 3 * 6) / 4, (4 + 0) / 4; equal weights: 4 and 2
    assert server.tolist() == [1.0, 0.0]


def test_server_learning_rate_scales_the_step() -> None:
    updates = [update([2.0, 4.0], 1), update([6.0, 0.0], 3)]
    half, _ = aggregate(torch.tensor([1.0, 0.0]), updates, ServerConfig(lr=0.5))
    double, _ = aggregate(torch.tensor([1.0, 0.0]), updates, ServerConfig(lr=2.0))
    assert half.tolist() == [3.0, 0.5]
    assert double.tolist() == [9.0, 2.0]


def test_summary_by_hand() -> None:
    """Losses weigh by examples, drift is the plain mean of the clients' distances."""
    updates = [update([3.0, 4.0], 1, loss=1.0), update([0.0, 1.0], 3, loss=2.0)]
    _, summary = aggregate(torch.zeros(2), updates, ServerConfig())
    assert summary.train_loss == pytest.approx((1 + 3 * 2) / 4)
    assert summary.client_drift == pytest.approx((5 + 1) / 2)
    assert summary.images == 12
    assert summary.velocity is None
    last = updates[1]._replace(velocity=torch.ones(2))
    assert torch.equal(aggregate(torch.zeros(2), [last], ServerConfig())[1].velocity, torch.ones(2))  # type: ignore[arg-type]


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(pairs=st.lists(st.tuples(finite, finite), min_size=1), examples=st.integers(1, 50_000))
def test_one_client_gives_exactly_its_parameters(
    pairs: list[tuple[float, float]], examples: int
) -> None:
    server, client = torch.tensor(pairs).T.contiguous()
    new, _ = aggregate(server, [update(client, examples)], ServerConfig())
    assert bits(new) == bits(client)


def test_one_client_exactly_where_differences_would_cancel() -> None:
    """1e30 + (1e-30 - 1e30) is 0 even in float64: parameters must be averaged, not steps."""
    server = torch.tensor([1.0, 1e30, 1.0, -3.0, 1e-30, 3e38, 1e-45, 0.5])
    client = torch.tensor([1e-10, 1e-30, 0.0, 2.0, 1e30, -3e38, -1.0, -0.0])
    new, _ = aggregate(server, [update(client, 437)], ServerConfig())
    assert bits(new) == bits(client)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(
    values=st.lists(finite, min_size=1),
    examples=st.lists(st.integers(1, 50_000), min_size=1, max_size=12),
    lr=st.sampled_from([1.0, 0.1, 0.7, 1.3, 3.0]),
)
def test_what_no_client_changed_stays_to_the_bit(
    values: list[float], examples: list[int], lr: float
) -> None:
    server = torch.tensor([*values, 1.0, -0.0])
    moved = server.clone()
    moved[-2] = 2.0
    updates = [update(moved, n) for n in examples]
    new, _ = aggregate(server, updates, ServerConfig(lr=lr))
    kept = [i for i in range(len(server)) if i != len(server) - 2]
    assert bits(new[kept]) == bits(server[kept])
    assert float(new[-2]) == pytest.approx(1 + lr, rel=1e-6)


def test_average_of_many_is_as_good_as_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(100, 50, generator=generator)
    weights = torch.randint(1, 600, (100,), generator=generator)
    updates = (update(p, int(n)) for p, n in zip(params, weights, strict=True))  # one at a time
    new, _ = aggregate(torch.randn(50, generator=generator), updates, ServerConfig())
    mean = (weights.double() @ params.double()) / weights.sum()
    torch.testing.assert_close(new, mean.float(), rtol=1e-7, atol=1e-9)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(clients=st.integers(1, 10_000), fraction=st.floats(1e-4, 1), round=st.integers(0, 99))
def test_selection_is_distinct_and_in_range(clients: int, fraction: float, round: int) -> None:
    config = FederationConfig(clients=clients, participation=fraction)
    chosen = select_clients(config, stream(0, "clients", round))
    assert len(chosen) == num_sampled(config)
    assert abs(len(chosen) - fraction * clients) <= 0.5 or len(chosen) == 1
    assert (np.diff(chosen) > 0).all()
    assert chosen.min() >= 0
    assert chosen.max() < clients


@pytest.mark.parametrize(
    ("clients", "fraction", "count"),
    [(100, 0.1, 10), (100, 1.0, 100), (10, 0.01, 1), (1, 0.1, 1), (10_000, 0.01, 100)],
)
def test_how_many_are_selected(clients: int, fraction: float, count: int) -> None:
    assert num_sampled(FederationConfig(clients=clients, participation=fraction)) == count


def test_everyone_is_chosen_in_time_and_equally_often() -> None:
    config = FederationConfig(clients=10_000, participation=0.1)
    chosen = [select_clients(config, stream(3, "clients", r)) for r in range(200)]
    counts = np.bincount(np.concatenate(chosen), minlength=10_000)
    assert counts.min() > 0  # expected 20 each; the chance of a single 0 is 1e-5
    assert counts.max() < 45
    assert np.var(counts) == pytest.approx(200 * 0.1 * 0.9, rel=0.1)  # binomial
    assert not np.array_equal(chosen[0], chosen[1])
