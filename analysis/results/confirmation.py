"""The confirmation runs of a configuration: which count, and why the others don't.

Only runs of the chosen configuration enter a mean: those of another (an earlier, smaller search;
another data set), of seeds that the study does not ask for, diverged ones and repeats of a seed
are left out, and each omission is a line.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.matching import PROBLEM, Asked, Chosen, asked_of, confirmations, same


def over_seeds(confirmed: pd.DataFrame, metric: str) -> tuple[float, float]:
    """Mean and sample standard deviation (ddof = 1) of a metric over the seeds that have it.

    Correctly rounded whatever the order; NaN for what there is too little of.
    """
    return mean_std(confirmed[metric].tolist() if metric in confirmed else [])


def mean_std(values: Sequence[float]) -> tuple[float, float]:
    """The same of plain numbers."""
    seen = [value for value in values if math.isfinite(value)]
    mean = statistics.mean(seen) if seen else math.nan
    return mean, statistics.stdev(seen) if len(seen) > 1 else math.nan


def own_trials(runs: StudyRuns, arm: int) -> tuple[pd.DataFrame, list[str]]:
    """An arm's runs without search trials of another data set, backbone or resolution than the
    arm's own; a line about those.
    """
    mine = runs.trials[runs.trials["arm"] == arm]
    base = runs.arms.loc[arm].to_dict()
    names = [
        str(name)
        for name in runs.arms.columns
        if str(name).startswith(PROBLEM) and name in mine and name not in runs.space
    ]
    if base["run_id"] is None or not names:
        return mine, []
    keep = (mine["phase"] != "search") | same(mine, base, names)
    if keep.all():
        return mine, []
    which = _differing(mine[~keep], base, names)
    return mine[keep], [f"{int((~keep).sum())} search trial(s) with another {which} left out"]


def _differing(rows: pd.DataFrame, base: Chosen, fields: Sequence[str]) -> str:
    return ", ".join(name for name in fields if not same(rows, base, [name]).all())


def confirmed_runs(
    runs: StudyRuns, mine: pd.DataFrame, chosen: pd.Series | None
) -> tuple[pd.DataFrame, list[str]]:
    """The confirmation runs of a chosen trial of an arm, one a seed, and why others don't count."""
    asked = asked_of(runs)
    rows, lines = _of_configuration(runs, mine, chosen, asked)
    rows, more = _of_split(rows, asked)
    lines += more
    if runs.seeds:
        wanted = rows["seed"].isin(runs.seeds)
        if extra := int((~wanted).sum()):
            lines.append(f"{extra} confirmation run(s) of seeds not asked for left out")
        rows = rows[wanted]
    good = rows[(rows["status"] == "finished") & rows["test_accuracy"].map(math.isfinite)]
    if repeats := int(good["seed"].duplicated().sum()):
        lines.append(f"{repeats} repeated confirmation run(s) of the same seed left out")
    good = good.drop_duplicates("seed").sort_values("seed", kind="stable")
    count = len(runs.seeds)
    if len(good) < count:
        bad = rows[~rows["seed"].isin(good["seed"])].groupby("status").size()
        why = ", ".join(f"{n} {status}" for status, n in bad.items())
        lines.append(f"{len(good)} of {count} confirmation seeds" + (f" ({why})" if why else ""))
    if len(good) == 1:
        lines.append("one seed: no standard deviation")
    return good, lines


def _of_configuration(
    runs: StudyRuns, mine: pd.DataFrame, chosen: pd.Series | None, asked: Asked
) -> tuple[pd.DataFrame, list[str]]:
    """The runs with the searched values of the chosen trial (`others` counts the rest), less
    those that differ from it in what was not searched.
    """
    rows = confirmations(mine)
    rows = rows[fitting(runs, rows, chosen)]
    if rows.empty:
        return rows, []
    wanted: Chosen = rows.iloc[0] if chosen is None else chosen
    if chosen is None:  # a study without a search: what the first run of the arm's problem has
        base = runs.arms.loc[int(rows["arm"].iloc[0])].to_dict()
        names = [n for n in asked.fields if n.startswith(PROBLEM) and n in base]
        fits = rows[same(rows, base, names)]
        wanted = fits.iloc[0] if len(fits) else base
    agree = same(rows, wanted, asked.fields)
    if agree.all():
        return rows, []
    which = _differing(rows[~agree], wanted, asked.fields)
    return rows[agree], [f"{int((~agree).sum())} confirmation run(s) with another {which} left out"]


def _of_split(rows: pd.DataFrame, asked: Asked) -> tuple[pd.DataFrame, list[str]]:
    """The runs trained on the split that the study asks for, or else on that of the first run."""
    if "data.train_on" not in rows or rows.empty:
        return rows, []
    split = asked.train_on or rows["data.train_on"].iloc[0]
    other = rows["data.train_on"] != split
    lines = [f"{int(other.sum())} confirmation run(s) not trained on {split} left out"]
    return rows[~other], lines if other.any() else []


def fitting(runs: StudyRuns, rows: pd.DataFrame, chosen: pd.Series | None) -> pd.Series:
    """Which confirmation runs have the searched values of a trial; without one (None) all do
    where nothing was searched, else none.
    """
    if chosen is None:
        return pd.Series(not runs.space, index=rows.index, dtype=bool)
    return same(rows, chosen, list(runs.space))


def others(runs: StudyRuns, mine: pd.DataFrame, chosen: Sequence[pd.Series | None]) -> int:
    """How many confirmation runs have the searched values of none of these trials."""
    rows = confirmations(mine)
    fits = [fitting(runs, rows, trial).to_numpy() for trial in chosen]
    return int((~np.logical_or.reduce(fits)).sum())


def seed_columns(confirmed: Sequence[pd.DataFrame], names: Iterable[str]) -> dict[str, pd.Series]:
    """Mean and standard deviation over the seeds of these metrics, of each arm."""
    found = {}
    for name in names:
        pairs = [over_seeds(one, name) for one in confirmed]
        found[f"{name}_mean"] = pd.Series([mean for mean, _ in pairs], dtype=float)
        found[f"{name}_std"] = pd.Series([std for _, std in pairs], dtype=float)
    return found
