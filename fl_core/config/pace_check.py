"""Where the clients' work may follow the training: each refusal a line (see federated.pace)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fl_core.config.fields import refuse
from fl_core.config.methods import ROBUST

if TYPE_CHECKING:
    from fl_core.config.trial_config import TrialConfig


def check_pace(config: TrialConfig) -> None:
    """ConfigError where what a schedule looks at is not there, or means something else."""
    schedule = config.schedule
    for name in ("steps", "batch"):
        chosen = getattr(schedule, name)
        why = _common(config) if chosen != "constant" else None
        if why is not None:
            raise refuse(f"schedule.{name}", chosen, why)
    if schedule.steps != "constant" and config.personal.rule == "fedrep":
        needs = "not with personal.rule=fedrep, which gives a fixed part of the steps to the head"
        raise refuse("schedule.steps", schedule.steps, needs)
    if schedule.steps == "adacomm" and config.aggregate.rule in ROBUST:
        needs = "not with a robust aggregate.rule: the losses that clients tell are averaged "
        needs += "plainly, attackers' too"
        raise refuse("schedule.steps", schedule.steps, needs)
    if schedule.batch == "noise_scale":
        _check_noise_scale(config)


def _common(config: TrialConfig) -> str | None:
    """Why no schedule of the clients' work is possible here."""
    if config.local.unit != "steps":
        return "needs local.unit=steps: a round of epochs is as long as its client's examples"
    if config.timing.mode != "synchronous":
        return "needs timing.mode=synchronous: elsewhere updates of one step began in other rounds"
    if config.local.keep_momentum and config.federation.clients == 1:
        return "not with local.keep_momentum=True: one client that goes on has no rounds to adapt"
    return None


def _check_noise_scale(config: TrialConfig) -> None:
    schedule, local, fed = config.schedule, config.local, config.federation
    if schedule.batch_most < local.batch_size:
        allowed = f"must be at least local.batch_size={local.batch_size}"
        raise refuse("schedule.batch_most", schedule.batch_most, allowed)
    if fed.sampled < 2:
        needs = f"needs two clients in a round, for two sizes of batches: of {fed.clients} "
        needs += f"federation.participation={fed.participation:g} takes one"
        raise refuse("schedule.batch", schedule.batch, needs)
    if local.lr_scaling != "none":
        needs = "makes the batch grow where a rate would fall: needs local.lr_scaling=none"
        raise refuse("schedule.batch", schedule.batch, needs)
    for name, value, neutral in (
        ("local.keep_momentum", local.keep_momentum, False),
        ("local.rule", local.rule, "plain"),
        ("local.optimiser", local.optimiser, "sgdm"),
        ("local.blend", local.blend, "none"),
        ("personal.rule", config.personal.rule, "none"),
    ):
        if value != neutral:
            needs = f"takes updates for gradients: needs {name}={neutral}"
            raise refuse("schedule.batch", schedule.batch, needs)
