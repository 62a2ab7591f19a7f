"""The training loop: algorithm 1 of McMahan et al. (AISTATS 2017), one result per evaluation.

Centralised training is the same loop with one client that holds everything and keeps its
momentum; early stopping and the best checkpoint belong to both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import Source
from fl_core.federated.account import Clock, account
from fl_core.federated.aggregates.table import aggregate
from fl_core.federated.changing_ledger import MEMORY, ChangingLedger
from fl_core.federated.cost import Cost
from fl_core.federated.evaluate import Evaluation, evaluate
from fl_core.federated.ledger import Ledger
from fl_core.federated.losses import LOSSES
from fl_core.federated.masking import RoundMasks, masks_of
from fl_core.federated.messages import encode
from fl_core.federated.personal.judge import Judge
from fl_core.federated.personal.own import shared_model
from fl_core.federated.run import Run
from fl_core.federated.selections.table import select
from fl_core.federated.server import begun, named, server_step
from fl_core.federated.state import Federation, State
from fl_core.federated.update import Measured
from fl_core.federated.work import client_updates


@dataclass(frozen=True)
class RoundResult:
    """Metrics after an evaluation, and the state a run can go on from.

    rounds: what every round since the evaluation before measured, by the names of config.record.
    """

    metrics: dict[str, float]
    state: State
    done: bool
    diverged: bool
    rounds: list[dict[str, float]] = field(default_factory=list)


def fedavg(config: TrialConfig, fed: Federation, state: State) -> Iterator[RoundResult]:
    """Train from `state` to `config.last_round`; yield every `eval_every` rounds and at the end;
    of no rounds the start alone.

    A round is a pure function of (state, round, seed): going on from any yielded state gives the
    same bits. A non-finite loss ends the run with `diverged`.
    """
    run = Run.of(config, fed)
    judge = Judge(run, fed.val, "val") if config.personal.judges and fed.val is not None else None
    clock, before = Clock(state.totals), fed.before()
    ledger = _ledger(run, state, before)
    state = begun(state, run.rule)
    if config.last_round == 0:
        yield _result(run, state, {}, clock, ledger, before, judge)
        return
    measured = Measured(state.params, moves=run.rule.moves)
    passed: list[dict[str, float]] = []  # rounds since the last result
    while state.round < config.last_round:
        chosen = select(state, fed, config)  # S_t
        now = masks_of(fed, state, chosen.clients.tolist())
        updates = client_updates(run._replace(fed=now.fed), now.state, chosen)  # w_k from w
        measured.begin(now.state.params, now.state.clients)
        target = aggregate(measured.passing(updates), measured.start, config)  # w + mean D_k
        target = chosen.scaled(target, measured.start)
        state = server_step(config, run.rule, now.state, target, measured, now.trained)
        clock.charge("seconds_train")
        clock.totals["images"] += measured.images
        state = _booked(ledger, run, state, measured, now, chosen.asked)
        passed.append(_round_row(run, state.round, measured, ledger, now))
        result = _evaluated(run, state, measured, clock, ledger, before, judge)
        if result is None:
            continue
        state = result.state
        yield replace(result, rounds=passed)
        passed = []
        clock.charge("seconds_overhead")
        if result.done:
            return


def _round_row(
    run: Run, done: int, measured: Measured, ledger: Ledger | ChangingLedger, now: RoundMasks
) -> dict[str, float]:
    """What is known of one round without an evaluation."""
    config, attackers = run.config, run.fed.attackers
    row = {} if now.active is None else {"mask_active": now.active}
    return {
        **row,
        "round": done,
        "local_steps": done * config.local.steps,
        "train_loss": measured.train_loss,
        **measured.drift,
        "client_drift_all": measured.drift_all(config.federation.clients),
        **{name: ledger.totals[name] for name in ("bytes_up_round", "bytes_down_round")},
        **({"attackers_round": measured.among(attackers)} if attackers else {}),
    }


def _evaluated(
    run: Run,
    state: State,
    measured: Measured,
    clock: Clock,
    ledger: Ledger | ChangingLedger,
    before: Mapping[str, Cost],
    judge: Judge | None,
) -> RoundResult | None:
    """The result after a round, if one is due: at an evaluation, at the end, on divergence."""
    config = run.config
    told = {"train_loss": measured.train_loss, **measured.drift}
    due = state.round == config.last_round or state.round % config.eval_every == 0
    if not due and _finite(state, told):
        return None
    return _result(run, state, told, clock, ledger, before, judge)


def _finite(state: State, told: Mapping[str, float]) -> bool:
    loss = told.get("train_loss", 0.0)  # of no rounds there is none
    return bool(np.isfinite(loss)) and bool(torch.isfinite(state.params).all())


def _result(
    run: Run,
    state: State,
    told: Mapping[str, float],
    clock: Clock,
    ledger: Ledger | ChangingLedger,
    before: Mapping[str, Cost],
    judge: Judge | None,
) -> RoundResult:
    """The evaluated state; told: what its last round measured."""
    config, fed = run.config, run.fed
    finite = _finite(state, told)
    metrics = dict(told)
    if fed.attackers:
        metrics["attackers"] = len(fed.attackers)
    model = shared_model(run, state)
    evaluation = _evaluate(config, fed, model, fed.val) if finite else None
    if evaluation is not None:
        metrics |= {"val_accuracy": evaluation.accuracy, "val_loss": evaluation.loss}
        if judge is not None:
            metrics |= judge.verdict(state, evaluation)[0]
        state = _track_best(config, state, metrics[config.judged_by])
    if finite and (trained := _evaluate(config, fed, model, fed.train_sample)) is not None:
        metrics["train_accuracy"] = trained.accuracy
    patience = config.patience
    last = state.round == config.last_round
    done = last or not finite or (0 < patience <= state.evaluations_since_best)
    if done and evaluation is not None:
        metrics |= spread(evaluation.client_accuracies(fed.class_counts))
    clock.charge("seconds_eval")
    state = replace(state, totals={**clock.totals, **ledger.totals})
    metrics |= account(config, state, before)
    return RoundResult(metrics, state, done, diverged=not finite)


def _booked(
    ledger: Ledger | ChangingLedger,
    run: Run,
    state: State,
    measured: Measured,
    now: RoundMasks,
    asked: Sequence[int],
) -> State:
    """The state after the round's traffic is counted."""
    broadcast = len(run.rule.broadcast)
    if isinstance(ledger, Ledger):
        params = run.shared(state.params)
        ledger.round_trip(params, measured.traffic, broadcast, _mask_of(run), asked)
        return state
    made = now.made
    assert made is not None
    masks = lambda client, round: made.of(client, round).mask  # noqa: E731
    ledger.round_trip(now.state.round, measured.traffic, broadcast, masks, asked, made.sent)
    return replace(state, server={**state.server, **ledger.tensors()})


