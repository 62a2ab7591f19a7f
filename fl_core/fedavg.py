"""The training loop: rounds of FedAvg, one result per evaluation (layer 2).

Centralised training is the same loop with one client that holds everything and keeps its
momentum; early stopping and the best checkpoint belong to both.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from fl_core.client import Update, Work, local_update, plan_work, step_rates
from fl_core.config import TrialConfig
from fl_core.data import ImageSource, Source
from fl_core.evaluate import Evaluation, evaluate
from fl_core.params import FlatModule
from fl_core.rng import stream
from fl_core.server import aggregate, num_sampled, select_clients
from fl_core.stacked import stacked_updates


@dataclass
class Federation:
    """Who trains what on which examples: everything of a run that does not change."""

    model: FlatModule
    train: Source
    val: Source | None
    shards: Sequence[np.ndarray]
    class_counts: np.ndarray  # (clients, classes)


@dataclass(frozen=True)
class ServerState:
    """Everything a run carries from round to round: a checkpoint is exactly this."""

    params: Tensor  # (P,) float32
    round: int = 0  # rounds completed
    velocity: Tensor | None = None  # momentum, if it outlives the round
    best: Tensor | None = None  # parameters of the best evaluation, if they are kept
    best_accuracy: float = -1.0
    evaluations_since_best: int = 0
    totals: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(
            ("seconds_train", "seconds_eval", "seconds_overhead", "images"), 0.0
        )
    )


@dataclass(frozen=True)
class RoundResult:
    """Metrics after an evaluation, and the state a run can go on from."""

    metrics: dict[str, float]
    state: ServerState
    done: bool
    diverged: bool


def fedavg(config: TrialConfig, fed: Federation, state: ServerState) -> Iterator[RoundResult]:
    """Train from `state` to `config.rounds`; yield every `eval_every` rounds and at the end.

    A round is a pure function of (server parameters, round, seed): going on from any yielded
    state gives the same bits. A non-finite loss ends the run with `diverged`.
    """
    clock = _Clock(state.totals)
    while state.round < config.rounds:
        params, summary = aggregate(state.params, _updates(config, fed, state), config.server)
        keep = summary.velocity if config.local.keep_momentum else None
        state = replace(state, params=params, round=state.round + 1, velocity=keep)
        clock.charge("seconds_train")
        clock.totals["images"] += summary.images
        finite = bool(np.isfinite(summary.train_loss)) and bool(torch.isfinite(params).all())
        last = state.round == config.rounds
        if finite and not last and state.round % config.eval_every:
            continue
        metrics = {"train_loss": summary.train_loss, "client_drift": summary.client_drift}
        evaluation = _evaluate(config, fed, state.params) if finite else None
        if evaluation is not None:
            state = _track_best(config, state, evaluation.accuracy)
            metrics |= {"val_accuracy": evaluation.accuracy, "val_loss": evaluation.loss}
        patience = config.fine_tune.patience
        done = last or not finite or (0 < patience <= state.evaluations_since_best)
        if done and evaluation is not None:
            metrics |= spread(evaluation.client_accuracies(fed.class_counts))
        clock.charge("seconds_eval")
        state = replace(state, totals=dict(clock.totals))
        metrics |= _account(config, fed, state)
        yield RoundResult(metrics, state, done, diverged=not finite)
        clock.charge("seconds_overhead")
        if done:
            return


def _updates(config: TrialConfig, fed: Federation, state: ServerState) -> Iterator[Update]:
    """The sampled clients' updates of the coming round, stacked where that is faster."""
    seed, round = config.seed, state.round
    clients = select_clients(config.federation, stream(seed, "clients", round))
    augmented = isinstance(fed.train, ImageSource)
    works: list[Work] = []
    for client in clients:
        draws = stream(seed, "augment", round, client) if augmented else None
        batches = stream(seed, "batches", round, client)
        works.append(plan_work(fed.shards[client], config.local, batches, draws))
    rates = [
        step_rates(config.local, config.schedule, round, config.rounds, len(work.indices))
        for work in works
    ]
    precision = config.fine_tune.precision
    if len(works) > 1 and use_stacked(config, fed.model, state.params.device):
        yield from stacked_updates(
            fed.model, state.params, fed.train, works, config.local, rates, precision
        )
        return
    for work, rate in zip(works, rates, strict=True):
        yield local_update(
            fed.model, state.params, fed.train, work, config.local, rate, precision, state.velocity
        )


def use_stacked(config: TrialConfig, model: FlatModule, device: torch.device) -> bool:
    """Linear models always; others on a GPU. On a CPU vmap loses to the plain loop for ViTs."""
    if config.fine_tune.execution == "auto":
        return isinstance(model.module, nn.Linear) or device.type == "cuda"
    return config.fine_tune.execution == "stacked"


def _evaluate(config: TrialConfig, fed: Federation, params: Tensor) -> Evaluation | None:
    """The server's model on the validation set, if there is one."""
    fed.model.flat.copy_(params)
    if fed.val is None:
        return None
    return evaluate(fed.model.module, fed.val, config.fine_tune.precision)


def _track_best(config: TrialConfig, state: ServerState, accuracy: float) -> ServerState:
    """The state after an evaluation: the best one so far, and how long ago it was."""
    if accuracy > state.best_accuracy:
        best = state.params if config.fine_tune.keep == "best" else None
        return replace(state, best=best, best_accuracy=accuracy, evaluations_since_best=0)
    return replace(state, evaluations_since_best=state.evaluations_since_best + 1)


def spread(client_accuracies: np.ndarray) -> dict[str, float]:
    """Worst, best and standard deviation (ddof = 0) over clients."""
    return {
        "client_accuracy_worst": float(client_accuracies.min()),
        "client_accuracy_best": float(client_accuracies.max()),
        "client_accuracy_std": float(client_accuracies.std()),
    }


def _account(config: TrialConfig, fed: Federation, state: ServerState) -> dict[str, float]:
    """Rounds, local steps, bytes, seconds and memory so far."""
    messages = state.round * num_sampled(config.federation)
    size = 4 * fed.model.layout.size  # float32, the whole trainable vector
    totals = dict(state.totals)
    images = totals.pop("images")
    return {
        "round": state.round,
        "local_steps": state.round * config.local.steps,  # epochs where local.unit says so
        "bytes_up": messages * size,
        "bytes_down": messages * size,
        **totals,
        "images_per_second": images / max(totals["seconds_train"], 1e-9),
        "peak_memory_bytes": peak_memory_bytes(state.params.device),
    }


def peak_memory_bytes(device: torch.device) -> int:
    """Highest memory use of this process so far: on the GPU if one is used, else resident."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class _Clock:
    """Wall seconds by purpose, going on from a checkpoint's totals."""

    def __init__(self, totals: dict[str, float]) -> None:
        self.totals = dict(totals)
        self._last = time.perf_counter()

    def charge(self, purpose: str) -> None:
        """Book the time since the last call on `purpose`."""
        now = time.perf_counter()
        self.totals[purpose] += now - self._last
        self._last = now
