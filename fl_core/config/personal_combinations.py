"""Which values go together with what stays with the clients: what spans sections, a line each.

Every combination that makes no sense is a row of tests/conformance/test_refusals.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fl_core.config.fields import refuse
from fl_core.config.methods import METHODS

if TYPE_CHECKING:
    from fl_core.config.trial_config import TrialConfig

#: Personal rules by which a part of the model stays with the clients.
LOCAL_PARTS = ("local", "fedper", "fedrep", "fedbn")
#: The fields that choose what happens to what clients and server send each other.
SHARING = (
    *("local.rule", "local.blend", "server.optimiser", "aggregate.rule", "attack.rule"),
    *("schedule.steps", "schedule.batch"),
)


def check_personal(config: TrialConfig) -> None:
    """There are several clients, and something is left to share."""
    rule, personal = config.personal.rule, config.personal
    if rule == "none":
        return
    if config.federation.clients == 1:
        raise refuse("personal.rule", rule, "needs several clients: federation.clients > 1")
    if config.mask.changes:
        needs = "not where masks change over the rounds: what a client keeps would not follow them"
        raise refuse("personal.rule", rule, needs)
    if config.keep == "best":
        needs = f"must be last with personal.rule={rule}: clients keep nothing of earlier rounds"
        raise refuse("keep", "best", needs)
    if rule in LOCAL_PARTS and config.select.rule == "power_of_choice":
        needs = "asks for losses of the server's model, of which clients train a part by themselves"
        raise refuse("select.rule", config.select.rule, f"{needs} with personal.rule={rule}")
    if rule == "local":
        _check_alone(config)
    if rule in ("fedper", "fedrep"):
        if config.part == "backbone":
            needs = "needs a strategy that trains the head, which stays with the client"
            raise refuse("personal.rule", rule, needs)
        if config.part == "head" and not config.head.hidden:
            needs = "a linear head is all that trains, so nothing is shared: that is "
            needs += "personal.rule=local; needs head.hidden > 0 or a backbone that trains"
            raise refuse("personal.rule", rule, needs)
    if rule == "fedbn" and config.part == "head" and config.head.norm == "none":
        needs = "needs layers that normalise: head.norm=layer or a backbone that trains"
        raise refuse("personal.rule", rule, needs)
    if rule == "fedrep" and personal.steps >= config.local.steps:
        allowed = f"some of local.steps={config.local.steps}, the rest are the body's"
        raise refuse("personal.steps", personal.steps, f"are the head's: must be {allowed}")


def _check_alone(config: TrialConfig) -> None:
    """Where every client is alone there is no traffic that a rule of either side could change."""
    flat, neutral = config.to_flat(), {name: next(iter(METHODS[name])) for name in SHARING}
    for name, usual in (*neutral.items(), ("server.lr", 1.0)):
        if flat[name] != usual:
            raise refuse(
                name, flat[name], "personal.rule=local shares nothing that it could change"
            )
