"""The loop: answers worked out by hand, exact resume, centralised training as a special case."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_client import cnn, image_source
from torch import nn

from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sharding import class_counts, shard_dirichlet_labels
from fl_core.data.sources import FeatureSource, Source
from fl_core.federated import results as loop
from fl_core.federated import turns
from fl_core.federated.client import plan_work
from fl_core.federated.memory import ClientMemory
from fl_core.federated.results import RoundResult
from fl_core.federated.rounds import fedavg
from fl_core.federated.selections.table import select
from fl_core.federated.state import Federation, State

CLASSES, WIDTH = 4, 6
TIMES = ("seconds_train", "seconds_eval", "seconds_overhead", "images_per_second",
         "peak_memory_bytes")  # fmt: skip


def config(**values: Any) -> TrialConfig:
    names = {name.replace("__", "."): value for name, value in values.items()}
    return TrialConfig().override({"eval_every": 1, **names})


def linear_federation(examples: int = 60, clients: int = 6, val: int = 40) -> Federation:
    rng = stream(0, "fedavg")
    labels = rng.integers(0, CLASSES, examples + val)
    centres = rng.standard_normal((CLASSES, WIDTH))
    features = centres[labels] + rng.standard_normal((examples + val, WIDTH))
    source = FeatureSource(torch.from_numpy(features).float(), torch.from_numpy(labels))
    model = nn.Linear(WIDTH, CLASSES)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    return federation(model, source, examples, clients)


def cnn_federation(clients: int = 5) -> Federation:
    return federation(cnn(), image_source(), 50, clients)


def federation(model: nn.Module, source: Source, examples: int, clients: int) -> Federation:
    """The first `examples` of the source cut over the clients, the rest for validation."""
    shards = np.array_split(stream(0, "shard").permutation(examples), clients)
    labels = source.labels.numpy()
    counts = class_counts(labels, shards, int(labels.max()) + 1)
    val = source.subset(np.arange(examples, len(labels))) if examples < len(labels) else None
    return Federation(FlatModule(model), source, val, shards, counts)


def run(cfg: TrialConfig, fed: Federation, state: State | None = None) -> list[RoundResult]:
    """All results; a fresh start from the model's own parameters unless a state is given."""
    return list(fedavg(cfg, fed, state or State(fed.model.flat.clone())))


def plain(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name not in TIMES}


def scripted(accuracies: list[float]) -> Callable[..., Any]:
    """An `evaluate` that gives these accuracies one after the other."""
    left = iter(accuracies)

    def evaluate(model: nn.Module, source: Source, precision: str, loss: Any) -> Any:
        total = np.ones(CLASSES, int)
        return loop.Evaluation(next(left), 1.0, total, total)

    return evaluate


# --- answers worked out by hand -----------------------------------------------------------------


