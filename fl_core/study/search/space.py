"""What a define-by-run space contains, found by drawing from it.

A space is a function of an Optuna trial: which dimensions it has, it tells only as it is called,
and a conditional dimension in some draws only.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler

from fl_core.base.errors import UserError
from fl_core.config.trial_config import Value
from fl_core.study.jobs import Arm
from fl_core.study.plan import Space
from fl_core.study.presets import PACE
from fl_core.study.settled import within

Point = Mapping[str, Value]
MOST_POINTS = 1000  # of a grid
DRAWS = 100  # that show a space
_ARM = "arm"  # attribute of a trial that knows its arm, see `settled`
FIX = "fix it with --set NAME=VALUE, or use tpe"


def drawn(
    space: Space, sampler: BaseSampler, draws: int
) -> Iterator[tuple[optuna.Trial, Mapping[str, Value]]]:
    """Points of the space, each with the trial that tells its dimensions."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler)
    for _ in range(draws):
        trial = study.ask()
        yield trial, space(trial)


def distributions(space: Space) -> dict[str, list[BaseDistribution]]:
    """Each dimension's distribution in every one of DRAWS random points that has it."""
    found: dict[str, list[BaseDistribution]] = {}
    for trial, _ in drawn(space, RandomSampler(seed=0), DRAWS):
        for name, kind in trial.distributions.items():
            found.setdefault(name, []).append(kind)
    return found


def inside(space: Space, points: Iterable[Point]) -> list[Point]:
    """Of each point what the space has room for: Optuna would take what is outside of it, too."""
    points = list(points)
    kinds = distributions(space) if points else {}
    return [
        {n: v for n, v in point.items() if any(_allows(kind, v) for kind in kinds.get(n, ()))}
        for point in points
    ]


def _allows(kind: BaseDistribution, value: Value) -> bool:
    if isinstance(kind, CategoricalDistribution):
        return value in kind.choices
    assert isinstance(kind, FloatDistribution | IntDistribution)
    return isinstance(value, int | float) and kind.low <= value <= kind.high


def in_arms(space: Space, arms: Sequence[Arm]) -> list[Space]:
    """The space in each arm, to be described: one and the same object, described once, where no
    draw looks at an arm.
    """
    asked: set[str] = set()

    def watched(trial: optuna.Trial) -> Mapping[str, Value]:
        values = space(cast("optuna.Trial", _Watched(trial, asked)))
        asked.update(values)
        return values

    for _ in drawn(watched, RandomSampler(seed=0), DRAWS):
        pass
    looks = not asked.isdisjoint({_ARM, *(name for arm in arms for name in arm.values)})
    return [within(space, arm) for arm in arms] if looks else [space] * len(arms)


class _Watched:
    """An Optuna trial that notes what a space asks it for."""

    def __init__(self, trial: optuna.Trial, asked: set[str]) -> None:
        self._trial, self._asked = trial, asked

    def __getattr__(self, method: str) -> Any:
        if method == _ARM:
            self._asked.add(_ARM)
        inner = getattr(self._trial, method)
        if not method.startswith("suggest_"):
            return inner

        def suggest(name: str, *args: Any, **kwargs: Any) -> Any:
            self._asked.add(name)
            return inner(name, *args, **kwargs)

        return suggest


def describe_spaces(spaces: Iterable[Space]) -> dict[str, dict[str, Any]]:
    """Bounds or choices of every configuration field that any of the spaces sets."""
    found: dict[str, dict[str, Any]] = {}
    for space in dict.fromkeys(spaces):
        for name, spec in describe_space(space).items():
            found[name] = _both(found[name], spec) if name in found else spec
    return found


def _both(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """All that two spaces allow for a field."""
    if "choices" in one and "choices" in other:
        return {"choices": list(dict.fromkeys([*one["choices"], *other["choices"]]))}
    if "choices" in one or "choices" in other:  # a number that one of them chooses from a few
        return one if "low" in one else other
    ends = {"low": min(one["low"], other["low"]), "high": max(one["high"], other["high"])}
    return {**one, **ends}


def describe_space(space: Space) -> dict[str, dict[str, Any]]:
    """Bounds or choices of every configuration field that the space sets."""
    found: dict[str, dict[str, Any]] = {}
    for trial, values in drawn(space, RandomSampler(seed=0), DRAWS):
        for name, value in values.items():
            kind = trial.distributions.get(name)
            if name in PACE:  # follows from J
                continue
            if kind is None:  # follows from another dimension: an arm's own field
                choices = found.setdefault(name, {"choices": []})["choices"]
                choices += [value] if value not in choices else []
            elif isinstance(kind, CategoricalDistribution):
                found[name] = {"choices": list(kind.choices)}
            else:
                found[name] = {k: getattr(kind, k) for k in ("low", "high", "log", "step")}
    return found


def grid_points(space: Space) -> list[Point]:
    """Every point of a space of choices and stepped ranges, the last dimension running fastest.

    Points that differ only in a dimension which a condition closes are one. UserError for a
    continuous dimension, or for more than MOST_POINTS.
    """
    levels = {name: _levels(name, kinds[0]) for name, kinds in distributions(space).items()}
    size = 1
    for values in levels.values():
        size *= len(values)
    if size > MOST_POINTS:
        raise UserError(f"--searcher grid: {size} points, at most {MOST_POINTS}; {FIX}")
    points: dict[str, Point] = {}
    for combination in itertools.product(*levels.values()):
        point = dict(zip(levels, combination, strict=True))
        fixed = optuna.trial.FixedTrial(point)
        space(fixed)  # type: ignore[arg-type]
        points.setdefault(str(sorted(fixed.params.items(), key=str)), fixed.params)
    return list(points.values())


def _levels(name: str, kind: BaseDistribution) -> list[Any]:
    """A dimension's values in order."""
    if isinstance(kind, CategoricalDistribution):
        return list(kind.choices)
    if isinstance(kind, IntDistribution):
        return list(range(kind.low, kind.high + 1, kind.step))
    if isinstance(kind, FloatDistribution) and kind.step is not None:
        steps = round((kind.high - kind.low) / kind.step)
        return [kind.low + kind.step * n for n in range(steps + 1)]
    raise UserError(f"--searcher grid: {name} is continuous; {FIX}")


class Ends(RandomSampler):
    """Numbers at an end of their range, by a coin; choices at random."""

    def sample_independent(
        self, study: Any, trial: Any, param_name: str, param_distribution: Any
    ) -> Any:
        drawn = super().sample_independent(study, trial, param_name, param_distribution)
        if not hasattr(param_distribution, "low"):
            return drawn
        low, high = param_distribution.low, param_distribution.high
        middle = (low * high) ** 0.5 if param_distribution.log else (low + high) / 2
        return low if drawn < middle else high


def various_points(
    space: Space, draws: int, differ_in: Callable[[Mapping[str, Value]], Hashable]
) -> list[Point]:
    """Points of the space with different keys `differ_in`: half of `draws` have every number at
    one of the ends of its range, half are random.
    """
    found: dict[Hashable, Point] = {}
    for sampler in (Ends(seed=0), RandomSampler(seed=1)):
        for _, values in drawn(space, sampler, -(-draws // 2)):
            found.setdefault(differ_in(values), dict(values))
    return list(found.values())
