"""What a round, and an evaluation after it, tell of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import Source
from fl_core.federated.account import Clock, account
from fl_core.federated.books import AnyLedger
from fl_core.federated.cost import Cost
from fl_core.federated.evaluate import Evaluation, evaluate
from fl_core.federated.losses import LOSSES
from fl_core.federated.pace.table import pace_row
from fl_core.federated.personal.judge import Judge
from fl_core.federated.personal.own import shared_model
from fl_core.federated.run import Run
from fl_core.federated.state import VIRTUAL, Federation, State
from fl_core.federated.timing.superclient_report import described
from fl_core.federated.timing.turnout import Turnout
from fl_core.federated.update import Measured


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


def round_row(
    run: Run,
    state: State,
    measured: Measured,
    clock: Clock,
    ledger: AnyLedger,
    turnout: Turnout,
) -> dict[str, float]:
    """What is known of one round without an evaluation."""
    config, attackers = run.config, run.fed.attackers
    active = turnout.now.active
    row = {} if active is None else {"mask_active": active}
    return {
        **row,
        "round": state.round,
        "local_steps": int(clock.totals["steps"]),
        "virtual_seconds": state.totals["virtual_seconds"],
        **pace_row(run, state),
        **measured.told,
        **turnout.told,
        "client_drift_all": measured.drift_all(config.federation.clients),
        **{name: ledger.totals[name] for name in ("bytes_up_round", "bytes_down_round")},
        **({"attackers_round": measured.among(attackers)} if attackers else {}),
    }


def evaluated(
    run: Run,
    state: State,
    measured: Measured,
    clock: Clock,
    ledger: AnyLedger,
    before: Mapping[str, Cost],
    judge: Judge | None,
) -> RoundResult | None:
    """The result after a round, if one is due: at an evaluation, at the end, on divergence."""
    config = run.config
    told = measured.told
    due = state.round == config.last_round or state.round % config.eval_every == 0
    if not due and _finite(state, told):
        return None
    return result_of(run, state, told, clock, ledger, before, judge)


def _finite(state: State, told: Mapping[str, float]) -> bool:
    loss = told.get("train_loss", 0.0)  # of no rounds, or no updates, there is none
    return bool(np.isfinite(loss)) and bool(torch.isfinite(state.params).all())


def result_of(
    run: Run,
    state: State,
    told: Mapping[str, float],
    clock: Clock,
    ledger: AnyLedger,
    before: Mapping[str, Cost],
    judge: Judge | None,
) -> RoundResult:
    """The evaluated state; told: what its last round measured."""
    config, fed = run.config, run.fed
    finite = _finite(state, told)
    metrics = dict(told)
    if fed.attackers:
        metrics["attackers"] = len(fed.attackers)
    metrics |= described(fed, state)
    model = shared_model(run, state)
    evaluation = _evaluate(config, fed, model, fed.val) if finite else None
    if evaluation is not None:
        metrics |= {"val_accuracy": evaluation.accuracy, "val_loss": evaluation.loss}
        metrics |= {f"val_accuracy_{at}": of for at, of in evaluation.by_position.items()}
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
    virtual = {name: state.totals[name] for name in VIRTUAL}
    state = replace(state, totals={**clock.totals, **ledger.totals, **virtual})
    metrics |= account(config, state, before)
    return RoundResult(metrics, state, done, diverged=not finite)


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
