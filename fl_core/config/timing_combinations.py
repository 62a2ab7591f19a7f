"""Which values go together with how a round is timed: what spans sections, each refusal a line.

Every combination that makes no sense is a row of tests/conformance/test_refusals.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fl_core.config.fields import refuse

if TYPE_CHECKING:
    from fl_core.config.trial_config import TrialConfig

SUPERCLIENTS = "timing.mode=superclients"
#: Local rules that work on whatever a client is sent: a chain of clients can have them.
CHAINED = ("plain", "prox")


def check_timing(config: TrialConfig) -> None:
    """ConfigError for the first combination that makes no sense."""
    if config.timing.mode == "superclients":
        _check_superclients(config)


def _check_superclients(config: TrialConfig) -> None:
    """A client of a chain is any client: nothing tells its model from that of the one before."""
    mask = config.mask
    for name, allowed, why in (
        ("local.rule", CHAINED, "compares what a client makes with what the server sent it"),
        ("local.blend", ("none",), "starts a client from the server's parameters and its own"),
        ("personal.rule", ("none",), "keeps a part of the model from the next client of a chain"),
        ("select.rule", ("uniform",), "chooses clients, not superclients"),
        ("select.reweight", ("biased",), "is of clients, not of superclients"),
    ):
        if (value := config.to_flat()[name]) not in allowed:
            raise refuse(name, value, f"{why}: not with {SUPERCLIENTS}")
    if (rule := config.aggregate.rule) != "mean":
        why = "has no single client's update: a chain is of many, each of whom sees the one before"
        raise refuse("aggregate.rule", rule, f"{why}; {SUPERCLIENTS} needs aggregate.rule=mean")
    if config.federation.clients == 1:
        raise refuse("timing.mode", config.timing.mode, "needs several clients")
    if mask.of_each_client:
        why = "a client goes on from entries that others train"
        raise refuse("mask.scope", mask.scope, f"{why}: {SUPERCLIENTS} needs mask.scope=shared")
    if mask.changes:
        why = "needs a mask that does not change over the rounds"
        raise refuse("timing.mode", config.timing.mode, why)
