"""The stage that makes a head: by FedAvg on frozen features, or in closed form from one round.

A closed form is an entry of CLOSED_FORMS: what the clients send it, once, is summed and stored
under the fields that decide it; the head, made of the sums in no time, is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fl_core.base.machine import Machine
from fl_core.base.rng import stream
from fl_core.config.artefact import stage_artefact
from fl_core.config.sections import HeadConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sharding import PARTITION_READS
from fl_core.data.tasks import task_of
from fl_core.federated.cost import Cost, cost_of_means, cost_of_ridge, cost_of_temperature
from fl_core.federated.rounds import fedavg
from fl_core.federated.state import Federation, State
from fl_core.inputs import feature_federation
from fl_core.models.cof import cof_head, scatter_within
from fl_core.models.ncm import class_means, class_sums, moments, ncm_head
from fl_core.models.ridge import ridge_head, ridge_statistics, summed
from fl_core.models.temperature import (
    SENT_DOWN,
    SENT_UP,
    Fit,
    derivatives,
    fit_scale,
    margins,
    spread_of,
)

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class ClosedForm:
    """A head from one round. `sums`: what the server has of all clients' messages, and under `cost`
    what these were; `reads`: the fields that decide them.
    """

    sums: Callable[[TrialConfig, Federation], dict[str, Tensor]]
    reads: tuple[str, ...]
    head: Callable[[Tensors, HeadConfig], Tensor]  # flat (C * D + C,), as yet without a temperature
    moments: Callable[[Tensors], Tensor]  # (D + 1, D + 1) X^T X with a column of ones
    cost: Callable[[Tensors, TrialConfig], Cost]


def _ridge_sums(config: TrialConfig, fed: Federation) -> dict[str, Tensor]:
    """Every client's statistics, summed: one communication round, whatever the penalty."""
    labels, classes = fed.train.labels, task_of(config.data).classes
    each = (ridge_statistics(fed.train.batch(c), labels[c], classes) for c in _shards(fed))
    gram, target = summed(each)
    return {"gram": gram, "target": target}


def _ridge_cost(sums: Tensors, config: TrialConfig) -> Cost:
    width, classes = sums["target"].shape
    return cost_of_ridge(width, classes, config.federation.clients)


def _ncm_sums(config: TrialConfig, fed: Federation) -> dict[str, Tensor]:
    """The class means of all clients, weighted by their examples; and what it took to send them."""
    rows = list(_class_means(config, fed, 1))
    return {"sums": class_sums(rows, task_of(config.data).classes), "cost": _sent(rows)}


def _cof_sums(config: TrialConfig, fed: Federation) -> dict[str, Tensor]:
    """The same, and how far the means of a class are apart."""
    rows = list(_class_means(config, fed, config.head.means))
    sums = class_sums(rows, task_of(config.data).classes)
    return {"sums": sums, "scatter": scatter_within(rows, sums), "cost": _sent(rows)}


def _class_means(config: TrialConfig, fed: Federation, means: int) -> Iterable[Tensor]:
    labels, classes = fed.train.labels, task_of(config.data).classes
    for client, chosen in enumerate(_shards(fed)):
        random = stream(config.seed, "means", client) if means > 1 else None
        yield class_means(fed.train.batch(chosen), labels[chosen], classes, means, random)


def _shards(fed: Federation) -> Iterable[Tensor]:
    return (torch.from_numpy(indices).to(fed.train.labels.device) for indices in fed.shards)


def _sent(rows: Sequence[Tensor]) -> Tensor:
    return cost_of_means(rows).to_tensor()


#: The fields that decide what clients send for a head, and a head that FedAvg learns.
RIDGE_READS = (*PARTITION_READS, "data.image_size", "backbone.")
#: What a head is, and what it learns from whom: all but its own training.
HEAD_READS = (*RIDGE_READS, "federation.participation", "head.hidden", "head.norm",
              "head.loss")  # fmt: skip
COF_READS = (*RIDGE_READS, "head.method", "head.means")
TEMPERATURE_READS = (*COF_READS, "head.ridge_lambda", "head.shrinkage")
FEDAVG_HEAD_READS = (*HEAD_READS, "head.rounds", "head.local.")

CLOSED_FORMS: Mapping[str, ClosedForm] = {
    "ridge": ClosedForm(
        sums=_ridge_sums,
        reads=RIDGE_READS,
        head=lambda sums, head: ridge_head(sums["gram"], sums["target"], head.ridge_lambda),
        moments=lambda sums: sums["gram"],
        cost=_ridge_cost,
    ),
    "ncm": ClosedForm(
        sums=_ncm_sums,
        reads=RIDGE_READS,
        head=lambda sums, head: ncm_head(sums["sums"]),
        moments=lambda sums: moments(sums["sums"]),
        cost=lambda sums, config: Cost.of(sums["cost"]),
    ),
    "cof": ClosedForm(
        sums=_cof_sums,
        reads=COF_READS,
        head=lambda sums, head: cof_head(sums["sums"], sums["scatter"], head.shrinkage),
        moments=lambda sums: moments(sums["sums"]),
        cost=lambda sums, config: Cost.of(sums["cost"]),
    ),
}


