"""The server: who takes part, and the average by hand."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_core.config.mask_section import MaskConfig
from fl_core.config.method_sections import ServerConfig
from fl_core.config.sections import FederationConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.table import aggregate
from fl_core.federated.rule import PLAIN
from fl_core.federated.selections.uniform import uniform_sample
from fl_core.federated.server import server_step
from fl_core.federated.state import State
from fl_core.federated.update import Measured, Update


def update(params: list[float] | torch.Tensor, examples: int, loss: float = 0.0) -> Update:
    tensor = torch.as_tensor(params, dtype=torch.float32)
    sent = {"params": tensor}
    return Update(0, 0, examples, examples, sent, {}, torch.tensor(loss), 3 * examples)


def aggregated(
    server: torch.Tensor,
    updates: Iterable[Update],
    step: ServerConfig | None = None,
    average: str = "senders",
) -> tuple[torch.Tensor, Measured]:
    """The server's next parameters, and what it measured."""
    mask = MaskConfig(scope="per_client", average=average)
    config = TrialConfig(server=step or ServerConfig(), mask=mask)
    measured = Measured(server)
    target = aggregate(measured.passing(updates), measured.start, config)
    return server_step(config, PLAIN, State(server), target, measured).params, measured


def selected(config: FederationConfig, seed: int, round: int) -> np.ndarray:
    trial = TrialConfig(federation=config, seed=seed)
    return uniform_sample(trial, round)


def bits(tensor: torch.Tensor) -> list[int]:
    return tensor.view(torch.int32).tolist()  # type: ignore[no-any-return]


def test_average_weighs_clients_by_their_examples() -> None:
    server = torch.tensor([1.0, 0.0])
    new, _ = aggregated(server, [update([2.0, 4.0], 1), update([6.0, 0.0], 3)])
    assert new.tolist() == [5.0, 1.0]  # (2 + 3 * 6) / 4, (4 + 0) / 4; equal weights: 4 and 2
    assert server.tolist() == [1.0, 0.0]


def test_server_learning_rate_scales_the_step() -> None:
    updates = [update([2.0, 4.0], 1), update([6.0, 0.0], 3)]
    half, _ = aggregated(torch.tensor([1.0, 0.0]), updates, ServerConfig(lr=0.5))
    double, _ = aggregated(torch.tensor([1.0, 0.0]), updates, ServerConfig(lr=2.0))
    assert half.tolist() == [3.0, 0.5]
    assert double.tolist() == [9.0, 2.0]


def test_summary_by_hand() -> None:
    """Losses weigh by examples, drift is the plain mean of the clients' distances."""
    updates = [update([3.0, 4.0], 1, loss=1.0), update([0.0, 1.0], 3, loss=2.0)]
    _, summary = aggregated(torch.zeros(2), updates)
    assert summary.train_loss == pytest.approx((1 + 3 * 2) / 4)
    assert summary.drift["client_drift"] == pytest.approx((5 + 1) / 2)
    assert summary.images == 12
    assert summary.clients.clients() == []
    last = updates[1]._replace(kept={"velocity": torch.ones(2)})
    _, summary = aggregated(torch.zeros(2), [last])
    assert torch.equal(summary.clients.of(0)["velocity"], torch.ones(2))


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(derandomize=True, max_examples=300, deadline=None)
@given(pairs=st.lists(st.tuples(finite, finite), min_size=1), examples=st.integers(1, 50_000))
def test_one_client_gives_exactly_its_parameters(
    pairs: list[tuple[float, float]], examples: int
) -> None:
    server, client = torch.tensor(pairs).T.contiguous()
    new, _ = aggregated(server, [update(client, examples)])
    assert bits(new) == bits(client)


def test_one_client_exactly_where_differences_would_cancel() -> None:
    """1e30 + (1e-30 - 1e30) is 0 even in float64: parameters must be averaged, not steps."""
    server = torch.tensor([1.0, 1e30, 1.0, -3.0, 1e-30, 3e38, 1e-45, 0.5])
    client = torch.tensor([1e-10, 1e-30, 0.0, 2.0, 1e30, -3e38, -1.0, -0.0])
    new, _ = aggregated(server, [update(client, 437)])
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
    new, _ = aggregated(server, updates, ServerConfig(lr=lr))
    kept = [i for i in range(len(server)) if i != len(server) - 2]
    assert bits(new[kept]) == bits(server[kept])
    assert float(new[-2]) == pytest.approx(1 + lr, rel=1e-6)


def test_average_of_many_is_as_good_as_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(100, 50, generator=generator)
    weights = torch.randint(1, 600, (100,), generator=generator)
    updates = (update(p, int(n)) for p, n in zip(params, weights, strict=True))  # one at a time
    new, _ = aggregated(torch.randn(50, generator=generator), updates)
    mean = (weights.double() @ params.double()) / weights.sum()
    torch.testing.assert_close(new, mean.float(), rtol=1e-7, atol=1e-9)


@settings(derandomize=True, max_examples=100, deadline=None)
@given(clients=st.integers(1, 10_000), fraction=st.floats(1e-4, 1), round=st.integers(0, 99))
def test_selection_is_distinct_and_in_range(clients: int, fraction: float, round: int) -> None:
    config = FederationConfig(clients=clients, participation=fraction)
    chosen = selected(config, 0, round)
    assert len(chosen) == config.sampled
    assert abs(len(chosen) - fraction * clients) <= 0.5 or len(chosen) == 1
    assert (np.diff(chosen) > 0).all()
    assert chosen.min() >= 0
    assert chosen.max() < clients


@pytest.mark.parametrize(
    ("clients", "fraction", "count"),
    [(100, 0.1, 10), (100, 1.0, 100), (10, 0.01, 1), (1, 0.1, 1), (10_000, 0.01, 100)],
)
def test_how_many_are_selected(clients: int, fraction: float, count: int) -> None:
    assert FederationConfig(clients=clients, participation=fraction).sampled == count


def test_everyone_is_chosen_in_time_and_equally_often() -> None:
    config = FederationConfig(clients=10_000, participation=0.1)
    chosen = [selected(config, 3, r) for r in range(200)]
    counts = np.bincount(np.concatenate(chosen), minlength=10_000)
    assert counts.min() > 0  # expected 20 each; the chance of a single 0 is 1e-5
    assert counts.max() < 45
    assert np.var(counts) == pytest.approx(200 * 0.1 * 0.9, rel=0.1)  # binomial
    assert not np.array_equal(chosen[0], chosen[1])
