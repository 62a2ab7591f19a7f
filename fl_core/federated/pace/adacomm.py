"""AdaComm (Wang & Joshi, MLSys 2019, section 4): fewer local steps as the training loss falls.

    J_t = ceil(J_0 sqrt(eta_0 F_t / (eta_t F_0)))    where that is less than the J before it,
          max(1, floor(gamma J))                     otherwise

J_0 is `local.steps`, F the training loss, eta the learning rate (eta_0: `local.lr`), gamma
`schedule.shrink`. Long local work saves communication at first, short local work lowers the error
that drift leaves in the end. J never rises, so a loss that rises, a rate that decays or one that
warms up cannot lengthen a round beyond J_0; with gamma = 1 a loss that does not fall leaves J as it
is, and a constant loss is FedAvg to the bit. The paper takes gamma = 1/2, by which J falls to 1
where the loss no longer does.

Deviations. The paper looks every 60 seconds, evaluates F on all training examples, and takes F_0 at
the start. Here J may change every `schedule.interval` rounds, and F is what the round's clients say
beside their updates: the loss of the model that they were sent on their first batch, averaged by
their examples, F_0 that of the first round, F_t the mean over the interval's rounds. That is the
same quantity from a sample, one interval late. (The mean over a client's local steps would not do:
on few classes it falls within the round, and the more so the larger J is.)
"""

from __future__ import annotations

import math

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.pace.pace import Memory, Pace
from fl_core.federated.schedule import base_rate, step_rates
from fl_core.federated.update import Measured

#: In the server's memory: J of the coming round; F_0; of the interval so far the sum of F, and its
#: rounds.
STEPS, START, SUM, ROUNDS = "steps", "start_loss", "loss_sum", "loss_rounds"


def _now(config: TrialConfig, memory: Memory, round: int) -> int:
    return int(memory.get(STEPS, config.local.steps))


def _after(config: TrialConfig, memory: Memory, round: int, measured: Measured) -> Memory:
    loss, steps = measured.first_loss, _now(config, memory, round)
    start = memory.get(START, loss)
    total, rounds = memory.get(SUM, 0.0) + loss, memory.get(ROUNDS, 0.0) + 1
    if rounds >= config.schedule.interval:
        (rate,) = step_rates(config.local, config.schedule, round, config.rounds, 1)
        first = base_rate(config.local)
        steps = fewer(config, steps, first * total / rounds, rate * start)
        total, rounds = 0.0, 0.0
    return {STEPS: steps, START: start, SUM: total, ROUNDS: rounds}


def fewer(config: TrialConfig, steps: int, now: float, start: float) -> int:
    """J after `steps`, from eta_0 F_t and eta_t F_0; a run whose loss is not finite ends anyway."""
    if not (math.isfinite(now) and math.isfinite(start) and start > 0):
        return steps
    wanted = max(1, math.ceil(config.local.steps * math.sqrt(now / start)))
    return wanted if wanted < steps else max(1, math.floor(config.schedule.shrink * steps))


ADACOMM = Pace(_now, _after, "steps_round", loss=True)
