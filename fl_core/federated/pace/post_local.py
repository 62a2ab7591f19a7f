"""Post-local SGD (Lin et al., ICLR 2020, section 4): one step a round at first, J from then on.

Mini-batch SGD on all workers' batches finds the region, LocalSGD the flatter minimum in it. The
paper switches where the learning rate first decays, half of the way; a share of 0 is LocalSGD from
the start, to the bit. The equations are in `fl_core.config.steps_done`: from them follow a study's
rounds, and the learning rate's progress, which counts steps. Clients know them before the first
round, so that nothing is sent for it.
"""

from __future__ import annotations

from fl_core.config.steps_done import single_rounds
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.pace.pace import Memory, Pace
from fl_core.federated.update import Measured


def _now(config: TrialConfig, memory: Memory, round: int) -> int:
    steps = config.local.steps
    return 1 if round < single_rounds(config.schedule, steps, config.rounds) else steps


def _after(config: TrialConfig, memory: Memory, round: int, measured: Measured) -> Memory:
    return {}


POST_LOCAL = Pace(_now, _after, "steps_round", told=False)
