"""The stages of a trial: features -> head -> masks -> fine-tuning.

Each stage's artefact is stored under a hash of exactly the configuration fields it reads, so a
search over fine-tuning computes features, head and masks once, however many trials share them.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from fl_core.base.machine import Machine
from fl_core.config.artefact import stage_artefact
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sharding import PARTITION_READS
from fl_core.data.tasks import task_of
from fl_core.federated.cost import Cost, cost_of_ridge, cost_of_temperature
from fl_core.federated.messages import encode
from fl_core.federated.rounds import fedavg
from fl_core.federated.rules.table import rule_of
from fl_core.federated.state import Federation, State
from fl_core.inputs import feature_federation, image_federation
from fl_core.masks.calibration import Calibration
from fl_core.masks.parties import Parties
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

#: The fields that decide the ridge statistics, and a head that FedAvg learns.
RIDGE_READS = (*PARTITION_READS, "backbone.")
TEMPERATURE_READS = (*RIDGE_READS, "head.ridge_lambda")
#: What a head is, and what it learns from whom: all but its own training.
HEAD_READS = (*RIDGE_READS, "federation.participation", "head.hidden", "head.norm")
FEDAVG_HEAD_READS = (*HEAD_READS, "head.rounds", "head.local.")
#: The fields that decide which images, features, heads, shards and calibration examples there are.
INPUT_READS = (*PARTITION_READS, "backbone.", "federation.participation", "head.",
               "fine_tune.strategy", "mask.layers", "mask.scope", "mask.source",
               "mask.examples")  # fmt: skip


def train_head(config: TrialConfig, machine: Machine) -> Tensor | None:
    """Stage 2: a flat head (P,) on frozen features; None for `head.method=none`."""
    match config.head.method:
        case "ridge":
            head, _ = _unscaled_head(config, machine)
            head *= fitted_scale(config, machine).scale  # weight and bias both
        case "fedavg":
            head = _fedavg_artefact(config, machine)["head"]
        case _:
            return None
    return head.to(machine.device)


def fitted_scale(config: TrialConfig, machine: Machine) -> Fit:
    """1 / temperature of the ridge head: what the field says, or fitted on the clients' training
    examples, with the number of exchanges that took (see models.temperature).
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
    head, gram = _unscaled_head(config, machine)
    fed = feature_federation(config, machine)
    # sorted: the same sums, to the bit, however the examples are spread
    chosen = torch.from_numpy(np.sort(np.concatenate(fed.shards))).to(machine.device)
    of_label = margins(head.to(machine.device), fed.train.batch(chosen), fed.train.labels[chosen])

    def evaluate(scale: float) -> tuple[float, float]:
        slope, curvature = (derivatives(of_label, scale) / len(of_label)).tolist()
        return slope, curvature

    fit = fit_scale(evaluate, spread_of(gram, head))
    return {
        "scale": torch.tensor(fit.scale, dtype=torch.float64),
        "evaluations": torch.tensor(fit.evaluations),
    }


def _unscaled_head(config: TrialConfig, machine: Machine) -> tuple[Tensor, Tensor]:
    """The ridge head as the regression gives it, and X^T X."""
    tensors = stage_artefact(
        "ridge", config, machine, RIDGE_READS, lambda read: _ridge_statistics(read, machine)
    )
    head = ridge_head(tensors["gram"], tensors["target"], config.head.ridge_lambda)
    return head, tensors["gram"]


def _ridge_statistics(config: TrialConfig, machine: Machine) -> dict[str, Tensor]:
    """Every client's statistics, summed: one communication round, whatever the penalty."""
    fed = feature_federation(config, machine)
    labels, classes = fed.train.labels, task_of(config.data.name).classes
    chosen = (torch.from_numpy(indices).to(labels.device) for indices in fed.shards)
    gram, target = summed(ridge_statistics(fed.train.batch(c), labels[c], classes) for c in chosen)
    return {"gram": gram, "target": target}


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


def prepare(config: TrialConfig, machine: Machine) -> tuple[Federation, State]:
    """The inputs of the main stage: the federation, and the state before its first round.

    Masks are checked here, and calibrated when they are first asked for.
    """
    head = train_head(config, machine)
    if config.part == "head":
        fed = feature_federation(config, machine)
        start = fed.model.flat.clone() if head is None else head
    else:
        fed = image_federation(config, machine, head)
        start = fed.model.flat.clone()
    parties = Parties(config, machine, fed.model, fed.train, fed.shards, start)
    calibration = fed.masks = Calibration(parties) if config.mask.in_force else None
    if rule_of(config.local).fisher:
        parties.check_clients()
        fed.fisher, fed.all_fisher = parties.client_fisher, parties.all_fisher
    fed.before = partial(_before, config, machine, head, calibration)
    if config.part == "backbone" and head is not None:
        fed.beside = len(encode(head, None, "dense"))
    return fed, State(start)


def _before(
    config: TrialConfig, machine: Machine, head: Tensor | None, calibration: Calibration | None
) -> dict[str, Cost]:
    """What the stages before the main one have cost: those that sent anything.

    A shared mask is calibrated here, if it was not yet.
    """
    costs: dict[str, Cost] = {}
    if head is not None:
        costs["head"] = head_cost(config, machine, head)
    if calibration is not None and any(calibration.cost()):
        costs["masks"] = calibration.cost()
    return costs


def head_cost(config: TrialConfig, machine: Machine, head: Tensor) -> Cost:
    """What this head (P,) took. It goes to the clients as a part of the main stage."""
    if config.head.method == "fedavg":
        return Cost.of(_fedavg_artefact(config, machine)["cost"])
    clients, classes = config.federation.clients, task_of(config.data.name).classes
    evaluations = fitted_scale(config, machine).evaluations
    searched = cost_of_temperature(head, evaluations, (SENT_DOWN, SENT_UP), clients)
    return cost_of_ridge(len(head) // classes, classes, clients).plus(searched)


def realised_partition(config: TrialConfig, machine: Machine) -> np.ndarray:
    """(clients, classes) examples of each class at each client.

    Also loads, downloads or computes everything the stages of this configuration read, so that a
    study fails here, before any worker starts, if it fails.
    """
    fed, _ = prepare(config, machine)
    return fed.class_counts
