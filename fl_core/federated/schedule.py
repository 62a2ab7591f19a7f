"""Learning rates over a run: a factor of the progress in (0, 1), by name.

Cosine: Loshchilov & Hutter, ICLR 2017; with linear warm-up: Goyal et al., 2017, as the scaling of
the rate with the batch; by its square root: Krizhevsky, 2014, and LAMB (You et al., ICLR 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from fl_core.config.method_sections import LocalConfig, ScheduleConfig
from fl_core.config.steps_done import single_rounds, steps_before


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * progress))


def _step(schedule: ScheduleConfig, progress: float) -> float:
    return float(schedule.gamma ** math.floor(progress / schedule.step_size))


def _warmup_cosine(schedule: ScheduleConfig, progress: float) -> float:
    if progress < schedule.warmup:
        return progress / schedule.warmup
    return _cosine((progress - schedule.warmup) / (1 - schedule.warmup))


#: Values of `schedule.name`.
SCHEDULES: Mapping[str, Callable[[ScheduleConfig, float], float]] = {
    "constant": lambda schedule, progress: 1.0,
    "cosine": lambda schedule, progress: _cosine(progress),
    "step": _step,
    "warmup_cosine": _warmup_cosine,
}


def lr_factor(schedule: ScheduleConfig, progress: float) -> float:
    """Factor of the learning rate at `progress` in (0, 1) of the whole run."""
    return SCHEDULES[schedule.name](schedule, progress)


#: Values of `local.lr_scaling`: the factor of a batch that is so many times as large.
SCALINGS: Mapping[str, Callable[[float], float]] = {
    "none": lambda ratio: 1.0,
    "linear": lambda ratio: ratio,
    "sqrt": math.sqrt,
}


def base_rate(local: LocalConfig) -> float:
    """The learning rate of these batches, where the schedule's factor is 1."""
    return local.lr * SCALINGS[local.lr_scaling](local.batch_size / local.base_batch)


def step_rates(
    local: LocalConfig, schedule: ScheduleConfig, round: int, rounds: int, steps: int
) -> list[float]:
    """Learning rate of each local step of `round`; a step's progress is taken at its middle.

    local.steps: J as it is configured; steps: those of this round and client.
    """
    rate, (before, length, total) = base_rate(local), _span(local.steps, schedule, round, rounds)
    return [
        rate * lr_factor(schedule, (before + length * (step + 0.5) / steps) / total)
        for step in range(steps)
    ]


def _span(steps: int, schedule: ScheduleConfig, round: int, rounds: int) -> tuple[int, int, int]:
    """A round in the run: what is done before it, its length, all there is. Counted in rounds, in
    local steps where some rounds are known to have fewer.
    """
    if not single_rounds(schedule, steps, rounds):
        return round, 1, rounds
    before, after, total = (
        steps_before(schedule, steps, rounds, done) for done in (round, round + 1, rounds)
    )
    return before, after - before, total
