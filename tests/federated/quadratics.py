"""Clients whose losses are quadratics, in rounds of the real rule, aggregate and server step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.table import aggregate
from fl_core.federated.rule import LocalRule, Visit
from fl_core.federated.rules.table import rule_of
from fl_core.federated.server import begun, server_step
from fl_core.federated.state import State
from fl_core.federated.update import Measured, Update
from fl_core.optim.sgdm import SGDM


@dataclass(frozen=True)
class Quadratic:
    """f(w) = (w - optimum)' H (w - optimum) / 2, of one client."""

    hessian: Tensor  # (P, P)
    optimum: Tensor  # (P,)
    examples: int = 1

    def gradient(self, params: Tensor) -> Tensor:
        return self.hessian @ (params - self.optimum)


def joint_minimiser(clients: Sequence[Quadratic]) -> Tensor:
    """Of the sum of their losses, each counted once."""
    hessian = torch.stack([c.hessian for c in clients]).sum(0)
    return torch.linalg.solve(hessian, sum(c.hessian @ c.optimum for c in clients))


def descend(
    rule: LocalRule, visit: Visit, loss: Quadratic, rates: Sequence[float], sgdm: SGDM | None = None
) -> Tensor:
    """Where a client ends: full-batch steps, corrected by the rule."""
    params, memory = visit.start.clone(), dict[str, Tensor]()
    for rate in rates:
        grad = loss.gradient(params)
        if rule.correct is not None:
            rule.correct(grad, params, visit)
        (sgdm or SGDM()).step(params, grad, memory, rate, active=visit.active)
    return params


def one_round(
    config: TrialConfig, state: State, clients: Sequence[Quadratic], chosen: Sequence[int],
    rates: Callable[[int], Sequence[float]],
) -> State:  # fmt: skip
    """A round of those chosen; `rates`: the learning rate of each step of a client."""
    rule = rule_of(config.local)
    state = begun(state, rule)
    updates = []
    for client in chosen:
        own = state.clients.of(client)
        visit = Visit(
            start=state.params,
            server={n: state.server[f"rule/{n}"] for n in rule.broadcast},
            memory={n: own.get(n, torch.zeros_like(state.params)) for n in rule.memory},
            travel=sum(rates(client)),
            known=float(bool(own)),
            participation=len(chosen) / len(clients),
            gradient=clients[client].gradient(state.params) if rule.full_gradient else None,
        )
        params = descend(rule, visit, clients[client], rates(client))
        sent, kept = ({}, {}) if rule.finish is None else rule.finish(params, visit)
        examples = clients[client].examples
        updates.append(
            Update(client, state.round, examples, 1 if rule.uniform else examples,
                   {"params": params, **sent}, kept, torch.tensor(0.0), examples,
                   travel=sum(rates(client)))
        )  # fmt: skip
    measured = Measured(state.params, moves=rule.moves)
    measured.begin(state.params, state.clients)
    target = aggregate(measured.passing(updates), measured.start, config)
    return server_step(config, rule, state, target, measured)
