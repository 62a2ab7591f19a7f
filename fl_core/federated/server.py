"""The server's side of a round: from the aggregate to the next parameters.

The clients' rule has its say first (`LocalRule.serve`), then an optimiser steps along the
pseudo-gradient w - target (Reddi et al., ICLR 2021): SGD with rate 1 takes the target itself,
which is FedAvg.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from fl_core.config.fields import refuse
from fl_core.config.method_sections import ServerConfig
from fl_core.config.own import imported
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.rule import Gathered, LocalRule
from fl_core.federated.schedule import step_rates
from fl_core.federated.state import State
from fl_core.federated.update import Measured
from fl_core.optim.adaptive import Adaptive
from fl_core.optim.optimiser import Optimiser
from fl_core.optim.sgdm import SGDM
from fl_core.optim.slowmo import SlowMo


def _adaptive(server: ServerConfig, rate: float) -> Adaptive:
    return Adaptive(
        server.optimiser, server.beta1, server.beta2, server.tau, server.bias_correction
    )


#: Values of `server.optimiser`, from the section and the clients' learning rate in the round.
#: FedAvgM: Hsu et al. 2019; the adaptive ones: Reddi et al. 2021; Nesterov's as the outer step of
#: DiLoCo (Douillard et al. 2023).
OPTIMISERS: Mapping[str, Callable[[ServerConfig, float], Optimiser]] = {
    "sgd": lambda server, rate: SGDM(),
    "momentum": lambda server, rate: SGDM(server.momentum),
    "adagrad": _adaptive,
    "adam": _adaptive,
    "yogi": _adaptive,
    "slowmo": lambda server, rate: SlowMo(server.momentum, rate),
    "nesterov": lambda server, rate: SGDM(server.momentum, nesterov=True),
}


def optimiser_of(config: TrialConfig, round: int) -> Optimiser:
    """The optimiser that the section `server` names, or the user's own."""
    server, name = config.server, config.server.optimiser
    if name in OPTIMISERS:  # the middle of the round stands for its steps
        (rate,) = step_rates(config.local, config.schedule, round, config.rounds, 1)
        return OPTIMISERS[name](server, rate)
    found = imported(name, "server.optimiser", takes=("server",))(server)
    if not isinstance(found, Optimiser):
        raise refuse(
            "server.optimiser", name, f"must give an Optimiser, not {type(found).__name__}"
        )
    return found


def begun(state: State, rule: LocalRule) -> State:
    """The state with the server's tensors of the rule, zeros before the first round."""
    names = (f"rule/{name}" for name in (*rule.broadcast, *rule.held))
    missing = [name for name in names if name not in state.server]
    if not missing:
        return state
    fresh = {name: torch.zeros_like(state.params) for name in missing}
    return replace(state, server={**state.server, **fresh})


def named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those of a state's tensors that begin with the prefix, without it."""
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def server_step(
    config: TrialConfig,
    rule: LocalRule,
    state: State,
    target: Tensor,
    measured: Measured,
    trained: Tensor | None = None,
) -> State:
    """The state after a round. `target`: the aggregate (P,) float64.

    trained: (P,) bool, where masks change from round to round: what any client of this one trains.
    All else keeps its bits, whatever momentum or a rule remember of earlier rounds.
    """
    server = dict(state.server)
    gathered = _gathered(config, state, target, measured)
    if rule.serve is not None:
        told, target = rule.serve(gathered)
        server |= {f"rule/{name}": tensor for name, tensor in told.items()}
    optimiser = optimiser_of(config, state.round)
    if optimiser.plain and config.server.lr == 1:
        params = target  # exactly: w - (w - target) rounds
    else:
        memory = named(server, "optimiser/")
        memory = {name: tensor.clone() for name, tensor in memory.items()}  # old states stay
        params = measured.start.clone()
        optimiser.step(params, measured.start - target, memory, config.server.lr)
        server |= {f"optimiser/{name}": tensor for name, tensor in memory.items()}
    params = params.float()
    if trained is not None:
        params = torch.where(trained, params, state.params)
    if rule.remember is not None:
        told = rule.remember(gathered, params)
        server |= {f"rule/{name}": tensor for name, tensor in told.items()}
    return _passed(replace(state, params=params, server=server), measured)


def no_step(config: TrialConfig, rule: LocalRule, state: State, measured: Measured) -> State:
    """The state after a round without a target, since no update arrived or too few to be summed:
    the parameters and the optimiser stay as they are, a rule that remembers the server's models
    sees one more; who was heard has taken part.
    """
    server = dict(state.server)
    if rule.remember is not None:
        gathered = _gathered(config, state, measured.start, measured)
        told = rule.remember(gathered, state.params)
        server |= {f"rule/{name}": tensor for name, tensor in told.items()}
    return _passed(replace(state, server=server), measured)


def _passed(state: State, measured: Measured) -> State:
    """The state when the round's clients have taken part."""
    rounds = Counter(traffic.client for traffic in measured.traffic)
    return replace(
        state,
        round=state.round + 1,
        clients=measured.clients,
        selected=state.selected.changed(
            {k: state.selected.get(k, 0) + n for k, n in rounds.items()}
        ),
    )


def _gathered(config: TrialConfig, state: State, target: Tensor, measured: Measured) -> Gathered:
    """The round as the clients' rule sees it at the server."""
    return Gathered(
        server=named(state.server, "rule/"),
        start=measured.start,
        target=target,
        sums=measured.sums,
        senders=len(measured.traffic),
        clients=config.federation.clients,
        round=state.round,
        travel=measured.travel,
        moved=measured.moved,
        trained=measured.trained,
    )
