"""What a study found, in one sentence: the effect of what it asks about, and its interval.

The rule is fixed, so that nobody picks the contrast that looks best. The first parameter of the
study whose levels have an order is told from its first level to its last (`levels`), both at the
setting of the others that has the arm which is best by validation. Then the next ordered parameter:
each of its levels against its first, at every setting of the others, with Holm's correction.
Arms that are methods: the best by validation against FedAvg, in each setting of all else. Arms that
are only names: the best by validation against the next one by validation.

Differences are paired by seed, intervals are Student's 95 % (`intervals`), percentage points.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fl_analysis.results.best import beside, best_arm
from fl_analysis.results.intervals import Paired, holm
from fl_analysis.results.labels import (
    arm_axes,
    axis_value,
    level_label,
    level_labels,
    percent,
    points,
    span,
)
from fl_analysis.results.levels import IID, ordered_levels
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.significance import against_fedavg, confirmed, difference
from fl_core.config.titles import FEDAVG, METHOD
from fl_core.config.vocabulary import compact, masked

ALPHA = 0.05  # a comparison with a smaller p (Holm) is one that the seeds support
#: More of a parameter, as people say it.
_MORE = {"local.steps": "longer local work"}


@dataclass(frozen=True)
class Contrast:
    """The later arm's test accuracy minus the earlier one's."""

    early: Outcome
    late: Outcome
    gap: Paired


def answer(results: Sequence[Outcome]) -> str:
    """The study's answer as one sentence of plain text, ending with a full stop."""
    arms = confirmed(results)
    if not arms:
        return "No arm has been confirmed: there is no test accuracy yet."
    text = _effects(arms) if len(arms) > 1 else _single(arms[0], "")
    missing = len(results) - len(arms)
    return text + (f" ({missing} of {len(results)} arms not confirmed)." if missing else ".")


def _single(arm: Outcome, name: str) -> str:
    seeds = f"over {len(arm.confirmed)} seed{'s' if len(arm.confirmed) != 1 else ''}"
    interval = f" {span(*arm.interval)}" if len(arm.confirmed) > 1 else ""
    return f"{name or arm.name}: test accuracy {percent(arm.mean)} %{interval} {seeds}"


def _effects(arms: Sequence[Outcome]) -> str:
    axes = arm_axes([o.setting for o in arms], [o.config for o in arms])
    if methods := against_fedavg(arms):
        return _methods(arms, axes, methods)
    found = {axis: ordered_levels(axis, [o.config for o in arms]) for axis in axes}
    ordered = [(axis, order) for axis, order in found.items() if order is not None]
    for place, (axis, order) in enumerate(ordered):
        told = _told(arms, axes, axis, (order[0], order[-1]))
        if told is None:
            continue
        rest = [other for index, other in enumerate(ordered) if index != place]
        clause = _second(arms, axes, *rest[0]) if rest else ""
        return _main(told, axes, axis) + clause
    return _names(arms)


# --- arms that are methods ------------------------------------------------------------------------


def _methods(
    arms: Sequence[Outcome], axes: Sequence[str], pairs: Sequence[tuple[Outcome, Outcome]]
) -> str:
    """The best method of each setting with its accuracy, and how far it is from FedAvg."""
    fedavg = {one.arm: other for one, other in pairs}
    others = [axis for axis in axes if axis != METHOD]
    parts = []
    for group in beside(arms).values():
        best = _best(group)
        text = f"{axis_value(METHOD, best.config)} {percent(best.mean)} %{_setting(best, others)}"
        if best.arm in fedavg:
            gap = difference(best, fedavg[best.arm])
            ends = f" {span(gap.low, gap.high, points)}" if math.isfinite(gap.low) else ""
            text += f" ({points(gap.mean)} points{ends} to {FEDAVG})"
        parts.append(text)
    return f"best by validation: {'; '.join(parts)}"


# --- the first parameter --------------------------------------------------------------------------


def _told(
    arms: Sequence[Outcome], axes: Sequence[str], axis: str, ends: tuple[str, str]
) -> Contrast | None:
    """From the first to the last level, where the best arm by validation is one of the two."""
    pairs = _pairs(arms, axes, axis, *ends)
    if not pairs:
        return None
    best = _best([arm for pair in pairs for arm in pair])
    pairs = [pair for pair in pairs if best in pair]
    other = _best([arm for pair in pairs for arm in pair if arm is not best])
    early, late = next(pair for pair in pairs if other in pair)
    return Contrast(early, late, difference(late, early))


def _best(arms: Sequence[Outcome]) -> Outcome:
    found = best_arm(list({o.arm: o for o in arms}.values()))
    return arms[0] if found is None else found.arm


