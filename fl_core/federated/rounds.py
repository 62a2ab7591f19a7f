"""The training loop: rounds of FedAvg, one result per evaluation.

Centralised training is the same loop with one client that holds everything and keeps its
momentum; early stopping and the best checkpoint belong to both.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.evaluate import Evaluation, evaluate
from fl_core.federated.ledger import Ledger
from fl_core.federated.server import aggregate
from fl_core.federated.work import Federation, ServerState, kept, selected, updates


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
    ledger = _ledger(config, fed, state)
    while state.round < config.rounds:
        clients = selected(config, state.round)
        locals = dict(state.locals)
        work = updates(config, fed, state, clients)
        if config.local.blend != "none":
            work = kept(work, clients, locals)
        params, summary = aggregate(state.params, work, config.server, config.mask.average)
        keep = summary.velocity if config.local.keep_momentum else None
        state = replace(state, params=params, round=state.round + 1, velocity=keep, locals=locals)
        clock.charge("seconds_train")
        clock.totals["images"] += summary.images
        ledger.round_trip(params, clients.tolist(), _mask_of(fed))
        finite = bool(np.isfinite(summary.train_loss)) and bool(torch.isfinite(params).all())
        last = state.round == config.rounds
        if finite and not last and state.round % config.eval_every:
            continue
        metrics = {
            "train_loss": summary.train_loss,
            "client_drift": summary.client_drift,
            "client_drift_active": summary.client_drift_active,
        }
        evaluation = _evaluate(config, fed, state.params) if finite else None
        if evaluation is not None:
            state = _track_best(config, state, evaluation.accuracy)
            metrics |= {"val_accuracy": evaluation.accuracy, "val_loss": evaluation.loss}
        patience = config.patience
        done = last or not finite or (0 < patience <= state.evaluations_since_best)
        if done and evaluation is not None:
            metrics |= spread(evaluation.client_accuracies(fed.class_counts))
        clock.charge("seconds_eval")
        state = replace(state, totals={**clock.totals, **ledger.totals})
        metrics |= _account(config, state)
        yield RoundResult(metrics, state, done, diverged=not finite)
        clock.charge("seconds_overhead")
        if done:
            return


def _mask_of(fed: Federation) -> Callable[[int], Tensor | None]:
    masks = fed.masks
    return (lambda client: None) if masks is None else (lambda client: masks(client).mask)


def _ledger(config: TrialConfig, fed: Federation, state: ServerState) -> Ledger:
    """The account of what was sent in the rounds before `state`."""
    sent = {n: v for n, v in state.totals.items() if n.startswith(("bytes_", "messages_"))}
    scope = None if fed.masks is None else config.mask.scope
    ledger = Ledger(fed.model.layout.size, scope, sent)
    past = (selected(config, round).tolist() for round in range(state.round))
    ledger.replay(past, _mask_of(fed))
    return ledger


def _evaluate(config: TrialConfig, fed: Federation, params: Tensor) -> Evaluation | None:
    """The server's model on the validation set, if there is one."""
    fed.model.flat.copy_(params)
    if fed.val is None:
        return None
    return evaluate(fed.model.module, fed.val, config.compute.precision)


def _track_best(config: TrialConfig, state: ServerState, accuracy: float) -> ServerState:
    """The state after an evaluation: the best one so far, and how long ago it was."""
    if accuracy > state.best_accuracy:
        best = state.params if config.keep == "best" else None
        return replace(state, best=best, best_accuracy=accuracy, evaluations_since_best=0)
    return replace(state, evaluations_since_best=state.evaluations_since_best + 1)


def spread(client_accuracies: np.ndarray) -> dict[str, float]:
    """Worst, best and standard deviation (ddof = 0) over clients."""
    return {
        "client_accuracy_worst": float(client_accuracies.min()),
        "client_accuracy_best": float(client_accuracies.max()),
        "client_accuracy_std": float(client_accuracies.std()),
    }


def _account(config: TrialConfig, state: ServerState) -> dict[str, float]:
    """Rounds, local steps, bytes, messages, seconds and memory so far."""
    totals = dict(state.totals)
    images = totals.pop("images")
    return {
        "round": state.round,
        "local_steps": state.round * config.local.steps,  # epochs where local.unit says so
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
