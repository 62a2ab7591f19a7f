"""One round's local work: from where, on what, under which mask, by which rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import ImageSource
from fl_core.federated.attacks import falsified
from fl_core.federated.client import Trained, Work, full_gradient, local_update, plan_work
from fl_core.federated.gradients import has_closed_form
from fl_core.federated.losses import LOSSES
from fl_core.federated.masking import CALIBRATED
from fl_core.federated.rule import LocalRule, Visit
from fl_core.federated.schedule import step_rates
from fl_core.federated.selection import Selection
from fl_core.federated.server import named
from fl_core.federated.stacked import stacked_updates
from fl_core.federated.state import Federation, State
from fl_core.federated.update import Update
from fl_core.optim.sgdm import Active

KEPT = "optimiser/"  # momentum that outlives the round, in a client's memory


class Run(NamedTuple):
    """What does not change from round to round."""

    config: TrialConfig
    fed: Federation
    rule: LocalRule


class _Turn(NamedTuple):
    """One client's part in a round."""

    client: int
    work: Work
    rates: list[float]
    start: Tensor


_Done = tuple[_Turn, Visit, Trained]


def client_updates(run: Run, state: State, chosen: Selection) -> Iterator[Update]:
    """The sampled clients' updates of the coming round, stacked where that is faster."""
    config, rule, clients = run.config, run.rule, chosen.clients.tolist()
    same = [state.params] * len(clients)
    starts = same if rule.starts is None else rule.starts(clients, state, run.fed)
    turns = (_turn(run, state, *each) for each in zip(clients, starts, strict=True))
    stacked = len(clients) > 1 and use_stacked(config, run.fed.model, state.params.device)
    done = (_together if stacked else _one_by_one)(run, state, turns)
    for index, (turn, visit, result) in enumerate(done):
        sent, kept = ({}, {}) if rule.finish is None else rule.finish(result.params, visit)
        if config.local.keep_momentum:
            kept = {**kept, **{KEPT + name: tensor for name, tensor in result.state.items()}}
        if run.fed.changing is not None:
            memory = state.clients.of(turn.client)
            kept = {**kept, **{n: t for n, t in memory.items() if n.startswith(CALIBRATED)}}
        examples = turn.work.num_examples
        own = 1 if rule.uniform else examples
        yield Update(
            client=turn.client,
            version=state.round,
            num_examples=examples,
            weight=own if chosen.weights is None else chosen.weights[index],
            sent=_told(run, state, turn, visit, {"params": result.params, **sent}),
            kept=kept,
            train_loss=result.train_loss,
            images=result.images + (examples if rule.full_gradient else 0),
            mask=visit.active.mask if visit.active is not None and _own_masks(run) else None,
            travel=sum(turn.rates),
        )


def _told(
    run: Run, state: State, turn: _Turn, visit: Visit, sent: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """What a client sends, honest or not."""
    mask = None if visit.active is None else visit.active.mask
    return falsified(run.config, run.fed, turn.client, state.round, sent, state.params, mask)


def _turn(run: Run, state: State, client: int, start: Tensor) -> _Turn:
    """A client's batches and learning rates in the coming round."""
    config, fed, round = run.config, run.fed, state.round
    augmented = isinstance(fed.train, ImageSource)
    draws = stream(config.seed, "augment", round, client) if augmented else None
    batches = stream(config.seed, "batches", round, client)
    work = plan_work(fed.shards[client], config.local, batches, draws)
    steps = len(work.indices)
    rates = step_rates(config.local, config.schedule, round, config.rounds, steps)
    return _Turn(client, work, rates, start)


def _visit(run: Run, state: State, turn: _Turn) -> Visit:
    """The round as the client's rule sees it."""
    config, fed, rule = run.config, run.fed, run.rule
    memory = state.clients.of(turn.client) if rule.memory else {}
    gradient = None
    if rule.full_gradient:
        gradient = full_gradient(
            fed.model,
            turn.start,
            fed.train,
            fed.shards[turn.client],
            config.local.batch_size,
            config.compute.precision,
            LOSSES[config.head.loss],
        )
    return Visit(
        start=turn.start,
        server={name: state.server[f"rule/{name}"] for name in rule.broadcast},
        memory={
            name: memory[name] if name in memory else torch.zeros_like(turn.start)
            for name in rule.memory
        },
        travel=sum(turn.rates),
        known=float(any(name in memory for name in rule.memory)),
        participation=config.federation.sampled / config.federation.clients,
        active=None if fed.masks is None else fed.masks(turn.client),
        gradient=gradient,
    )


def _one_by_one(run: Run, state: State, turns: Iterable[_Turn]) -> Iterator[_Done]:
    """One client after the other: a single one's tensors are in memory at a time."""
    config, fed = run.config, run.fed
    for turn in turns:
        visit = _visit(run, state, turn)
        keeps = config.local.keep_momentum
        memory = named(state.clients.of(turn.client), KEPT) if keeps else None
        yield (
            turn,
            visit,
            local_update(
                fed.model,
                visit,
                fed.train,
                turn.work,
                config.local,
                turn.rates,
                config.compute.precision,
                rule=run.rule,
                loss=LOSSES[config.head.loss],
                state=memory,
            ),
        )


def _together(run: Run, state: State, each: Iterable[_Turn]) -> Iterator[_Done]:
    """All clients at once, as rows of one matrix."""
    config, fed, rule, turns = run.config, run.fed, run.rule, list(each)
    visits = [_visit(run, state, turn) for turn in turns]
    first = visits[0]
    active = first.active
    if _own_masks(run):
        active = Active(torch.stack([v.active.mask for v in visits if v.active]), None)
    everyone = Visit(
        start=first.start if rule.starts is None else torch.stack([v.start for v in visits]),
        server=first.server,
        memory={name: torch.stack([v.memory[name] for v in visits]) for name in rule.memory},
        travel=_column([v.travel for v in visits], first.start),
        known=_column([v.known for v in visits], first.start),
        participation=first.participation,
        active=active,
    )
    trained = stacked_updates(
        fed.model,
        everyone,
        fed.train,
        [turn.work for turn in turns],
        config.local,
        [turn.rates for turn in turns],
        config.compute.precision,
        rule=rule,
        loss=LOSSES[config.head.loss],
    )
    return zip(turns, visits, trained, strict=True)


def _column(each: Sequence[float | Tensor], like: Tensor) -> Tensor:
    """One number of every client, (m, 1)."""
    return like.new_tensor(each).unsqueeze(1)


def _own_masks(run: Run) -> bool:
    """Whether every client trains, and sends, entries of its own."""
    return run.fed.masks is not None and run.config.mask.scope == "per_client"


def use_stacked(config: TrialConfig, model: FlatModule, device: torch.device) -> bool:
    """Classifiers on features always; others on a GPU: on a CPU vmap loses to the plain loop."""
    if config.compute.execution == "auto":
        return has_closed_form(model.module) or device.type == "cuda"
    return config.compute.execution == "stacked"
