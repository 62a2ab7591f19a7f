"""Every head in closed form: any sharding, any order of clients, its bytes, classes nobody has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from toy import LABELS, WIDTH, config

from fl_core import head_stage, stages
from fl_core.base.machine import Machine
from fl_core.base.rng import stream
from fl_core.federated.rounds import fedavg
from fl_core.federated.state import Federation
from fl_core.head_stage import CLOSED_FORMS
from fl_core.inputs import feature_federation
from fl_core.models.cof import cof_head, scatter_within
from fl_core.models.ncm import class_means, class_sums, ncm_head
from fl_core.trial import Trial, run_trial

CLASSES = 100  # of the toy features' task
EXACT = ("ridge", "ncm")  # whatever the sharding
SHARDINGS: dict[str, dict[str, Any]] = {
    "one class a client": {"federation__sharding": "classes", "federation__classes_per_client": 1,
                           "federation__clients": 100},
    "dirichlet": {"federation__sharding": "dirichlet", "federation__alpha": 0.1},
    "one client": {"federation__clients": 1, "federation__participation": 1.0},
}  # fmt: skip


def head_of(machine: Machine, method: str, **values: Any) -> torch.Tensor:
    head = head_stage.train_head(config(head__method=method, **values), machine)
    assert head is not None
    return head


# --- every one ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", CLOSED_FORMS)
def test_the_order_of_the_clients_changes_nothing(method: str, machine: Machine) -> None:
    cfg = config(head__method=method)
    form, fed = CLOSED_FORMS[method], feature_federation(cfg, machine)
    turned = replace(fed, shards=fed.shards[::-1])
    one, other = (form.head(form.sums(cfg, each), cfg.head) for each in (fed, turned))
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("method", EXACT)
@pytest.mark.parametrize("name", SHARDINGS)
def test_any_sharding_gives_the_same_head(method: str, name: str, machine: Machine) -> None:
    one = head_of(machine, method)
    torch.testing.assert_close(head_of(machine, method, **SHARDINGS[name]), one, rtol=1e-4,
                               atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("method", CLOSED_FORMS)
def test_it_is_stored_once_and_has_a_temperature(method: str, machine: Machine) -> None:
    plain = head_of(machine, method, head__temperature=1.0).clone()
    assert torch.equal(head_of(machine, method, head__temperature=0.25, local__lr=0.3), 4 * plain)
    assert len(list(machine.cache_dir.glob(f"{method}-*"))) == 1
    fit = head_stage.fitted_scale(config(head__method=method), machine)
    assert fit.evaluations >= 1
    torch.testing.assert_close(head_of(machine, method), fit.scale * plain)


@pytest.mark.parametrize("method", CLOSED_FORMS)
def test_each_has_a_temperature_of_its_own(method: str, machine: Machine) -> None:
    """One is not read where another asks for its own, though they read the same fields."""
    for other in CLOSED_FORMS:
        head_stage.fitted_scale(config(head__method=other), machine)
    assert len(list(machine.cache_dir.glob("temperature-*"))) == len(CLOSED_FORMS)


@pytest.mark.parametrize("method", CLOSED_FORMS)
def test_a_class_that_no_client_holds_has_zeros(method: str, machine: Machine) -> None:
    cfg = config(head__method=method)
    fed, form = feature_federation(cfg, machine), CLOSED_FORMS[method]
    labels = fed.train.labels
    shards = [shard[(labels[torch.from_numpy(shard)] != 3).numpy()] for shard in fed.shards]
    head = form.head(form.sums(cfg, replace(fed, shards=shards)), cfg.head)
    weight, bias = head[: CLASSES * WIDTH].view(CLASSES, WIDTH), head[CLASSES * WIDTH :]
    assert bool(torch.isfinite(head).all())
    assert weight[3].abs().max() < 1e-6
    assert abs(float(bias[3])) < 1e-6


@pytest.mark.parametrize("method", CLOSED_FORMS)
def test_a_frozen_head_keeps_its_bits(method: str, machine: Machine) -> None:
    values = {"mask__sparsity": 0.9, "mask__rounds": 1, "mask__examples": 8, "rounds": 2}
    cfg = config(head__method=method, **values)
    fed, start = stages.prepare(cfg, machine)
    assert fed.masks is not None
    mask = fed.masks(0).mask
    last = list(fedavg(cfg, fed, start))[-1].state.params
    assert torch.equal(last[~mask], start.params[~mask])
    assert not torch.equal(last[mask], start.params[mask])


@pytest.mark.parametrize("method", [*CLOSED_FORMS, "fedavg"])
def test_of_no_rounds_the_head_is_what_counts(
    method: str, machine: Machine, tmp_path: Path
) -> None:
    """One record, of the head as it is and of what it cost; found again by who comes later."""
    trial = Trial(config(head__method=method, rounds=0), machine, tmp_path / "trial")
    (record,) = trial.records()
    assert record["done"]
    assert not record["diverged"]
    assert record["val_accuracy"] == record["val_accuracy_start"] > 0.3
    assert (record["round"], record["local_steps"], record["bytes_up_main"]) == (0, 0, 0)
    assert record["bytes_up"] == record["bytes_up_head"] > 0
    again = Trial(config(head__method=method, rounds=0), machine, tmp_path / "trial")
    assert list(again.records()) == [record]
    metrics, _ = again.test_metrics()
    assert metrics["test_accuracy"] == metrics["test_accuracy_start"] > 0.3


@pytest.mark.parametrize("means", [1, 2])
@pytest.mark.parametrize("method", ["ncm", "cof"])
def test_means_are_counted_to_the_byte(method: str, means: int, machine: Machine) -> None:
    """A row for each class of a client, or each of its parts that has an example."""
    values: dict[str, Any] = {"head__means": means} if method == "cof" else {}
    values |= {"head__method": method, "head__temperature": 1.0, **SHARDINGS["dirichlet"]}
    record = list(run_trial(config(**values, rounds=1), machine))[-1]
    counts = feature_federation(config(**values), machine).class_counts
    rows = np.minimum(counts, means if method == "cof" else 1).sum(1)
    assert record["bytes_up_head"] == sum(16 + 4 * int(r) * (2 + WIDTH) for r in rows)
    assert record["bytes_down_head"] == 0


# --- class means ----------------------------------------------------------------------------------


def test_a_clients_message_by_hand() -> None:
    features = torch.tensor([[1.0, 2.0], [3.0, 5.0], [5.0, 6.0]])
    rows = class_means(features, torch.tensor([2, 0, 2]), 4)
    assert rows.tolist() == [[0, 1, 3, 5], [2, 2, 3, 4]]
    sums = class_sums([rows, rows], 4)
    assert sums.tolist() == [[2, 6, 10], [0, 0, 0], [4, 12, 16], [0, 0, 0]]
    wanted = [6 / 136**0.5, 10 / 136**0.5, 0, 0, 0.6, 0.8, 0, 0]
    assert ncm_head(sums).tolist() == pytest.approx([*wanted, 0, 0, 0, 0])


def test_parts_hold_every_example_once() -> None:
    rng = stream(0, "means")
    labels = torch.from_numpy(rng.integers(0, 7, 60))
    features = torch.from_numpy(rng.standard_normal((60, 3)))
    whole = class_sums([class_means(features, labels, 7)], 7)
    for means in (2, 5, 100):
        rows = class_means(features, labels, 7, means, stream(1, "means"))
        counts = torch.bincount(labels, minlength=7)
        assert len(rows) == int(counts.clamp(max=means).sum())
        torch.testing.assert_close(class_sums([rows], 7), whole, rtol=1e-6, atol=1e-5)
        sizes = [rows[rows[:, 0] == c, 1] for c in range(7)]
        assert all(float(s.max() - s.min()) <= 1 for s in sizes if len(s))


# --- covariances ----------------------------------------------------------------------------------


def examples(each: int = 40) -> tuple[torch.Tensor, torch.Tensor]:
    """Five classes of correlated features."""
    rng = stream(0, "cof")
    labels = np.repeat(np.arange(5), each)
    mixed = rng.standard_normal((len(labels), 4)) @ rng.standard_normal((4, 4))
    features = rng.standard_normal((5, 4))[labels] + 0.5 * mixed + 2
    return torch.from_numpy(features), torch.from_numpy(labels)


def scatter_of(parts: list[np.ndarray]) -> torch.Tensor:
    features, labels = examples()
    rows = [class_means(features[p], labels[p], 5) for p in parts]
    return scatter_within(rows, class_sums(rows, 5))


def true_scatter() -> np.ndarray:
    features, labels = (tensor.numpy() for tensor in examples())
    own = [features[labels == c] for c in range(5)]
    return np.sum([(len(x) - 1) * np.cov(x.T) for x in own], axis=0)


def test_with_an_example_a_client_it_is_the_scatter_within_classes() -> None:
    found = scatter_of(np.array_split(np.arange(200), 200))
    np.testing.assert_allclose(found, true_scatter(), rtol=1e-5, atol=1e-4)


def test_it_is_unbiased_over_random_shardings() -> None:
    """Clients of unequal sizes: the weights are examples."""
    found = []
    for seed in range(400):
        order = stream(seed, "shard").permutation(200)
        found.append(scatter_of(np.split(order, [5, 12, 40, 90])))
    spread = torch.stack(found).std(0) / 400**0.5
    gap = (torch.stack(found).mean(0) - torch.from_numpy(true_scatter())).abs()
    assert bool((gap < 4 * spread).all())
    assert float(spread.max()) < 0.05 * np.abs(true_scatter()).max()


def test_one_mean_of_a_class_says_nothing_of_its_covariance() -> None:
    _, labels = examples()
    assert not scatter_of([np.flatnonzero(labels.numpy() == c) for c in range(5)]).any()


@pytest.mark.parametrize("shrinkage", [0.1, 10.0])
def test_the_head_by_other_means(shrinkage: float) -> None:
    """Goswami et al. in numpy, class by class."""
    features, labels = (tensor.numpy() for tensor in examples())
    rows = class_means(*examples(), 5)
    scatter = scatter_of(np.array_split(np.arange(200), 200))
    head = cof_head(class_sums([rows], 5), scatter, shrinkage).numpy()
    gram = 200 * np.outer(features.mean(0), features.mean(0))
    for c in range(5):
        gram += 39 * (np.cov(features[labels == c].T) + shrinkage * np.eye(4))
    for c in range(5):
        row = np.linalg.solve(gram, features[labels == c].sum(0))
        np.testing.assert_allclose(head[4 * c : 4 * c + 4], row / np.linalg.norm(row), rtol=1e-4)
    assert not head[20:].any()


def test_an_endless_shrinkage_gives_the_class_means() -> None:
    """But for what the mean of all takes from them, which it shrinks away, too."""
    sums = class_sums([class_means(*examples(), 5)], 5)
    found = cof_head(sums, torch.zeros(4, 4, dtype=torch.float64), 1e9)
    torch.testing.assert_close(found, ncm_head(sums), rtol=1e-5, atol=1e-6)


def test_as_many_examples_as_classes_is_no_error() -> None:
    features = torch.eye(3, 4, dtype=torch.float64)
    sums = class_sums([class_means(features, torch.arange(3), 3)], 3)
    head = cof_head(sums, torch.zeros(4, 4, dtype=torch.float64), 1.0)
    assert bool(torch.isfinite(head).all())


def test_a_federation_says_how_far_its_means_are_apart(machine: Machine) -> None:
    """More means say more: of a class a client they are all there is."""
    values = {**SHARDINGS["one class a client"], "federation__clients": LABELS}
    fed: Federation = feature_federation(config(**values), machine)
    found = {}
    for means in (1, 3):
        cfg = config(head__method="cof", head__means=means, **values)
        found[means] = CLOSED_FORMS["cof"].sums(cfg, fed)["scatter"]
    assert not found[1].any()
    assert found[3].any()
