"""One round's local work: from where, on what, under which mask, by which rule."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from fl_core.federated.attacks import falsified
from fl_core.federated.chains import chain_updates
from fl_core.federated.client import Trained
from fl_core.federated.masking import CALIBRATED
from fl_core.federated.pace.table import paces
from fl_core.federated.personal.own import MODEL, PART, with_own_part
from fl_core.federated.rule import PLAIN, Visit
from fl_core.federated.run import Run
from fl_core.federated.selection import Selection
from fl_core.federated.state import State
from fl_core.federated.timing.turnout import Start
from fl_core.federated.turns import KEPT, Done, Turn, trained
from fl_core.federated.update import LOSS, Update


def client_updates(
    run: Run,
    state: State,
    chosen: Selection,
    starts: Mapping[int, Start] | None = None,
    chains: Sequence[Sequence[int]] = (),
) -> Iterator[Update]:
    """The sampled clients' updates of the coming round, stacked where that is faster; of chains
    of them one each.

    starts: what those began with that did so before the server had its parameters of now.
    """
    if chains:
        yield from chain_updates(run, state, chains)
        return
    config, rule, clients = run.config, run.rule, chosen.clients.tolist()
    beside, now = _models_beside(run, state, clients), Start(state.round, state.params)
    began = [(starts or {}).get(client, now) for client in clients]
    tells_loss = any(pace.loss for pace in paces(config).values())
    for index, (turn, visit, result) in enumerate(_shared_models(run, state, clients, began)):
        sent, kept = ({}, {}) if rule.finish is None else rule.finish(result.params, visit)
        sent = {**sent, LOSS: result.first_loss} if tells_loss else sent
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
        examples, start = turn.work.num_examples, began[index]
        own = 1 if rule.uniform else examples
        yield Update(
            client=turn.client,
            version=turn.round,
            num_examples=examples,
            weight=own if chosen.weights is None else chosen.weights[index],
            sent=_told(run, turn, visit, start, {"params": params, **sent}),
            kept=kept,
            train_loss=result.train_loss,
            images=result.images + (examples if rule.full_gradient else 0),
            mask=_own_entries(run, visit) if run.own_masks else None,
            travel=sum(turn.rates),
            since=None if start is now or config.timing.mixing == "model" else start.params,
        )


def _told(
    run: Run, turn: Turn, visit: Visit, start: Start, sent: Mapping[str, Tensor]
) -> Mapping[str, Tensor]:
    """What a client sends, honest or not."""
    mask = _own_entries(run, visit)
    return falsified(run.config, run.fed, turn.client, start.version, sent, start.params, mask)


def _own_entries(run: Run, visit: Visit) -> Tensor | None:
    """(P,) bool: what a client trains of what travels; None: all."""
    if visit.active is None:
        return None if run.part is None else ~run.part
    return visit.active.mask if run.part is None else visit.active.mask & ~run.part


def _with_second(shared: Trained, second: Trained) -> Trained:
    """The images of both; of the shared model the loss, unless that of the second diverges."""
    loss = torch.where(second.train_loss.isfinite(), shared.train_loss, second.train_loss)
    return shared._replace(train_loss=loss, images=shared.images + second.images)


def _shared_models(
    run: Run, state: State, clients: Sequence[int], began: Sequence[Start]
) -> Iterator[Done]:
    """Every client's model after its local steps: the server's (or an older one), with what the
    client has of its own, trained together or that first and then the rest.
    """
    rounds = [start.version for start in began]
    if any(round != state.round for round in rounds):
        return trained(run, state, clients, (start.params for start in began), rounds)
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
) -> Iterator[Done]:
    """The first steps for the part (P,) alone, the others for the rest alone."""
    first = run.personal.first
    own = run.own_steps(PLAIN, first).training(part)
    rest = run._replace(steps=run.local.steps - first).training(~part)
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