def test_one_round_by_hand() -> None:
    """x -> two logits, from zero: each example's gradient is +-1/2 times (x, 1).

    Client A (one example, x = 1, class 0) goes to w = (1/2, -1/2), b = (1/2, -1/2); client B
    (three examples, x = 2, class 1) to w = (-1, 1), b = (-1/2, 1/2). Weights 1 : 3.
    """
    features = torch.tensor([[1.0], [2.0], [2.0], [2.0]])
    source = FeatureSource(features, torch.tensor([0, 1, 1, 1]))
    model = nn.Linear(1, 2)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    shards = [np.array([0]), np.array([1, 2, 3])]
    fed = Federation(FlatModule(model), source, source, shards, np.array([[1, 0], [0, 3]]))
    cfg = config(federation__clients=2, federation__participation=1.0, rounds=1,
                 local__steps=1, local__lr=1.0, local__batch_size=3)  # fmt: skip
    (result,) = run(cfg, fed)
    assert result.state.params.tolist() == [-0.625, 0.625, -0.25, 0.25]
    metrics = result.metrics
    assert metrics["train_loss"] == pytest.approx(math.log(2))
    assert metrics["client_drift"] == pytest.approx((1 + math.sqrt(2.5)) / 2)
    assert result.rounds == [
        {"round": 1, "local_steps": 1, "train_loss": metrics["train_loss"],
         "virtual_seconds": 32 / 750_000 + 3 / 100 + 32 / 250_000,  # of the client with 3 examples
         "client_drift": metrics["client_drift"], "client_drift_active": metrics["client_drift"],
         "client_drift_all": metrics["client_drift"],  # both clients took part
         "bytes_up_round": 64, "bytes_down_round": 64}
    ]  # fmt: skip
    assert metrics["val_accuracy"] == 0.75  # class 1 everywhere
    gaps = (1.75, 3.0)  # logit of class 1 minus that of class 0 at x = 1 and x = 2
    loss = (math.log1p(math.exp(gaps[0])) + 3 * math.log1p(math.exp(-gaps[1]))) / 4
    assert metrics["val_loss"] == pytest.approx(loss)
    spread = [metrics[f"client_accuracy_{name}"] for name in ("worst", "best", "std")]
    assert spread == [0.0, 1.0, 0.5]
    assert (metrics["bytes_up"], metrics["bytes_down"]) == (
        64,
        64,
    )  # two: header, 4 floats
    assert (metrics["round"], metrics["local_steps"]) == (1, 1)
    assert (result.done, result.diverged) == (True, False)


@pytest.mark.parametrize("execution", ["stacked", "sequential"])
@pytest.mark.parametrize("sizes", ["equal", "unequal"])
def test_one_full_batch_step_each_is_a_centralised_gradient_step(
    sizes: str, execution: str
) -> None:
    """A batch may be larger than all that a client has; weights are examples."""
    fed = linear_federation(examples=60 if sizes == "equal" else 240, clients=5, val=0)
    if sizes == "unequal":
        labels = fed.train.labels.numpy()
        fed.shards = shard_dirichlet_labels(labels, 5, 0.5, stream(0, "unequal"))
        assert sorted(map(len, fed.shards))[-1] > 2 * sorted(map(len, fed.shards))[0]
    common = {"rounds": 10, "local__steps": 1, "local__lr": 0.5, "local__batch_size": 240,
              "compute__execution": execution}  # fmt: skip
    many = config(federation__clients=5, federation__participation=1.0, **common)
    federated = run(many, fed)[-1].state.params
    weight = torch.zeros(CLASSES, WIDTH, requires_grad=True)
    bias = torch.zeros(CLASSES, requires_grad=True)
    optimiser = torch.optim.SGD([weight, bias], lr=0.5)
    features, labels = fed.train.features, fed.train.labels  # type: ignore[attr-defined]
    for _ in range(10):
        optimiser.zero_grad()
        F.cross_entropy(F.linear(features, weight, bias), labels).backward()
        optimiser.step()
    central = torch.cat([weight.detach().reshape(-1), bias.detach()])
    torch.testing.assert_close(federated, central, rtol=1e-5, atol=1e-6)
    assert float(central.norm()) > 0.5


def test_every_round_is_measured_whenever_it_is_evaluated() -> None:
    """Drift over all K is the sum over the sampled ones divided by K (eq. 4 of Pirilli et al.)."""
    fed = linear_federation(clients=6)
    cfg = config(federation__clients=6, federation__participation=0.5, rounds=7, local__lr=0.1)
    start = State(fed.model.flat.clone())
    each = [row for result in run(cfg, fed, start) for row in result.rounds]
    some = run(cfg.override({"eval_every": 3}), fed, start)
    assert [[row["round"] for row in result.rounds] for result in some] == [
        [1, 2, 3],
        [4, 5, 6],
        [7],
    ]
    assert [row for result in some for row in result.rounds] == each
    again = run(cfg.override({"eval_every": 3}), fed, some[0].state)
    assert [result.rounds for result in again] == [result.rounds for result in some[1:]]
    for row in each:
        assert row["client_drift"] > 0
        assert row["client_drift_all"] == pytest.approx(row["client_drift"] * 3 / 6)


