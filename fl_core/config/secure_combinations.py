"""What secure aggregation goes together with: the server sees sums, and they do not overflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fl_core.config.fields import refuse
from fl_core.config.methods import SUMMING
from fl_core.config.own import is_own
from fl_core.data.catalogue import DATA_SETS

if TYPE_CHECKING:
    from fl_core.config.trial_config import TrialConfig


def check_secure(config: TrialConfig) -> None:
    """The server learns nothing of one client beside the sum, and the sum does not overflow."""
    rule, local, reason = config.aggregate.rule, config.local, ""
    if local.rule in SUMMING:
        reason = f"local.rule={local.rule}: what clients send beside their parameters is not hidden"
    elif local.blend != "none":
        reason = f"local.blend={local.blend}: clients' Fisher information is not hidden"
    elif config.select.rule == "power_of_choice":
        reason = "select.rule=power_of_choice: the server asks for the loss of each client"
    elif config.schedule.steps == "adacomm" or config.schedule.batch != "constant":
        reason = "schedule.steps=adacomm or schedule.batch: they ask for a number of each client"
    elif config.mask.of_each_client:
        reason = "mask.scope=per_client: a client's mask tells of its data, and sums need one mask"
    elif config.mask.changes:
        reason = "masks that change over the rounds: both sides must hold the mask from the start"
    elif config.timing.mode != "synchronous":
        reason = f"timing.mode={config.timing.mode}: clients must meet in one round"
    if reason:
        raise refuse("aggregate.rule", rule, f"not with {reason}")
    if config.data.name in DATA_SETS and not is_own(local.rule):  # which may weigh all alike
        fed, data = config.federation, config.data
        held = DATA_SETS[data.name].train
        held -= 0 if data.train_on == "train+val" else round(data.val_fraction * held)
        check_modulus(config, fed.sampled * (held // fed.clients))


def check_modulus(config: TrialConfig, examples: int) -> None:
    """ConfigError where a weighted sum over so many examples may reach the modulus."""
    chosen = config.aggregate
    if chosen.rule == "secure" and examples << chosen.bits >= 1 << chosen.modulus_bits:
        needs = f"a round's {examples} examples times 2^{chosen.bits} (aggregate.bits) reach "
        needs += f"2^{chosen.modulus_bits}: needs {(examples << chosen.bits).bit_length()} or more"
        raise refuse("aggregate.modulus_bits", chosen.modulus_bits, needs)
