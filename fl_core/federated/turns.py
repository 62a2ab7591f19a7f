"""The clients' local steps of a round, by the plain loop or stacked, as their rule says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import ImageSource
from fl_core.federated.client import (
    Trained,
    Work,
    full_gradient,
    local_update,
    plan_work,
    planned_examples,
)
from fl_core.federated.gradients import has_closed_form
from fl_core.federated.losses import LOSSES
from fl_core.federated.rule import LocalRule, Visit
from fl_core.federated.run import Run
from fl_core.federated.schedule import step_rates
from fl_core.federated.server import named
from fl_core.federated.stacked import stacked_updates
from fl_core.federated.state import State
from fl_core.optim.sgdm import Active

KEPT = "optimiser/"  # what outlives the round of a client's optimiser, in its memory


class Turn(NamedTuple):
    """One client's part in a round."""

    client: int
    round: int  # that its batches and learning rates are of
    work: Work
    rates: list[float]
    start: Tensor


Done = tuple[Turn, Visit, Trained]


def trained(
    run: Run,
    state: State,
    clients: Sequence[int],
    starts: Iterable[Tensor] | None,
    rounds: Sequence[int] | None = None,
) -> Iterator[Done]:
    """Clients after their steps from these starts (P,) each; None: from the server's parameters.

    rounds: that each one's work is of; None: the coming one.
    """
    same, count = starts is None, len(clients)
    starts, rounds = starts or [state.params] * count, rounds or [state.round] * count
    each = zip(clients, rounds, starts, strict=True)
    turns = (_turn(run, client, round, start) for client, round, start in each)
    if len(clients) > 1 and use_stacked(run.config, run.fed.model, state.params.device):
        return _together(run, state, turns, same)
    return _one_by_one(run, state, turns)


def _turn(run: Run, client: int, round: int, start: Tensor) -> Turn:
    """A client's batches and learning rates in a round."""
    config, fed = run.config, run.fed
    augmented = isinstance(fed.train, ImageSource)
    draws = stream(config.seed, f"{run.purpose}augment", round, client) if augmented else None
    batches = stream(config.seed, f"{run.purpose}batches", round, client)
    work = plan_work(fed.shards[client], run.local, batches, draws)
    steps = len(work.indices)
    local = replace(run.local, steps=config.local.steps)  # J is what the rate's progress goes by
    rates = step_rates(local, config.schedule, round, config.rounds, steps)
    return Turn(client, round, work, rates, start)


def examples_of(run: Run, client: int) -> int:
    """Examples that a client will process in a round, as `Update.images` says afterwards."""
    size, beside = len(run.fed.shards[client]), run.personal.beside
    found = planned_examples(size, run.local) + (size if run.rule.full_gradient else 0)
    if beside is not None:
        found += planned_examples(size, run.own_steps(*beside).local)
    return found


def _visit(run: Run, state: State, turn: Turn, memory: Mapping[str, Tensor]) -> Visit:
    """The round as the client's rule sees it; `memory` (P,) each, by name, is overwritten."""
    config, fed, rule = run.config, run.fed, run.rule
    known = state.clients.fill(turn.client, memory)
    gradient = None
    if rule.full_gradient:
        gradient = full_gradient(
            fed.model,
            turn.start,
            fed.train,
            fed.shards[turn.client],
            config.compute.micro_batch or config.local.batch_size,
            config.compute.precision,
            LOSSES[config.head.loss],
        )
    return Visit(
        start=turn.start,
        server={name: state.server[f"rule/{name}"] for name in rule.broadcast},
        memory=memory,
        travel=sum(turn.rates),
        known=float(known),
        participation=config.federation.sampled / config.federation.clients,
        active=None if fed.masks is None else fed.masks(turn.client),
        gradient=gradient,
    )


def _one_by_one(run: Run, state: State, turns: Iterable[Turn]) -> Iterator[Done]:
    """One client after the other: a single one's tensors are in memory at a time."""
    config, fed = run.config, run.fed
    for turn in turns:
        visit = _visit(run, state, turn, _unfilled(state, run.rule))
        yield (
            turn,
            visit,
            local_update(
                fed.model,
                visit,
                fed.train,
                turn.work,
                run.local,
                turn.rates,
                config.compute.precision,
                micro_batch=config.compute.micro_batch,
                rule=run.rule,
                loss=LOSSES[config.head.loss],
                state=_kept(run, state, turn.client),
            ),
        )


def _together(run: Run, state: State, each: Iterable[Turn], same: bool) -> Iterator[Done]:
    """All clients at once, as rows of one matrix; `same`: from one start."""
    config, fed, rule, turns = run.config, run.fed, run.rule, list(each)
    memory = _unfilled(state, rule, len(turns))  # (m, P) each
    rows = ({name: own[row] for name, own in memory.items()} for row in range(len(turns)))
    visits = [_visit(run, state, turn, own) for turn, own in zip(turns, rows, strict=True)]
    first = visits[0]
    active = first.active
    if run.own_masks:
        active = Active(torch.stack([v.active.mask for v in visits if v.active]), None)
    everyone = Visit(
        start=first.start if same else torch.stack([v.start for v in visits]),
        server=first.server,
        memory=memory,
        travel=_of_all([v.travel for v in visits], first.start),
        known=_of_all([v.known for v in visits], first.start),
        participation=first.participation,
        active=active,
    )
    trained = stacked_updates(
        fed.model,
        everyone,
        visits,
        fed.train,
        [turn.work for turn in turns],
        run.local,
        [turn.rates for turn in turns],
        config.compute.precision,
        rule=rule,
        loss=LOSSES[config.head.loss],
        states=[
            _spread(_kept(run, state, turn.client), visit)
            for turn, visit in zip(turns, visits, strict=True)
        ],
    )
    return zip(turns, visits, trained, strict=True)


def _kept(run: Run, state: State, client: int) -> dict[str, Tensor]:
    """What a client's optimiser goes on from."""
    return named(state.clients.of(client), KEPT) if run.config.local.keep_momentum else {}


def _spread(kept: Mapping[str, Tensor], visit: Visit) -> dict[str, Tensor]:
    """The same at all entries: one client at a time may have kept those that train alone."""
    found = dict(kept)
    for name, tensor in kept.items():
        if tensor.dim() and visit.active is not None and len(tensor) < len(visit.active.mask):
            whole = tensor.new_zeros(len(visit.active.mask))
            found[name] = whole.masked_scatter_(visit.active.mask, tensor)
    return found


def _unfilled(state: State, rule: LocalRule, *clients: int) -> dict[str, Tensor]:
    """Room for what a client keeps, (P,) each, or what all of them do, (m, P)."""
    return {name: state.params.new_empty(*clients, len(state.params)) for name in rule.memory}


def _of_all(each: Sequence[float | Tensor], like: Tensor) -> float | Tensor:
    """The number that all clients share, or one of each (m, 1)."""
    return each[0] if len(set(each)) == 1 else like.new_tensor(each).unsqueeze(1)


def use_stacked(config: TrialConfig, model: FlatModule, device: torch.device) -> bool:
    """Classifiers on features always; others on a GPU: on a CPU vmap loses to the plain loop.

    Recurrent ones never: vmap has no rule for them, and loops in their place.
    """
    if config.compute.execution == "auto":
        if config.compute.micro_batch:  # to save memory
            return False
        recurrent = any(isinstance(part, nn.RNNBase) for part in model.module.modules())
        return has_closed_form(model.module) or (device.type == "cuda" and not recurrent)
    return config.compute.execution == "stacked"
