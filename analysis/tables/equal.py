"""What arms reach for the same cost, and what the same accuracy costs them, as tables.

Shown where a study is about time, and wherever a reader or a study asks for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.curves import read_curves
from fl_analysis.results.equal import (
    BYTES,
    NOTHING,
    SECONDS,
    SPENT,
    After,
    Aim,
    Toward,
    Wanted,
    after,
    aim_of,
    timed,
    toward,
)
from fl_analysis.results.labels import (
    BYTE_UNITS,
    TIME_UNITS,
    in_unit,
    percent,
    unit_for,
    unit_of_j,
)
from fl_analysis.results.outcome import Outcome
from fl_analysis.tables.escapes import csv
from fl_analysis.tables.render import Block
from fl_core.config.vocabulary import DASH

_UNITS = {SECONDS: TIME_UNITS, BYTES: BYTE_UNITS}
_NAMES = {SECONDS: "virtual time", BYTES: "bytes"}
_LABELS = {"equal_time": SECONDS, "equal_bytes": BYTES}
_MEANS = {
    SECONDS: "of the main stage, by the virtual clock, which the configuration and the seed "
    "decide, not this machine",
    BYTES: "up + down, all clients, all stages, what is lost included",
}
_TEST = (
    "Test accuracy as the confirmation read it on its way (it chose nothing), of the parameters as "
    "they then were"
)


def equal_blocks(
    runs: StudyRuns, results: Sequence[Outcome], wanted: Wanted = NOTHING
) -> list[Block]:
    """After equal virtual time, after equal bytes, costs of a target accuracy: those that there is
    something to tell of.
    """
    found = [_after_block(label, some, wanted) for label, some in _afters(runs, results, wanted)]
    if ways := _ways(runs, results, wanted):
        found.append(_target_block(*ways))
    return found


def equal_csvs(
    runs: StudyRuns, results: Sequence[Outcome], wanted: Wanted = NOTHING
) -> dict[str, str | None]:
    """The blocks at full precision, as files; None for those that there are not."""
    texts: dict[str, str | None] = dict.fromkeys(f"{n}.csv" for n in (*_LABELS, "target"))
    for label, found in _afters(runs, results, wanted):
        texts[f"{label}.csv"] = csv(pd.DataFrame([_after_record(one) for one in found]))
    if ways := _ways(runs, results, wanted):
        texts["target.csv"] = csv(pd.DataFrame([_toward_record(one) for one in ways[0]]))
    return texts


def _afters(
    runs: StudyRuns, results: Sequence[Outcome], wanted: Wanted
) -> list[tuple[str, list[After]]]:
    """By label, where there are any."""
    about = timed(runs, results)
    costs = {label: cost for label, cost in _LABELS.items() if about or cost in wanted.at}
    found = {
        label: after(results, read_curves(runs), cost, wanted.at.get(cost))
        for label, cost in costs.items()
    }
    return [(label, some) for label, some in found.items() if some]


def _ways(
    runs: StudyRuns, results: Sequence[Outcome], wanted: Wanted
) -> tuple[list[Toward], Aim] | None:
    asked = wanted.target is not None or wanted.of is not None or "target" in runs.tags
    if not results or not (asked or timed(runs, results)):
        return None
    aim = aim_of(runs, results, wanted)
    found = toward(results, read_curves(runs), aim)
    return (found, aim) if found else None


def _after_block(label: str, found: Sequence[After], wanted: Wanted) -> Block:
    cost = _LABELS[label]
    unit, size = unit_for([one.limit for one in found], _UNITS[cost])
    rows = [
        [
            one.arm.name,
            in_unit(one.limit, size),
            percent(*one.accuracy),
            _spread(one.rounds),
            in_unit(one.before, size),
            percent(*one.end),
            in_unit(one.spent, size),
            str(one.runs),
        ]
        for one in found
    ]
    limits = dict.fromkeys(in_unit(one.limit, size) for one in found)
    which = "asked for" if cost in wanted.at else "the most that every run compared has"
    text = (
        f"After equal {_NAMES[cost]}, {' / '.join(limits)} {unit} ({which}; {_MEANS[cost]}). "
        f"{_TEST}: at the last evaluation not later, which lies so much before it; round: of that "
        "evaluation; at the end: at the run's last one, and what it had cost by then. Mean ± "
        "sample standard deviation (ddof = 1) over the seeds that had an evaluation by then."
    )
    header = ["arm", f"after [{unit}]", "test accuracy [%]", "round", f"before [{unit}]"]
    header += ["at the end [%]", f"end [{unit}]", "seeds"]
    return Block(label, text, header, rows, [], [])


def _target_block(found: Sequence[Toward], aim: Aim) -> Block:
    units = {
        name: unit_for([one.needed[name][0] for one in found] + [one.ran[name] for one in found], u)
        for name, u in _UNITS.items()
    }
    rows = []
    for one in found:
        row = [one.arm.name, percent(one.target), f"{one.reached}/{one.runs}"]
        row += [_needed(one, name, units.get(name)) for name in SPENT]
        rows.append(row)
    text = (
        f"What arms need for a test accuracy of {aim.text}: rounds, local "
        f"{unit_of_j(one.arm.config for one in found)}, virtual time and bytes (up + down, all "
        f"clients, all stages) up to the first evaluation with it. {_TEST}. Mean over the seeds "
        "that reached it (rounds: ± sample standard deviation), whose share stands beside; >: none "
        "did in as many as its runs have."
    )
    header = ["arm", "target [%]", "reached", "rounds", "local steps"]
    header += [f"{_NAMES[name]} [{unit}]" for name, (unit, _) in units.items()]
    notes = []
    if any(0 < one.reached < one.runs for one in found):
        notes.append("means over some of the seeds flatter an arm: those that failed are not in.")
    return Block("target", text, header, rows, notes, [])


def _needed(one: Toward, name: str, unit: tuple[str, float] | None) -> str:
    """A cost of the target; more than there was where no run reached it."""
    mean, std = one.needed[name] if one.reached else (one.ran[name], math.nan)
    if unit is not None:
        text = in_unit(mean, unit[1])
    elif name == "round" and one.reached:
        return _spread((mean, std))
    else:
        text = f"{mean:.0f}"
    return text if one.reached or text == DASH else f"> {text}"


def _spread(pair: tuple[float, float]) -> str:
    mean, std = pair
    if not math.isfinite(mean):
        return DASH
    return f"{mean:.1f} ± {f'{std:.1f}' if math.isfinite(std) else DASH}"


def _after_record(one: After) -> Mapping[str, object]:
    return {
        "arm": one.arm.name,
        "limit": one.limit,
        "test_accuracy_mean": one.accuracy[0],
        "test_accuracy_std": one.accuracy[1],
        "round_mean": one.rounds[0],
        "round_std": one.rounds[1],
        "before": one.before,
        "end_test_accuracy_mean": one.end[0],
        "end_test_accuracy_std": one.end[1],
        "end": one.spent,
        "seeds": one.runs,
    }


def _toward_record(one: Toward) -> Mapping[str, object]:
    """Costs of an arm that did not reach it are NaN; `ran_` says what it had."""
    parts = (("mean", 0), ("std", 1))
    names = {"step": "local_steps"}
    return {
        "arm": one.arm.name,
        "target": one.target,
        "reached": one.reached,
        "seeds": one.runs,
        **{
            f"{names.get(name, name)}_{part}": one.needed[name][at]
            for name in SPENT
            for part, at in parts
        },
        **{f"ran_{names.get(name, name)}": one.ran[name] for name in SPENT},
    }
