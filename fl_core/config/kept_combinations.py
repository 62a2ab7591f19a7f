"""Where the state of a client's optimiser can outlive the round: each refusal a line.

It is the state of one model that one client goes on with in every round: whoever misses a round, or
trains a second model, would go on from what belongs to other parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fl_core.config.fields import refuse
from fl_core.config.methods import METHODS

if TYPE_CHECKING:
    from fl_core.config.trial_config import TrialConfig


def check_kept(config: TrialConfig) -> None:
    """ConfigError where somebody would go on from what is not of the round before."""
    if not config.local.keep_momentum:
        return
    why = _missed(config) or _other_model(config)
    if why is not None:
        raise refuse("local.keep_momentum", True, why)


def _missed(config: TrialConfig) -> str | None:
    """Why a client may miss a round."""
    fed, timing = config.federation, config.timing.mode
    if fed.clients == 1:
        return None
    if fed.sampled < fed.clients:
        needs = "only where every client takes part in every round: needs federation.clients=1 or "
        return f"{needs}federation.participation=1 ({fed.sampled} of {fed.clients} do)"
    if config.select.rule != "uniform":
        return f"not with select.rule={config.select.rule}, by which a client may miss a round"
    if timing != "synchronous":
        return f"not with timing.mode={timing}, by which a client may miss a round"
    return None  # where clients may fail: `timing_combinations.check_failing`


def _other_model(config: TrialConfig) -> str | None:
    """Why the state may not fit what a client trains."""
    if config.mask.changes:
        return "not where masks change: the momentum of what freezes would go on moving it"
    personal = METHODS["personal.rule"].get(config.personal.rule)
    if personal is None or "steps" in personal:
        name = f"personal.rule={config.personal.rule}"
        return f"not with {name}: a client that takes other steps beside has a second optimiser"
    return None
