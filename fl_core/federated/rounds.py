"""The training loop: algorithm 1 of McMahan et al. (AISTATS 2017), one result per evaluation.

Centralised training is the same loop with one client that holds everything and keeps its
momentum; early stopping and the best checkpoint belong to both.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.account import Clock, steps_done
from fl_core.federated.aggregates.party import Party
from fl_core.federated.aggregates.table import joined
from fl_core.federated.books import book, ledger_of
from fl_core.federated.pace.table import adapted, paced, paces
from fl_core.federated.personal.judge import Judge
from fl_core.federated.results import RoundResult, evaluated, result_of, round_row
from fl_core.federated.run import Run
from fl_core.federated.server import begun, no_step, server_step
from fl_core.federated.state import Federation, State
from fl_core.federated.timing.table import turnout_of
from fl_core.federated.update import Measured
from fl_core.federated.work import client_updates


def fedavg(config: TrialConfig, fed: Federation, state: State) -> Iterator[RoundResult]:
    """Train from `state` to `config.last_round`; yield every `eval_every` rounds and at the end;
    of no rounds the start alone.

    A round is a pure function of (state, round, seed): going on from any yielded state gives the
    same bits. A non-finite loss ends the run with `diverged`. A round without any update passes.
    """
    run = Run.of(config, fed)
    judge = Judge(run, fed.val, "val") if config.personal.judges and fed.val is not None else None
    clock, before = Clock(state.totals), fed.before()
    clock.totals["steps"] = steps_done(config, state)
    ledger = ledger_of(run, state, before)
    state = begun(state, run.rule)
    if config.last_round == 0:
        yield result_of(run, state, {}, clock, ledger, before, judge)
        return
    moves = run.rule.moves or any(pace.moves for pace in paces(config).values())
    measured = Measured(state.params, moves=moves)
    passed: list[dict[str, float]] = []  # rounds since the last result
    while state.round < config.last_round:
        run = paced(run, state)
        turnout = turnout_of(run, state, ledger)
        chosen, now = turnout.chosen, turnout.now  # S_t, less those who fail
        measured.begin(now.state.params, now.state.clients)
        here, party = run._replace(fed=now.fed), Party.of(run, state.round, turnout)
        more = turnout.starts, turnout.chains
        updates = client_updates(here, now.state, chosen, *more)  # w_k from w
        joint = joined(measured.passing(updates), measured.start, party)  # w + mean D_k
        measured.aside = joint.told
        if joint.target is None:
            state = no_step(config, run.rule, now.state, measured)
        else:
            target = chosen.scaled(joint.target, measured.start)
            state = server_step(config, run.rule, now.state, target, measured, now.trained)
        state = adapted(run, state, measured)
        clock.charge("seconds_train")
        clock.totals["images"] += measured.images
        clock.totals["steps"] += run.local.steps * turnout.depth
        state = book(ledger, run, state, measured, turnout, joint)
        passed.append(round_row(run, state, measured, clock, ledger, turnout))
        result = evaluated(run, state, measured, clock, ledger, before, judge)
        if result is None:
            continue
        state = result.state
        yield replace(result, rounds=passed)
        passed = []
        clock.charge("seconds_overhead")
        if result.done:
            return