@pytest.mark.parametrize("keep_momentum", [True, False])
def test_one_client_with_everything_is_a_torch_loop(keep_momentum: bool) -> None:
    """Bit for bit over five epochs, with the optimiser's state kept or made anew every round."""
    fed = linear_federation(clients=1)
    cfg = config(federation__clients=1, rounds=5, local__unit="epochs", local__steps=1,
                 local__batch_size=16, local__momentum=0.9, local__weight_decay=0.01,
                 local__keep_momentum=keep_momentum)  # fmt: skip
    model = nn.Linear(WIDTH, CLASSES)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimiser: torch.optim.Optimizer | None = None
    for round, result in enumerate(run(cfg, fed)):
        if optimiser is None or not keep_momentum:
            optimiser = torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=0.01)
        order = torch.from_numpy(stream(0, "batches", round, 0).permutation(fed.shards[0]))
        for indices in order.split(16):
            optimiser.zero_grad()
            logits = model(fed.train.batch(indices))
            F.cross_entropy(logits, fed.train.labels[indices]).backward()
            optimiser.step()
        wanted = torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])
        assert torch.equal(result.state.params, wanted), round
        assert list(result.state.clients.of(0)) == ["optimiser/velocity"] * keep_momentum
    logits = model(fed.val.batch(torch.arange(40)))  # type: ignore[union-attr]
    accuracy = (logits.argmax(1) == fed.val.labels).double().mean()  # type: ignore[union-attr]
    assert result.metrics["val_accuracy"] == float(accuracy) > 0.5


# --- when it stops, what it keeps ---------------------------------------------------------------


@pytest.mark.parametrize("make", [linear_federation, cnn_federation])
def test_divergence_is_a_result(make: Callable[..., Federation]) -> None:
    fed = make(clients=5)
    cfg = config(federation__clients=5, federation__participation=1.0, rounds=50, eval_every=50,
                 local__lr=1e6, local__weight_decay=0.1)  # fmt: skip
    (result,) = run(cfg, fed)
    assert result.diverged
    assert result.done
    assert result.metrics["round"] == result.state.round < 50  # at once, not at the evaluation
    assert "val_accuracy" not in result.metrics
    assert not math.isfinite(result.metrics["train_loss"]) or not bool(
        result.state.params.isfinite().all()
    )


def test_patience_stops_and_best_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    fed = linear_federation()
    cfg = config(federation__clients=6, rounds=9, patience=2, keep="best")
    monkeypatch.setattr(loop, "evaluate", scripted([0.1, 0.3, 0.2, 0.3, 0.9]))
    results = run(cfg, fed)
    assert [r.metrics["val_accuracy"] for r in results] == [0.1, 0.3, 0.2, 0.3]
    assert [r.done for r in results] == [False, False, False, True]  # an equal one is not better
    assert [r.state.evaluations_since_best for r in results] == [0, 0, 1, 2]
    assert "client_accuracy_worst" in results[-1].metrics
    final = results[-1].state
    assert final.best is not None
    assert final.best_accuracy == 0.3
    assert torch.equal(final.best, results[1].state.params)
    assert not torch.equal(final.best, final.params)


def test_without_patience_it_goes_on_and_keeps_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "evaluate", scripted([0.5, 0.1, 0.1, 0.1, 0.1]))
    results = run(config(federation__clients=6, rounds=5), linear_federation())
    assert len(results) == 5
    assert results[-1].state.best is None


def test_patience_counts_evaluations_across_a_resume(monkeypatch: pytest.MonkeyPatch) -> None:
    fed = linear_federation()
    cfg = config(federation__clients=6, rounds=9, patience=3)
    monkeypatch.setattr(loop, "evaluate", scripted([0.3, 0.2, 0.2, 0.2]))
    state = next(iter(fedavg(cfg, fed, State(fed.model.flat.clone())))).state
    assert len(run(cfg, fed, state)) == 3