def _pairs(
    arms: Sequence[Outcome], axes: Sequence[str], axis: str, first: str, last: str
) -> list[tuple[Outcome, Outcome]]:
    """Arms at both levels that agree in all other axes and share a seed."""
    early = [o for o in arms if axis_value(axis, o.config) == first]
    late = [o for o in arms if axis_value(axis, o.config) == last]
    others = [name for name in axes if name != axis]
    return [
        (one, other)
        for other in late
        for one in early
        if _agree(one, other, others) and difference(other, one).pairs
    ]


def _agree(one: Outcome, other: Outcome, axes: Sequence[str]) -> bool:
    """The same levels; a dense arm agrees with any mask."""
    free = masked(one.config) != masked(other.config)
    return all(
        axis_value(axis, one.config) == axis_value(axis, other.config)
        for axis in axes
        if not (free and axis.startswith("mask."))
    )


def _main(told: Contrast, axes: Sequence[str], axis: str) -> str:
    first, last = (level_label(axis, axis_value(axis, o.config)) for o in (told.early, told.late))
    where = _setting(told.late, [name for name in axes if name != axis])
    return f"{first} → {last} {_size(told.gap)}{where}{_doubt(told.gap)}"


def _size(gap: Paired) -> str:
    """Costs 10.6 points [9.6, 11.7]; with signs where the interval holds zero."""
    if math.isfinite(gap.low) and not _apart(gap):
        change = f"{points(gap.mean)} points {span(gap.low, gap.high, points)}"
        return f"changes test accuracy by {change}"
    return f"{'costs' if gap.mean < 0 else 'gains'} {_amount(gap, 'points of test accuracy')}"


def _amount(gap: Paired, unit: str = "points") -> str:
    """Its size without a sign: 10.6 points [9.6, 11.7]."""
    sign = -1 if gap.mean < 0 else 1
    low, high = sorted((sign * gap.low, sign * gap.high))
    interval = f" {span(low, high)}" if math.isfinite(low) else ""
    return f"{percent(abs(gap.mean))} {unit}{interval}"


def _apart(gap: Paired) -> bool:
    """Whether the interval leaves zero out."""
    return gap.low > 0 or gap.high < 0


def _doubt(gap: Paired) -> str:
    if gap.pairs < 2:
        return " (one seed: no interval)"
    if math.isfinite(gap.low) and not _apart(gap):
        return f": {gap.pairs} seeds do not tell them apart"
    return ""


def _setting(arm: Outcome, axes: Sequence[str]) -> str:
    """At J=4; names, which a reader would take for words of the sentence, in brackets."""
    parts = level_labels(axes, arm.config)
    if all("=" in part or part == IID for part in parts):
        return f" at {', '.join(parts)}" if parts else ""
    return f" ({', '.join(parts)})"


# --- the second parameter -------------------------------------------------------------------------


def _second(arms: Sequence[Outcome], axes: Sequence[str], axis: str, order: Sequence[str]) -> str:
    """Whether a later level of another parameter helps anywhere, and where it costs most."""
    contrasts = [
        Contrast(early, late, difference(late, early))
        for level in order[1:]
        for early, late in _pairs(arms, axes, axis, order[0], level)
    ]
    if not contrasts:
        return ""
    more = _MORE.get(axis) or f"{compact(axis)} other than {order[0]}"
    adjusted = holm([c.gap.p for c in contrasts])
    sure = [c for c, p in zip(contrasts, adjusted, strict=True) if p < ALPHA]
    up = sorted((c for c in sure if c.gap.mean > 0), key=lambda c: -c.gap.mean)
    down = sorted((c for c in sure if c.gap.mean < 0), key=lambda c: c.gap.mean)
    alone = [c.gap.mean for c in contrasts if c.gap.p < ALPHA]  # each as if it were the only one
    if not alone:
        return f"; {more} changes nothing that {len(contrasts)} paired comparisons can tell"
    if up:
        found = _most("helps by", up, axes)
    else:
        found = "helps nowhere beyond chance" if max(alone) > 0 else "never helps"
    return f"; {more} {found}" + (f" and {_most('costs', down, axes)}" if down else "")


def _most(verb: str, sure: Sequence[Contrast], axes: Sequence[str]) -> str:
    """Costs 2.0 points [1.1, 2.9] at N_c=1, J=16; of several the largest."""
    amount, where = _amount(sure[0].gap), _setting(sure[0].late, axes)
    upto = "up to " if len(sure) > 1 else ""
    return f"{verb} {upto}{amount}{where}"


# --- arms that are names --------------------------------------------------------------------------


def _names(arms: Sequence[Outcome]) -> str:
    """The best by validation, and how far the next by validation is behind."""
    best = _best(arms)
    rest = [o for o in arms if o is not best and difference(best, o).pairs]
    text = _single(best, f"{best.name} is best by validation")
    if not rest:
        return text
    following = _best(rest)
    gap = difference(best, following)
    side = "ahead of" if gap.mean >= 0 else "behind"
    return f"{text}, {_amount(gap)} {side} {following.name}, the next by validation{_doubt(gap)}"
