"""What became of each arm: the chosen trial, the confirmation runs that count, the warnings."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import pandas as pd

from fl_analysis.reading.frames import parameters
from fl_analysis.reading.store import StudyRuns
from fl_analysis.reading.tasks import TaskFacts, task_facts
from fl_analysis.results.confirmation import confirmed_runs, others, over_seeds, own_trials
from fl_analysis.results.finalists import Finalist, arm_finalists, finalist_lines
from fl_analysis.results.intervals import mean_interval
from fl_analysis.results.matching import asked_of, validated
from fl_analysis.results.searching import finished, shortfalls
from fl_analysis.results.selection import (
    RULES,
    border_warnings,
    diverged_share,
    own,
    pareto_front,
    searched,
)
from fl_core.config.titles import METHOD, TOGETHER, method_fields
from fl_core.config.vocabulary import arm_name, cell, known
from fl_core.study.selection import BEST, BEST_CONFIRMED

__all__ = [
    *("Outcome", "border_lines", "confirmed_runs", "front_of", "outcomes", "over_seeds"),
    *("rule_of", "study_warnings", "unheld_lines"),
]


#: Of the entries of a round's updates, without a warning. (A head on features lost half a point
#: where a clip of 1 cut 1 in 10,000 of the first rounds'.)
MOST_CLIPPED = 1e-4


@dataclass(frozen=True)
class Outcome:
    """One arm. `confirmed`: one row a seed, in order of the seeds, each with a test accuracy."""

    arm: int
    name: str
    setting: dict[str, Any]  # the arm's own overrides
    #: Its whole configuration: the chosen trial's where there is one. METHOD: how the arm's own
    #: method is called, where arms differ in it.
    config: dict[str, Any]
    trials: int  # of the arm's own search, that gave a result
    diverged: float
    best: pd.Series | None
    border: dict[str, str]
    confirmed: pd.DataFrame
    warnings: tuple[str, ...]
    finalists: tuple[Finalist, ...] = ()  # where several configurations are confirmed
    neighbours: int = 0  # trials that gave a result of what neighbouring arms' searches found
    finished: int = 0  # of both, to their full budget
    shortfalls: tuple[str, ...] = ()  # why it was not searched enough
    tasks: tuple[Mapping[str, Any], ...] = ()  # what the study found in its data

    @property
    def task(self) -> TaskFacts:
        """What it learns."""
        return task_facts(self.config, self.tasks)

    @property
    def mean(self) -> float:
        """Mean test accuracy; NaN without a seed."""
        return over_seeds(self.confirmed, "test_accuracy")[0]

    @property
    def std(self) -> float:
        """Sample standard deviation (ddof = 1); NaN with fewer than two seeds."""
        return over_seeds(self.confirmed, "test_accuracy")[1]

    @property
    def interval(self) -> tuple[float, float]:
        """95 % confidence interval of the mean (Student's t); NaN with fewer than two seeds."""
        return mean_interval([v for v in self.confirmed["test_accuracy"] if math.isfinite(v)])

    @property
    def validation(self) -> float:
        """Mean validation accuracy over the confirmation seeds; NaN without."""
        if "val_accuracy" not in self.confirmed:
            return math.nan
        rows = self.confirmed.assign(val_accuracy=validated(self.confirmed))
        return over_seeds(rows, "val_accuracy")[0]

    @property
    def search_gap(self) -> float:
        """The search's score less the mean over fresh seeds, on the same validation examples."""
        score = math.nan if self.best is None else float(self.best["val_accuracy"])
        return round(score - self.validation, 12)


def rule_of(runs: StudyRuns) -> str:
    """The text of the selection rule in use: the study's own where we have it."""
    if asked_of(runs).finalists > 1 and not runs.objectives:
        return BEST_CONFIRMED
    named = runs.tags.get("selection", "")
    return named if named in RULES and named != BEST_CONFIRMED else BEST


@lru_cache(maxsize=1)  # a study's tables, figures and report all begin with them
def outcomes(runs: StudyRuns) -> tuple[Outcome, ...]:
    """One outcome an arm, in table order, also for arms that have not been run."""
    return tuple(_outcome(runs, arm) for arm in range(len(runs.settings)))


def study_warnings(runs: StudyRuns) -> list[str]:
    """What holds for the whole study."""
    lines = list(runs.notes)
    named = runs.tags.get("selection", "")
    if named and named not in RULES:
        lines.append(f'the study names the rule "{named}", unknown here: see the caption for ours')
    if runs.tags.get("preset") == "smoke":
        lines.append("preset smoke: shows that everything runs, not a result")
    return lines


def _outcome(runs: StudyRuns, arm: int) -> Outcome:
    mine, foreign = own_trials(runs, arm)
    front, asked = front_of(runs, arm), asked_of(runs)
    best = RULES[rule_of(runs)](mine, asked)
    if len(front):
        best = front.iloc[0]  # of trials with the same accuracy, the cheapest
    several = arm_finalists(runs, mine, best)
    confirmed, lines = confirmed_runs(runs, mine, best)
    winners: list[pd.Series | None] = [trial for _, trial in front.iterrows()]
    winners = winners or [f.trial for f in several] or [best]
    if other := others(runs, mine, winners):
        lines.insert(0, f"{other} confirmation run(s) of another configuration left out")
    lines += finalist_lines(asked, several) + _clipped_lines(confirmed)
    name = str(runs.arms.at[arm, "arm_name"])
    if runs.arms.at[arm, "run_id"] is None:
        lines = ["has not been run"]
    else:
        lines = _search_lines(runs, mine, best) + foreign + lines
    return Outcome(
        arm=arm,
        name=name,
        setting=dict(runs.settings[arm]),
        config=_config(runs, arm, best),
        trials=len(searched(own(mine))),
        neighbours=len(searched(mine)) - len(searched(own(mine))),
        finished=finished(mine),
        diverged=diverged_share(mine),
        best=best,
        border={} if best is None else border_warnings(best, runs.space),
        confirmed=confirmed,
        warnings=tuple(f"{name}: {line}" for line in lines),
        finalists=several,
        shortfalls=shortfalls(runs, mine, best),
        tasks=runs.tasks,
    )


def _config(runs: StudyRuns, arm: int, best: pd.Series | None) -> dict[str, Any]:
    row = runs.arms.loc[arm].drop(["run_id", "arm_name"])
    base = {str(k): v for k, v in row.items()} | runs.settings[arm]
    if fields := method_fields(runs.settings):
        own = {name: value for name, value in runs.settings[arm].items() if name in fields}
        base[METHOD] = arm_name({name: base[name] for name in TOGETHER if name in base} | own)
    if best is None:
        return base
    dotted = parameters(runs.trials, runs.objectives)
    chosen = {name: best[name] for name in (*base, *dotted) if name in best.index}
    return base | chosen | runs.settings[arm]  # which is searched in other arms alone


def front_of(runs: StudyRuns, arm: int) -> pd.DataFrame:
    """The arm's Pareto front of search trials, best validation first; empty without objectives."""
    mine, _ = own_trials(runs, arm)
    return pareto_front(mine, runs.objectives) if runs.objectives else mine.iloc[:0]


def _search_lines(runs: StudyRuns, mine: pd.DataFrame, best: pd.Series | None) -> list[str]:
    ran = searched(mine)
    lines = []
    if len(ran) and (diverged := int((ran["status"] == "diverged").sum())):
        lines.append(f"{diverged} of {len(ran)} search trials diverged")
    for status, words in (("failed", "failed"), ("interrupted", "were interrupted")):
        if count := int(((mine["phase"] == "search") & (mine["status"] == status)).sum()):
            lines.append(f"{count} search trial(s) {words} and are not counted")
    if runs.budget is not None and (count := len(own(ran))) < runs.budget:
        lines.append(f"{count} of {runs.budget} search trials were run")
    if runs.space and best is None:
        lines.append("no search trial finished with a validation accuracy")
    return lines


def _clipped_lines(confirmed: pd.DataFrame) -> list[str]:
    """Where secure aggregation cut down more than a rare entry."""
    if "clipped_share" not in confirmed:
        return []
    share = over_seeds(confirmed, "clipped_share")[0]
    cut = f"{100 * share:.2g} % of the entries of updates were cut down to aggregate.clip"
    return [f"{cut} in the last round"] if share > MOST_CLIPPED else []


def border_lines(runs: StudyRuns, results: Sequence[Outcome]) -> list[str]:
    """One line a parameter and side: how many arms chose a value at that bound."""
    lines = []
    for name, spec in runs.space.items():
        for side, word in (("low", "lower"), ("high", "upper")):
            count = sum(o.border.get(name) == side for o in results)
            if count:
                where = f"the {word} bound of its search range {_bounds(spec)}"
                lines.append(f"{name}: chosen at {where} in {count} of {len(results)} arms")
    return lines


def unheld_lines(results: Sequence[Outcome]) -> list[str]:
    """One line for each number of classes that the clients of some arms hold at most, where more
    are tested.
    """
    found: Counter[tuple[int, int, int]] = Counter()
    for config, classes in ((o.config, o.task.classes) for o in results):
        clients, each = (config.get(f"federation.{n}") for n in ("clients", "classes_per_client"))
        spread = config.get("federation.sharding") == "classes" and known(clients) and known(each)
        if classes is not None and spread and int(clients) * int(each) < classes:
            found[int(clients), int(each), classes] += 1
    return [
        f"in {arms} of {len(results)} arms clients hold at most K x N_c = {clients} x {each} = "
        f"{clients * each} of the {classes} classes that are tested: no model of these arms has "
        "seen the others"
        for (clients, each, classes), arms in found.items()
    ]


def _bounds(spec: Mapping[str, Any]) -> str:
    if "choices" in spec:
        return "{" + ", ".join(cell(c) for c in spec["choices"]) + "}"
    return f"[{cell(spec['low'])}, {cell(spec['high'])}]"
