"""Which values go together with how a round is timed: what spans sections, each refusal a line.

Every combination that makes no sense is a row of tests/conformance/test_refusals.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fl_core.config.fields import refuse
from fl_core.config.methods import SECURE

if TYPE_CHECKING:
    from fl_core.config.trial_config import TrialConfig

SUPERCLIENTS = "timing.mode=superclients"
#: Local rules that work on whatever a client is sent: a chain of clients can have them.
CHAINED = ("plain", "prox")
#: What works where updates arrive one by one, of models of any age: the rules whose clients need
#: nothing but the model that they were sent, and the averages that weigh clients.
ASYNCHRONOUS = {
    "local.rule": (("plain", "prox"), "its paper has no asynchronous form"),
    "local.blend": (("none",), "blends with what the round's clients know, and there is no round"),
    "personal.rule": (("none",), "what clients keep of a round has no asynchronous form"),
    "select.rule": (("uniform",), "chooses for a round, and there is none"),
    "select.reweight": (("biased",), "how likely an update is depends on how fast clients are"),
    "aggregate.rule": (("mean", "norm_bound"), "has no weights, which fall with staleness"),
}


def check_timing(config: TrialConfig) -> None:
    """ConfigError for the first combination that makes no sense."""
    if config.timing.fails:
        check_failing(config, "")
    if config.timing.mode == "buffered":
        _check_buffered(config)
    if config.timing.mode == "superclients":
        _check_superclients(config)


def check_failing(config: TrialConfig, because: str) -> None:
    """ConfigError for what needs the update of everybody who was chosen.

    because: the field that lets clients fail, where it is not one of these.
    """
    timing, select, aggregate = config.timing, config.select, config.aggregate
    ways = ("deadline", "dropout", "failure_rate", "window")
    defaults = type(timing)()
    name = because or next(
        f"timing.{way}" for way in ways if getattr(timing, way) != getattr(defaults, way)
    )
    value = config.to_flat()[name]
    if aggregate.fewest > 1 and aggregate.rule not in SECURE:
        why = f"aggregate.rule={aggregate.rule} needs {aggregate.fewest} updates in every round"
    elif select.reweight != "biased":
        why = "select.reweight=unbiased knows how likely a client is chosen, not that it arrives"
    elif select.rule == "power_of_choice":
        why = "select.rule=power_of_choice needs an answer of all whom it asks"
    elif config.local.blend != "none":
        why = "local.blend sums the Fisher information of all clients before they train"
    elif config.mask.changes:
        why = "masks that change over the rounds would be missed by who fails"
    elif config.local.keep_momentum and config.federation.clients > 1:
        why = "local.keep_momentum=True would go on from a state that is out of date"
    else:
        return
    raise refuse(name, value, f"lets clients fail: {why}")


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


def _check_buffered(config: TrialConfig) -> None:
    """The buffer can fill, and nothing needs a round in which all have the same model."""
    timing, fed, flat = config.timing, config.federation, config.to_flat()
    if timing.buffer > fed.sampled:
        flying = f"in flight are {fed.sampled} of {fed.clients} clients (federation.participation="
        allowed = f"{flying}{fed.participation:g}): must be at most {fed.sampled}"
        raise refuse("timing.buffer", timing.buffer, allowed)
    for name, (works, why) in ASYNCHRONOUS.items():
        if flat[name] not in works:
            raise refuse(name, flat[name], f"{why}: not with timing.mode=buffered")
    if timing.window < 1:
        needs = "lets the server wait until somebody is there, in a round: not with "
        raise refuse("timing.window", timing.window, f"{needs}timing.mode=buffered")
    if config.mask.changes:
        needs = "has masks of rounds, and updates are of several: not with timing.mode=buffered"
        name = "mask.recalibrate" if config.mask.recalibrate else "mask.schedule"
        raise refuse(name, flat[name], needs)
    if timing.mixing == "model":
        _check_mixing(config)
    elif timing.buffer == 1 and timing.staleness != type(timing)().staleness:
        why = "weighs updates next to each other, timing.buffer=1 is a single one"
        raise refuse("timing.staleness", timing.staleness, f"{why}: only for timing.mixing=model")


def _check_mixing(config: TrialConfig) -> None:
    """FedAsync's server: one client's model, a share below 1."""
    if config.timing.buffer > 1:
        needs = "mixes in the model of one client (FedAsync): needs timing.buffer=1"
        raise refuse("timing.mixing", "model", needs)
    if config.server.optimiser != "sgd":
        needs = "timing.mixing=model steps by server.lr alone"
        raise refuse("server.optimiser", config.server.optimiser, needs)
    if config.server.lr > 1:
        needs = "is a share of the model with timing.mixing=model: must be in (0, 1]"
        raise refuse("server.lr", config.server.lr, needs)
