"""The stages of a trial: features -> head -> masks -> fine-tuning.

Each stage's artefact is stored under a hash of exactly the configuration fields it reads, so a
search over fine-tuning computes features, head and masks once, however many trials share them.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor

from fl_core.base.machine import Machine
from fl_core.config.secure_combinations import check_modulus
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sharding import PARTITION_READS
from fl_core.federated.cost import Cost
from fl_core.federated.messages import encode
from fl_core.federated.rules.table import rule_of
from fl_core.federated.state import Federation, State
from fl_core.federated.timing.checks import check_devices, check_reachable
from fl_core.federated.timing.superclients import superclients_cost
from fl_core.head_stage import head_cost, train_head
from fl_core.inputs import feature_federation, model_federation
from fl_core.masks.calibration import Calibration
from fl_core.masks.changing import ChangingMasks
from fl_core.masks.parties import Parties

#: The fields that decide which images, features, heads, shards and calibration examples there are.
INPUT_READS = (*PARTITION_READS, "data.image_size", "backbone.",
               "federation.participation", "head.",
               "fine_tune.strategy", "mask.layers", "mask.scope", "mask.source",
               "mask.examples")  # fmt: skip


#: What else may make `prepare` refuse, where a round may be too long, or a sum too large.
CHECK_READS = (*INPUT_READS, "timing.", "aggregate.", "local.", "personal.", "mask.")


def check_reads(config: TrialConfig) -> tuple[str, ...]:
    """The fields that decide whether this configuration's inputs are refused."""
    timed = config.timing.fails or config.timing.has_table
    return CHECK_READS if timed or config.aggregate.rule == "secure" else INPUT_READS


def prepare(config: TrialConfig, machine: Machine) -> tuple[Federation, State]:
    """The inputs of the main stage: the federation, and the state before its first round.

    Masks are checked here, and calibrated when they are first asked for.
    """
    check_devices(config)
    head = train_head(config, machine)
    if config.part == "head":
        fed = feature_federation(config, machine)
        start = fed.model.flat.clone() if head is None else head
    else:
        fed = model_federation(config, machine, head)
        start = fed.model.flat.clone()
    check_reachable(config, fed)
    check_modulus(config, _most_together(config, fed))
    parties = Parties(config, machine, fed.model, fed.train, fed.shards, start)
    calibration: Calibration | ChangingMasks | None = None
    if config.mask.changes:
        calibration = fed.changing = ChangingMasks(parties)
    elif config.mask.in_force:
        calibration = fed.masks = Calibration(parties)
    if rule_of(config.local).fisher:
        parties.check_clients()
        fed.fisher, fed.all_fisher = parties.client_fisher, parties.all_fisher
    if config.part == "backbone" and head is not None:
        fed.beside = len(encode(head, None, "dense"))
    formed = superclients_cost(config, fed)  # now: what `fed` holds must not hold `fed`
    fed.before = partial(_before, config, machine, head, calibration, formed)
    return fed, State(start)


def _most_together(config: TrialConfig, fed: Federation) -> int:
    """Weight of the largest clients that may meet in a round."""
    sizes = sorted((len(shard) for shard in fed.shards), reverse=True)
    together = config.federation.sampled
    return together if rule_of(config.local).uniform else sum(sizes[:together])


def _before(
    config: TrialConfig,
    machine: Machine,
    head: Tensor | None,
    calibration: Calibration | ChangingMasks | None,
    formed: Cost,
) -> dict[str, Cost]:
    """What the stages before the main one have cost: those that sent anything.

    A shared mask is calibrated here, if it was not yet.
    """
    costs: dict[str, Cost] = {}
    if head is not None:
        costs["head"] = head_cost(config, machine, head)
    if calibration is not None and any(calibration.cost()):
        costs["masks"] = calibration.cost()
    if any(formed):
        costs["superclients"] = formed
    return costs