def train_head(config: TrialConfig, machine: Machine) -> Tensor | None:
    """Stage 2: a flat head (P,) on frozen features; None for `head.method=none`."""
    if config.head.method == "none":
        return None
    if config.head.method == "fedavg":
        return _fedavg_artefact(config, machine)["head"].to(machine.device)
    head, _ = _unscaled_head(config, machine)
    head *= fitted_scale(config, machine).scale  # weight and bias both
    return head.to(machine.device)


def head_cost(config: TrialConfig, machine: Machine, head: Tensor) -> Cost:
    """What this head (P,) took. It goes to the clients as a part of the main stage."""
    if config.head.method == "fedavg":
        return Cost.of(_fedavg_artefact(config, machine)["cost"])
    evaluations = fitted_scale(config, machine).evaluations
    numbers = (SENT_DOWN, SENT_UP)
    searched = cost_of_temperature(head, evaluations, numbers, config.federation.clients)
    form = CLOSED_FORMS[config.head.method]
    return form.cost(_sums(config, machine), config).plus(searched)


def fitted_scale(config: TrialConfig, machine: Machine) -> Fit:
    """1 / temperature of a head in closed form: what the field says, or fitted on the clients'
    training examples, with the number of exchanges that took (see models.temperature).
    """
    temperature = config.head.temperature
    if temperature != "auto":
        return Fit(1 / float(temperature), 0)
    tensors = stage_artefact(
        "temperature", config, machine, TEMPERATURE_READS, lambda read: _fit(read, machine)
    )
    return Fit(float(tensors["scale"]), int(tensors["evaluations"]))


def _fit(config: TrialConfig, machine: Machine) -> dict[str, Tensor]:
    """The sums of all clients at once: to add them up client by client would change nothing."""
    head, seen = _unscaled_head(config, machine)
    fed = feature_federation(config, machine)
    # sorted: the same sums, to the bit, however the examples are spread
    chosen = torch.from_numpy(np.sort(np.concatenate(fed.shards))).to(machine.device)
    of_label = margins(head.to(machine.device), fed.train.batch(chosen), fed.train.labels[chosen])

    def evaluate(scale: float) -> tuple[float, float]:
        slope, curvature = (derivatives(of_label, scale) / len(of_label)).tolist()
        return slope, curvature

    fit = fit_scale(evaluate, spread_of(seen, head))
    return {
        "scale": torch.tensor(fit.scale, dtype=torch.float64),
        "evaluations": torch.tensor(fit.evaluations),
    }


def _unscaled_head(config: TrialConfig, machine: Machine) -> tuple[Tensor, Tensor]:
    """The head as its closed form gives it, and X^T X as far as the server knows it."""
    form, sums = CLOSED_FORMS[config.head.method], _sums(config, machine)
    return form.head(sums, config.head), form.moments(sums)


def _sums(config: TrialConfig, machine: Machine) -> dict[str, Tensor]:
    """What the server has of all clients' messages, stored under the name of the closed form."""
    method = config.head.method
    reads = CLOSED_FORMS[method].reads
    return stage_artefact(
        method, config, machine, reads, lambda read: _gathered(method, read, machine)
    )


def _gathered(method: str, config: TrialConfig, machine: Machine) -> dict[str, Tensor]:
    return CLOSED_FORMS[method].sums(config, feature_federation(config, machine))


def _fedavg_artefact(config: TrialConfig, machine: Machine) -> dict[str, Tensor]:
    """A learnt head, and what it cost."""
    return stage_artefact(
        "head", config, machine, FEDAVG_HEAD_READS, lambda read: _fedavg_head(read, machine)
    )


def _fedavg_head(config: TrialConfig, machine: Machine) -> dict[str, Tensor]:
    """The head that the same loop learns, with the settings of the section `head` for its clients
    and all others at their defaults: dense, averaged plainly.
    """
    fed = feature_federation(config, machine)
    rounds, local = config.head.rounds, config.head.local.to_flat()
    stage = config.only(HEAD_READS).override(
        {
            **{name.removeprefix("head."): value for name, value in local.items()},
            "local.keep_momentum": config.federation.clients == 1,
            "rounds": rounds,
            "eval_every": rounds,
        }
    )
    last = list(fedavg(stage, fed, State(fed.model.flat.clone())))[-1]
    spent = (last.metrics[name] for name in ("bytes_up", "bytes_down", "local_steps"))
    cost = Cost(*map(int, spent))
    return {"head": last.state.params, "cost": cost.to_tensor()}
