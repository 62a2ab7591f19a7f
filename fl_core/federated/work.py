"""One round's local work: from where, on what, under which mask, by which rule."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
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
from fl_core.federated.personal.own import MODEL, PART, with_own_part
from fl_core.federated.rule import PLAIN, Visit
from fl_core.federated.run import Run
from fl_core.federated.schedule import step_rates
from fl_core.federated.selection import Selection
from fl_core.federated.server import named
from fl_core.federated.stacked import stacked_updates
from fl_core.federated.state import State
from fl_core.federated.update import Update
from fl_core.optim.sgdm import Active

KEPT = "optimiser/"  # momentum that outlives the round, in a client's memory


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
    beside = _models_beside(run, state, clients)
    for index, (turn, visit, result) in enumerate(_shared_models(run, state, clients)):
        sent, kept = ({}, {}) if rule.finish is None else rule.finish(result.params, visit)
        if config.local.keep_momentum:
            kept = {**kept, **{KEPT + name: tensor for name, tensor in result.state.items()}}
        if run.fed.changing is not None:
            memory = state.clients.of(turn.client)
            kept = {**kept, **{n: t for n, t in memory.items() if n.startswith(CALIBRATED)}}
        params, second = result.params, next(beside, None)
        if run.part is not None:
            kept = {**kept, PART: params[run.part]}
            params = torch.where(run.part, state.params, params)
        if second is not None:
            kept = {**kept, MODEL: second.params}
            result = _with_second(result, second)
        examples = turn.work.num_examples
        own = 1 if rule.uniform else examples
        yield Update(
            client=turn.client,
            version=state.round,
            num_examples=examples,
            weight=own if chosen.weights is None else chosen.weights[index],
            sent=_told(run, state, turn, visit, {"params": params, **sent}),
            kept=kept,
            train_loss=result.train_loss,
            images=result.images + (examples if rule.full_gradient else 0),
            mask=_own_entries(run, visit) if _own_masks(run) else None,
            travel=sum(turn.rates),
        )


def _told(
    run: Run, state: State, turn: _Turn, visit: Visit, sent: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """What a client sends, honest or not."""
    mask = _own_entries(run, visit)
    return falsified(run.config, run.fed, turn.client, state.round, sent, state.params, mask)


def _own_entries(run: Run, visit: Visit) -> Tensor | None:
    """(P,) bool: what a client trains of what travels; None: all."""
    if visit.active is None:
        return None if run.part is None else ~run.part
    return visit.active.mask if run.part is None else visit.active.mask & ~run.part


def _with_second(shared: Trained, second: Trained) -> Trained:
    """The images of both; of the shared model the loss, unless that of the second diverges."""
    loss = torch.where(second.train_loss.isfinite(), shared.train_loss, second.train_loss)
    return shared._replace(train_loss=loss, images=shared.images + second.images)


def _shared_models(run: Run, state: State, clients: Sequence[int]) -> Iterator[_Done]:
    """Every client's model after its local steps: the server's, with what the client has of its
    own, trained together or that first and then the rest.
    """
    starts = None if run.rule.starts is None else run.rule.starts(clients, state, run.fed)
    if run.part is None:
        return trained(run, state, clients, starts)
    mixed = (
        with_own_part(run, state, client, start)
        for client, start in zip(clients, starts or [state.params] * len(clients), strict=True)
    )
    if run.personal.first:
        return _part_then_rest(run, state, clients, mixed, run.part)
    return trained(run, state, clients, mixed)


def _part_then_rest(
    run: Run, state: State, clients: Sequence[int], starts: Iterable[Tensor], part: Tensor
) -> Iterator[_Done]:
    """The first steps for the part (P,) alone, the others for the rest alone."""
    first = run.personal.first
    own = run.own_steps(PLAIN, first).training(part)
    rest = run._replace(steps=run.config.local.steps - first).training(~part)
    waiting = deque[Trained]()

    def after_own() -> Iterator[Tensor]:  # one at a time, as the rest asks for them
        for _, _, before in trained(own, state, clients, starts):
            waiting.append(before)
            yield before.params

    for turn, visit, after in trained(rest, state, clients, after_own()):
        yield turn, visit, after.following(waiting.popleft())


def _models_beside(run: Run, state: State, clients: Sequence[int]) -> Iterator[Trained]:
    """Every client's own model after its steps, in methods with one."""
    beside = run.personal.beside
    if beside is None:
        return
    starts = (state.clients.of(client).get(MODEL, state.params) for client in clients)
    told = replace(state, server={"rule/model": state.params})
    for _, _, result in trained(run.own_steps(*beside), told, clients, starts):
        yield result


