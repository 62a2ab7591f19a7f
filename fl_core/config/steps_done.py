"""How many local steps so many rounds are, where the schedule of the steps is known beforehand.

Post-local SGD (Lin et al., ICLR 2020, section 4) has rounds of one step until `schedule.switch` of
all local steps are done, rounds of J = `local.steps` from then on. Of T rounds have one step

    s = switch J T / (switch J + 1 - switch), rounded,      and all together s + (T - s) J steps

so that each further round is one step more, or J. Of every other schedule s = 0. (AdaComm's J falls
as the loss does: there T rounds are at most so many steps.)
"""

from __future__ import annotations

from fl_core.config.method_sections import ScheduleConfig

POST_LOCAL = "post_local"


def single_rounds(schedule: ScheduleConfig, steps: int, rounds: int) -> int:
    """s, the first of so many rounds, which have one local step; `steps`: J of the others.

    >>> single_rounds(ScheduleConfig(steps="post_local", switch=0.5), 16, 425)
    400
    """
    if schedule.steps != POST_LOCAL:
        return 0
    share = schedule.switch * steps
    return round(rounds * share / (share + 1 - schedule.switch))


def steps_before(schedule: ScheduleConfig, steps: int, rounds: int, round: int) -> int:
    """Local steps of a client in the first `round` of `rounds`."""
    single = single_rounds(schedule, steps, rounds)
    return min(round, single) + max(0, round - single) * steps


def rounds_of(schedule: ScheduleConfig, steps: int, budget: int) -> int:
    """The most rounds whose local steps are no more than the budget: less than J are left of it.

    >>> rounds_of(ScheduleConfig(), 16, 810)
    50
    >>> half = ScheduleConfig(steps="post_local", switch=0.5)
    >>> rounds_of(half, 16, 800), steps_before(half, 16, 425, 425)
    (425, 800)
    """
    least, most = 0, budget  # a round is at least one step
    while least < most:
        middle = (least + most + 1) // 2
        if steps_before(schedule, steps, middle, middle) <= budget:
            least = middle
        else:
            most = middle - 1
    return least