@pytest.mark.parametrize(
    ("rounds", "every", "wanted"), [(7, 3, [3, 6, 7]), (6, 3, [3, 6]), (2, 5, [2])]
)
def test_evaluations_come_every_few_rounds_and_at_the_end(
    rounds: int, every: int, wanted: list[int]
) -> None:
    cfg = config(federation__clients=6, rounds=rounds, eval_every=every)
    results = run(cfg, linear_federation())
    assert [r.metrics["round"] for r in results] == wanted
    assert [r.done for r in results] == [False] * (len(wanted) - 1) + [True]
    assert ["client_accuracy_std" in r.metrics for r in results] == [r.done for r in results]


def test_evaluating_more_often_changes_nothing() -> None:
    fed = linear_federation()
    start = State(fed.model.flat.clone())
    often = run(config(federation__clients=6, rounds=6, eval_every=1), fed, start)
    rarely = run(config(federation__clients=6, rounds=6, eval_every=4), fed, start)
    assert torch.equal(often[-1].state.params, rarely[-1].state.params)
    assert plain(often[3].metrics) == plain(rarely[0].metrics)


def test_a_run_without_validation_set_has_no_validation_metrics() -> None:
    results = run(config(federation__clients=6, rounds=3, patience=1,
                         keep="best"), linear_federation(val=0))  # fmt: skip
    assert [r.done for r in results] == [False, False, True]
    assert not any("val_" in name for r in results for name in r.metrics)
    assert results[-1].state.best is None


def test_the_account() -> None:
    """Local steps are rounds x J, not x clients; bytes are rounds x m x message, each way."""
    fed = linear_federation(clients=6)
    cfg = config(federation__clients=6, federation__participation=0.5, rounds=4, local__steps=8,
                 local__batch_size=4)  # fmt: skip
    results = run(cfg, fed)
    size = 16 + 4 * (CLASSES * WIDTH + CLASSES)  # with its header
    for round, metrics in enumerate((r.metrics for r in results), start=1):
        assert metrics["local_steps"] == 8 * round
        assert metrics["bytes_up"] == metrics["bytes_down"] == round * 3 * size
        assert metrics["images_per_second"] == pytest.approx(
            round * 3 * 8 * 4 / metrics["seconds_train"]
        )
    seconds = [[r.metrics[name] for r in results] for name in TIMES[:3]]
    assert all(one == sorted(one) for one in seconds)
    assert results[-1].metrics["peak_memory_bytes"] > 50e6  # bytes, not kilobytes


# --- random streams -----------------------------------------------------------------------------