def _mask_of(run: Run) -> Callable[[int], Tensor | None]:
    """Of what travels of a client's model."""
    masks = run.fed.masks
    return (lambda client: None) if masks is None else (lambda c: run.shared(masks(c).mask))


def _ledger(run: Run, state: State, before: Mapping[str, Cost]) -> Ledger | ChangingLedger:
    """The account of what was sent in the rounds before `state`."""
    sent = {n: v for n, v in state.totals.items() if n.startswith(("bytes_", "messages_"))}
    if run.fed.changing is not None:
        return ChangingLedger(
            run.fed.model.layout.size,
            run.config.mask,
            run.config.rounds,
            sent,
            named(state.server, MEMORY),
            clients=run.config.federation.clients,
            told="masks" in before,
            beside=run.fed.beside,
        )
    first = 0 if run.part is None else len(encode(state.params[run.part], None, "dense"))
    ledger = Ledger(
        run.shared(state.params).numel(),
        None if run.fed.masks is None else run.config.mask.scope,
        sent,
        told="masks" in before,
        fisher=run.rule.fisher,
        clients=run.config.federation.clients,
        beside=run.fed.beside + first,
    )
    ledger.replay(state.participants, _mask_of(run))
    return ledger


def _evaluate(
    config: TrialConfig, fed: Federation, params: Tensor, source: Source | None
) -> Evaluation | None:
    """The server's model on these examples, if there are any."""
    fed.model.flat.copy_(params)
    if source is None:
        return None
    loss = LOSSES[config.head.loss]
    return evaluate(fed.model.module, source, config.compute.precision, loss=loss)


def _track_best(config: TrialConfig, state: State, accuracy: float) -> State:
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
