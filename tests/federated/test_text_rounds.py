"""Text through the loop: what is compared with what, and methods on a tiny next-character model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_fedavg import plain, run
from torch import Tensor, nn

from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.record import METRICS
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.data.sources import TokenSource
from fl_core.federated.evaluate import evaluate
from fl_core.federated.losses import LOSSES, compared
from fl_core.federated.state import Federation, State
from fl_core.federated.turns import use_stacked
from fl_core.models.backbone import Classifier
from fl_core.models.nets.char_lstm import CharLSTM

SYMBOLS, LENGTH, UNITS, CLIENTS = 12, 8, 16, 6


def source(every: bool, count: int = 48) -> TokenSource:
    """Cycles of symbols with noise: what follows can be learnt, not for sure."""
    rng = stream(0, "text")
    start, noise = rng.integers(0, SYMBOLS, (count, 1)), rng.random((count, LENGTH + 1)) < 0.1
    symbols = (start + np.arange(LENGTH + 1) + 3 * noise) % SYMBOLS
    windows = torch.from_numpy(symbols.astype(np.uint8))
    return TokenSource(windows, windows[:, -1].long(), every)


def model() -> Classifier:
    torch.manual_seed(0)
    head = nn.Linear(UNITS, SYMBOLS)
    return Classifier(CharLSTM(SYMBOLS, 4, UNITS, 2), head)


def federation(every: bool = True) -> Federation:
    shards = np.array_split(np.arange(36), CLIENTS)
    counts = np.ones((CLIENTS, SYMBOLS), int)
    text = source(every)
    return Federation(FlatModule(model()), text, text.subset(np.arange(36, 48)), shards, counts)


def configured(**values: Value) -> TrialConfig:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return TrialConfig().override(
        {
            "federation.clients": CLIENTS, "federation.participation": 0.5, "rounds": 4,
            "eval_every": 1, "local.steps": 2, "local.lr": 0.5, "local.batch_size": 4,
            "fine_tune.strategy": "full", **named,
        }
    )  # fmt: skip


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("name", LOSSES)
def test_positions_are_compared_as_a_loop_would(every: bool, name: str) -> None:
    text, net, loss = source(every), model(), LOSSES[name]
    positions = range(LENGTH) if every else [LENGTH - 1]
    hits, losses, last = [], [], []
    with torch.no_grad():
        for window in text.windows.long():
            logits = net(window[None, :-1])[0]
            hits.append([int(logits[p].argmax()) == int(window[p + 1]) for p in range(LENGTH)])
            last.append(int(logits[-1].argmax()))
            losses += [
                float(loss.of(logits[None, p], window[None, p + 1], reduction="mean"))
                for p in positions
            ]
    found = evaluate(net, text, loss=loss, keep=True)
    right = np.array(hits)
    scored = right if every else right[:, -1]
    assert found.accuracy == pytest.approx(scored.mean())
    assert found.loss == pytest.approx(np.mean(losses), rel=1e-5)
    assert found.by_position == {
        "last": pytest.approx(right[:, -1].mean()), "every": pytest.approx(right.mean())
    }  # fmt: skip
    assert found.hits is not None
    assert np.array_equal(found.hits.numpy(), scored)
    assert found.class_total.sum() == scored.size
    assert found.class_correct.sum() == scored.sum()
    assert found.predictions is not None
    assert found.predictions[:, :2].astype(int).tolist() == [
        list(pair) for pair in zip(text.labels.tolist(), last, strict=True)
    ]


def test_what_is_compared_of_one_output_an_example_is_all_of_it() -> None:
    logits, labels = torch.randn(5, 3), torch.tensor([0, 2, 1, 1, 0])
    found, targets = compared(logits, labels)
    assert found is logits
    assert torch.equal(targets, labels)


class Recorder(nn.Module):
    """A bigram model, which torch.func knows: logits of what follows by what was read."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(SYMBOLS, SYMBOLS))

    def forward(self, symbols: Tensor) -> Tensor:
        return self.table[symbols]


@pytest.mark.parametrize("every", [True, False])
def test_stacked_equals_sequential(every: bool) -> None:
    fed = federation(every)
    fed.model = FlatModule(Recorder())
    finals = []
    for execution in ("sequential", "stacked"):
        config = configured(compute__execution=execution, local__momentum=0.5)
        fed.model.flat.zero_()
        finals.append(run(config, fed)[-1].state.params)
    torch.testing.assert_close(finals[0], finals[1], rtol=1e-5, atol=1e-6)
    assert finals[0].abs().max() > 0.01


def test_recurrent_clients_are_never_stacked_by_themselves() -> None:
    fed = federation()
    assert not use_stacked(configured(), fed.model, torch.device("cuda"))
    assert use_stacked(configured(), FlatModule(Recorder()), torch.device("cuda"))


METHODS: list[dict[str, Value]] = [
    {"local__momentum": 0.9, "local__clip": 1.0},
    {"local__rule": "prox", "local__mu": 0.1},
    {"local__rule": "scaffold"},
    {"local__rule": "dyn", "local__alpha": 0.1},
    {"server__optimiser": "adam", "server__lr": 0.01},
    {"select__rule": "power_of_choice", "select__candidates": 5},
    {"aggregate__rule": "median"},
    {"schedule__steps": "adacomm"},
    {"personal__rule": "fedper"},
    {"personal__rule": "ditto", "personal__steps": 1},
]


@pytest.mark.parametrize("values", METHODS, ids=lambda values: "_".join(map(str, values.values())))
def test_a_run_goes_on_from_every_round_to_the_same_bits(values: dict[str, Value]) -> None:
    config = configured(**values)
    whole = run(config, federation())
    assert len(whole) == 4
    for at in (1, 2):
        tensors, told = whole[at].state.to_tensors()
        again = State.from_tensors(tensors, told, None, "cpu")
        again = State(**{**vars(again), "clients": whole[at].state.clients})
        rest = run(config, federation(), again)
        assert torch.equal(rest[-1].state.params, whole[-1].state.params)
        assert plain(rest[-1].metrics) == plain(whole[-1].metrics)
    names = whole[-1].metrics.keys()
    assert {"val_accuracy_last", "val_accuracy_every"} <= names <= METRICS.keys()
    assert whole[-1].metrics["val_accuracy"] == whole[-1].metrics["val_accuracy_every"]


def test_the_loss_is_the_mean_over_positions() -> None:
    fed = federation()
    start = fed.model.flat.clone()
    everything = configured(rounds=1, local__steps=1, local__lr=0.1, local__batch_size=36,
                            federation__clients=1, federation__participation=1.0)  # fmt: skip
    fed.shards, fed.class_counts = [np.arange(36)], np.ones((1, SYMBOLS), int)
    trained = run(everything, fed)[-1].state.params
    net, windows = model(), source(True).windows[:36].long()
    F.cross_entropy(net(windows[:, :-1]).flatten(0, 1), windows[:, 1:].flatten()).backward()
    gradient = torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])
    torch.testing.assert_close(trained, start - 0.1 * gradient, rtol=1e-5, atol=1e-6)


def test_it_learns_what_can_be_learnt() -> None:
    config = configured(
        rounds=60, eval_every=60, local__lr=1.0, local__momentum=0.9, local__clip=1.0
    )
    assert run(config, federation())[-1].metrics["val_accuracy_every"] > 0.5