VARIANTS = {
    "linear stacked": (linear_federation, {"federation__participation": 0.5}),
    "linear sequential": (linear_federation, {"compute__execution": "sequential"}),
    "cnn stacked": (cnn_federation, {"compute__execution": "stacked", "local__steps": 2}),
    "cnn sequential": (cnn_federation, {"keep": "best", "local__steps": 2}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_resume_from_any_state_gives_the_same_bits(name: str) -> None:
    make, values = VARIANTS[name]
    fed = make(clients=5)
    values = {"federation__participation": 0.6, "schedule__name": "cosine", **values}
    if name.startswith("cnn"):  # images, which can be augmented
        values = {"fine_tune__strategy": "full", "data__crop": 2, **values}
    cfg = config(federation__clients=5, rounds=4, local__momentum=0.9, local__batch_size=4,
                 data__flip=True, **values)  # fmt: skip
    start = State(fed.model.flat.clone())
    whole = run(cfg, fed, start)
    for done in range(len(whole)):
        fed.model.flat.normal_(generator=torch.Generator().manual_seed(done))  # another process
        rest = run(cfg, fed, replace(whole[done].state, totals=dict(whole[done].state.totals)))
        assert [plain(r.metrics) for r in rest] == [plain(r.metrics) for r in whole[done + 1 :]]
        for one, other in zip(rest, whole[done + 1 :], strict=True):
            assert torch.equal(one.state.params, other.state.params)
            assert (one.state.best is None) == (other.state.best is None)
            if one.state.best is not None and other.state.best is not None:
                assert torch.equal(one.state.best, other.state.best)


def test_resume_with_momentum_that_outlives_the_round() -> None:
    fed = linear_federation(clients=1)
    cfg = config(federation__clients=1, rounds=4, local__momentum=0.9, local__keep_momentum=True)
    whole = run(cfg, fed, State(torch.zeros(fed.model.layout.size)))
    for done in range(3):
        rest = run(cfg, fed, whole[done].state)
        assert torch.equal(rest[-1].state.params, whole[-1].state.params)
    lost = run(cfg, fed, replace(whole[1].state, clients=ClientMemory.empty()))
    assert not torch.equal(lost[-1].state.params, whole[-1].state.params)


@pytest.mark.parametrize("name", VARIANTS)
def test_global_random_state_has_no_part(name: str) -> None:
    make, values = VARIANTS[name]
    cfg = config(federation__clients=5, rounds=2, local__batch_size=4, **values)
    finals = []
    for seed in (1, 2):
        fed = make(clients=5)
        start = State(fed.model.flat.clone())
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        states = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index, union-attr]  # noqa: NPY002
        finals.append(run(cfg, fed, start)[-1].state.params)
        assert torch.equal(states[0], torch.get_rng_state())
        assert np.array_equal(states[1], np.random.get_state()[1])  # type: ignore[index]  # noqa: NPY002
    assert torch.equal(*finals)


def test_two_seeds_differ_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[bytes, bytes]] = []

    def recorded(*args: Any) -> Any:
        work = plan_work(*args)
        assert work.draws is not None
        seen.append((work.indices.tobytes(), work.draws.tobytes()))
        return work

    monkeypatch.setattr(turns, "plan_work", recorded)
    fed = cnn_federation()
    start = State(fed.model.flat.clone())
    finals = []
    for seed in (0, 1):
        cfg = config(seed=seed, federation__clients=5, federation__participation=1.0, rounds=3,
                     local__batch_size=8)  # fmt: skip
        finals.append(run(cfg, fed, start)[-1].state.params)
    assert len(seen) == 2 * 3 * 5
    indices, draws = zip(*seen, strict=True)
    assert len(set(indices)) == len(set(draws)) == 30  # over seeds, rounds and clients alike
    assert not torch.equal(*finals)
    chosen = [
        tuple(select(replace(start, round=round), fed, config(seed=seed)).clients)
        for seed in (0, 1)
        for round in range(20)
    ]
    assert len(set(chosen)) == 40


def test_ten_thousand_clients_and_only_the_sampled_ones_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned: list[int] = []

    def counted(shard: np.ndarray, *args: Any) -> Any:
        planned.append(int(shard[0]))
        return plan_work(shard, *args)

    monkeypatch.setattr(turns, "plan_work", counted)
    fed = linear_federation(examples=20_000, clients=10_000)
    cfg = config(federation__clients=10_000, federation__participation=0.01, rounds=3, eval_every=3)
    (result,) = run(cfg, fed)
    assert len(planned) == 3 * 100
    assert len(set(planned)) > 250
    assert result.metrics["val_accuracy"] > 0.4
    assert result.metrics["bytes_up"] == 300 * (16 + 4 * fed.model.layout.size)


def test_stacked_is_sequential_to_rounding_over_rounds() -> None:
    fed = linear_federation()
    start = State(fed.model.flat.clone())
    runs = [
        run(config(federation__clients=6, federation__participation=0.5, rounds=8,
                   local__momentum=0.9, compute__execution=execution), fed, start)
        for execution in ("stacked", "sequential")
    ]  # fmt: skip
    stacked, sequential = (one[-1] for one in runs)
    torch.testing.assert_close(stacked.state.params, sequential.state.params, rtol=1e-4, atol=1e-5)
    for name in ("train_loss", "client_drift", "val_loss"):
        assert stacked.metrics[name] == pytest.approx(sequential.metrics[name], rel=1e-4)