def trained(
    run: Run, state: State, clients: Sequence[int], starts: Iterable[Tensor] | None
) -> Iterator[_Done]:
    """Clients after their steps from these starts (P,) each; None: from the server's parameters."""
    same = starts is None
    each = zip(clients, starts or [state.params] * len(clients), strict=True)
    turns = (_turn(run, state, client, start) for client, start in each)
    if len(clients) > 1 and use_stacked(run.config, run.fed.model, state.params.device):
        return _together(run, state, turns, same)
    return _one_by_one(run, state, turns)


def _turn(run: Run, state: State, client: int, start: Tensor) -> _Turn:
    """A client's batches and learning rates in the coming round."""
    config, fed, round = run.config, run.fed, state.round
    augmented = isinstance(fed.train, ImageSource)
    draws = stream(config.seed, f"{run.purpose}augment", round, client) if augmented else None
    batches = stream(config.seed, f"{run.purpose}batches", round, client)
    work = plan_work(fed.shards[client], run.local, batches, draws)
    steps = len(work.indices)
    rates = step_rates(run.local, config.schedule, round, config.rounds, steps)
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
                run.local,
                turn.rates,
                config.compute.precision,
                rule=run.rule,
                loss=LOSSES[config.head.loss],
                state=memory,
            ),
        )


def _together(run: Run, state: State, each: Iterable[_Turn], same: bool) -> Iterator[_Done]:
    """All clients at once, as rows of one matrix; `same`: from one start."""
    config, fed, rule, turns = run.config, run.fed, run.rule, list(each)
    visits = [_visit(run, state, turn) for turn in turns]
    first = visits[0]
    active = first.active
    if _own_masks(run):
        active = Active(torch.stack([v.active.mask for v in visits if v.active]), None)
    everyone = Visit(
        start=first.start if same else torch.stack([v.start for v in visits]),
        server=first.server,
        memory={name: torch.stack([v.memory[name] for v in visits]) for name in rule.memory},
        travel=_of_all([v.travel for v in visits], first.start),
        known=_of_all([v.known for v in visits], first.start),
        participation=first.participation,
        active=active,
    )
    trained = stacked_updates(
        fed.model,
        everyone,
        fed.train,
        [turn.work for turn in turns],
        run.local,
        [turn.rates for turn in turns],
        config.compute.precision,
        rule=rule,
        loss=LOSSES[config.head.loss],
    )
    return zip(turns, visits, trained, strict=True)


def _of_all(each: Sequence[float | Tensor], like: Tensor) -> float | Tensor:
    """The number that all clients share, or one of each (m, 1)."""
    return each[0] if len(set(each)) == 1 else like.new_tensor(each).unsqueeze(1)


def _own_masks(run: Run) -> bool:
    """Whether every client trains, and sends, entries of its own."""
    return run.fed.masks is not None and run.config.mask.scope == "per_client"


def use_stacked(config: TrialConfig, model: FlatModule, device: torch.device) -> bool:
    """Classifiers on features always; others on a GPU: on a CPU vmap loses to the plain loop."""
    if config.compute.execution == "auto":
        return has_closed_form(model.module) or device.type == "cuda"
    return config.compute.execution == "stacked"
