"""Ridge from summed statistics: the centralised solution, whatever the sharding."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from fl_core.base.rng import stream
from fl_core.config.sections import FederationConfig
from fl_core.data.sharding import shard
from fl_core.models.ridge import ridge_head, ridge_statistics, summed

CLASSES, WIDTH, EXAMPLES = 10, 24, 3000
SHARDINGS = {
    "iid": FederationConfig(clients=50),
    "one class a client": FederationConfig(clients=50, sharding="classes", classes_per_client=1),
    "dirichlet": FederationConfig(clients=50, sharding="dirichlet", alpha=0.1),
    "a thousand clients": FederationConfig(clients=1000),
}


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated features far from zero, on scales from 0.01 to 10: what backbones give."""
    rng = stream(0, "ridge")
    labels = rng.integers(0, CLASSES, EXAMPLES)
    centres = rng.standard_normal((CLASSES, WIDTH))
    mixed = rng.standard_normal((EXAMPLES, WIDTH)) @ rng.standard_normal((WIDTH, WIDTH))
    features = (centres[labels] + 0.5 * mixed + 3) * np.geomspace(0.01, 10, WIDTH)
    return torch.from_numpy(features).float(), torch.from_numpy(labels)


def head_of(shards: list[np.ndarray], ridge_lambda: float) -> torch.Tensor:
    features, labels = data()
    statistics = (ridge_statistics(features[s], labels[s], CLASSES) for s in shards)
    return ridge_head(*summed(statistics), ridge_lambda)


@pytest.mark.parametrize("name", SHARDINGS)
@pytest.mark.parametrize("ridge_lambda", [1e-4, 1.0])
def test_any_sharding_gives_the_centralised_head(name: str, ridge_lambda: float) -> None:
    _, labels = data()
    shards = shard(labels.numpy(), SHARDINGS[name], stream(0, "shard"))
    assert len(shards) == SHARDINGS[name].clients
    central = head_of([np.arange(EXAMPLES)], ridge_lambda)
    torch.testing.assert_close(head_of(shards, ridge_lambda), central, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("ridge_lambda", [1e-4, 0.01, 1.0, 100.0])
def test_equals_scikit_learn(ridge_lambda: float) -> None:
    """Its Ridge minimises ||XW + b - Y||^2 + alpha ||W||^2: alpha = lambda * n; b is free."""
    features, labels = data()
    wanted = Ridge(alpha=ridge_lambda * EXAMPLES, solver="svd")
    wanted.fit(features.double().numpy(), np.eye(CLASSES)[labels.numpy()])
    head = head_of(np.array_split(np.arange(EXAMPLES), 7), ridge_lambda)
    assert head.dtype == torch.float32
    weight, bias = head[: CLASSES * WIDTH].view(CLASSES, WIDTH), head[CLASSES * WIDTH :]
    np.testing.assert_allclose(weight, wanted.coef_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(bias, wanted.intercept_, rtol=1e-5, atol=1e-6)


def test_the_bias_is_not_penalised() -> None:
    """With an endless penalty only the bias is left: the class frequencies."""
    _, labels = data()
    head = head_of([np.arange(EXAMPLES)], 1e12)
    weight, bias = head[: CLASSES * WIDTH], head[CLASSES * WIDTH :]
    assert float(weight.abs().max()) < 1e-8
    frequencies = np.bincount(labels.numpy(), minlength=CLASSES) / EXAMPLES
    np.testing.assert_allclose(bias, frequencies, rtol=1e-5)


def test_statistics_by_hand() -> None:
    gram, target = ridge_statistics(torch.tensor([[1.0, 2.0], [3.0, 5.0]]), torch.tensor([1, 0]), 3)
    assert gram.dtype == target.dtype == torch.float64
    assert gram.tolist() == [[10, 17, 4], [17, 29, 7], [4, 7, 2]]
    assert target.tolist() == [[3, 1, 0], [5, 2, 0], [1, 1, 0]]


def test_the_clients_statistics_are_left_alone() -> None:
    features, labels = data()
    parts = [ridge_statistics(features[i::2], labels[i::2], CLASSES) for i in range(2)]
    before = [tensor.clone() for part in parts for tensor in part]
    first = ridge_head(*summed(parts), 1.0)
    assert all(
        torch.equal(a, b) for a, b in zip(before, [t for p in parts for t in p], strict=True)
    )
    assert torch.equal(first, ridge_head(*summed(parts), 1.0))
