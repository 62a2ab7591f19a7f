"""What became of each arm: the chosen trial, the confirmation runs that count, the warnings.

Only confirmation runs of the chosen configuration enter a mean: those of another configuration
(an earlier, smaller search), of seeds that the study does not ask for, diverged ones and repeats
of a seed are left out, and each omission is a warning line.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.labels import cell
from analysis.selection import (
    DEFAULT_RULE,
    RULES,
    border_warnings,
    diverged_share,
    pareto_front,
    searched,
)
from analysis.store import StudyRuns


@dataclass(frozen=True)
class Outcome:
    """One arm. `confirmed`: one row a seed, in order of the seeds, each with a test accuracy."""

    arm: int
    name: str
    setting: dict[str, Any]  # the arm's own overrides
    config: dict[str, Any]  # its whole configuration: the chosen trial's where there is one
    trials: int
    diverged: float
    best: pd.Series | None
    border: dict[str, str]
    confirmed: pd.DataFrame
    warnings: tuple[str, ...]

    @property
    def mean(self) -> float:
        """Mean test accuracy; NaN without a seed."""
        return over_seeds(self.confirmed, "test_accuracy")[0]

    @property
    def std(self) -> float:
        """Sample standard deviation (ddof = 1); NaN with fewer than two seeds."""
        return over_seeds(self.confirmed, "test_accuracy")[1]


def over_seeds(confirmed: pd.DataFrame, metric: str) -> tuple[float, float]:
    """Mean and sample standard deviation (ddof = 1) of a metric over the seeds that have it.

    Correctly rounded whatever the order; NaN for what there is too little of.
    """
    values = [value for value in confirmed[metric].tolist() if math.isfinite(value)]
    mean = statistics.mean(values) if values else math.nan
    return mean, statistics.stdev(values) if len(values) > 1 else math.nan


def rule_of(runs: StudyRuns) -> str:
    """The text of the selection rule in use: the study's own where we have it."""
    named = runs.tags.get("selection", "")
    return named if named in RULES else DEFAULT_RULE


def outcomes(runs: StudyRuns) -> list[Outcome]:
    """One outcome an arm, in table order, also for arms that have not been run."""
    return [_outcome(runs, arm) for arm in range(len(runs.settings))]


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
    mine = runs.trials[runs.trials["arm"] == arm]
    front = front_of(runs, arm)
    best = RULES[rule_of(runs)](mine)
    if len(front):
        best = front.iloc[0]  # of trials with the same accuracy, the cheapest
    border = {} if best is None else border_warnings(best, runs.space)
    confirmed, lines = confirmed_runs(runs, mine, best)
    if other := _others(runs, mine, front if len(front) else best):
        lines.insert(0, f"{other} confirmation run(s) of another configuration left out")
    ran, share = searched(mine), diverged_share(mine)
    name = str(runs.arms.at[arm, "arm_name"])
    if runs.arms.at[arm, "run_id"] is None:
        lines = ["has not been run"]
    else:
        lines = _search_lines(runs, mine, best) + lines
    return Outcome(
        arm=arm,
        name=name,
        setting=dict(runs.settings[arm]),
        config=_config(runs, arm, best),
        trials=len(ran),
        diverged=share,
        best=best,
        border=border,
        confirmed=confirmed,
        warnings=tuple(f"{name}: {line}" for line in lines),
    )


def _config(runs: StudyRuns, arm: int, best: pd.Series | None) -> dict[str, Any]:
    row = runs.arms.loc[arm].drop(["run_id", "arm_name"])
    base = {str(k): v for k, v in row.items()} | runs.settings[arm]
    return base if best is None else base | {k: best[k] for k in base if k in best.index}


def front_of(runs: StudyRuns, arm: int) -> pd.DataFrame:
    """The arm's Pareto front of search trials, best validation first; empty without objectives."""
    mine = runs.trials[runs.trials["arm"] == arm]
    return pareto_front(mine, runs.objectives) if runs.objectives else mine.iloc[:0]


def confirmed_runs(
    runs: StudyRuns, mine: pd.DataFrame, chosen: pd.Series | None
) -> tuple[pd.DataFrame, list[str]]:
    """The confirmation runs of a chosen trial of an arm, one a seed, and why others don't count."""
    rows = _confirmations(mine)
    rows = rows[_fit(runs, rows, chosen)]
    lines = []
    if runs.seeds:
        asked = rows["seed"].isin(runs.seeds)
        if extra := int((~asked).sum()):
            lines.append(f"{extra} confirmation run(s) of seeds not asked for left out")
        rows = rows[asked]
    good = rows[(rows["status"] == "finished") & rows["test_accuracy"].map(math.isfinite)]
    if repeats := int(good["seed"].duplicated().sum()):
        lines.append(f"{repeats} repeated confirmation run(s) of the same seed left out")
    good = good.drop_duplicates("seed").sort_values("seed", kind="stable")
    wanted = len(runs.seeds)
    if len(good) < wanted:
        bad = rows[~rows["seed"].isin(good["seed"])].groupby("status").size()
        why = ", ".join(f"{n} {status}" for status, n in bad.items())
        lines.append(f"{len(good)} of {wanted} confirmation seeds" + (f" ({why})" if why else ""))
    if len(good) == 1:
        lines.append("one seed: no standard deviation")
    return good, lines


def _confirmations(mine: pd.DataFrame) -> pd.DataFrame:
    rows = mine[mine["phase"] == "confirm"]
    return rows if "seed" in rows else rows.assign(seed=None)


def _fit(runs: StudyRuns, rows: pd.DataFrame, chosen: pd.Series | None) -> pd.Series:
    """Which runs have the configuration of the chosen trial; all in a study without a search."""
    if chosen is None:
        return pd.Series(not runs.space, index=rows.index, dtype=bool)
    fits = [all(row.get(n) == chosen.get(n) for n in runs.space) for _, row in rows.iterrows()]
    return pd.Series(fits, index=rows.index, dtype=bool)


def _others(runs: StudyRuns, mine: pd.DataFrame, chosen: pd.DataFrame | pd.Series | None) -> int:
    """How many confirmation runs have none of the chosen configurations."""
    rows = _confirmations(mine)
    trials = [t for _, t in chosen.iterrows()] if isinstance(chosen, pd.DataFrame) else [chosen]
    fits = pd.concat([_fit(runs, rows, trial) for trial in trials], axis=1).any(axis=1)
    return int((~fits).sum())


def _search_lines(runs: StudyRuns, mine: pd.DataFrame, best: pd.Series | None) -> list[str]:
    ran = searched(mine)
    lines = []
    if len(ran) and (diverged := int((ran["status"] == "diverged").sum())):
        lines.append(f"{diverged} of {len(ran)} search trials diverged")
    if failed := int(((mine["phase"] == "search") & (mine["status"] == "failed")).sum()):
        lines.append(f"{failed} search trial(s) failed and are not counted")
    if runs.budget is not None and len(ran) < runs.budget:
        lines.append(f"{len(ran)} of {runs.budget} search trials were run")
    if runs.space and best is None:
        lines.append("no search trial finished with a validation accuracy")
    return lines


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


def _bounds(spec: Mapping[str, Any]) -> str:
    if "choices" in spec:
        return "{" + ", ".join(cell(c) for c in spec["choices"]) + "}"
    return f"[{cell(spec['low'])}, {cell(spec['high'])}]"
