"""Selection rules: small named functions that choose a trial, printed in every table's caption.

(Not `select.py`: a script in this folder would then hide the standard library's `select`.)
Rules go by validation accuracy alone: search trials carry no test metric (`store` drops them),
and of confirmation runs a rule looks at nothing but the validation accuracy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.results.matching import Asked, Chosen, confirming, validated
from fl_core.config.vocabulary import known

BORDER = 0.02  # share of the range (of the log range where log) that counts as "at the bound"
#: A `failed` trial is the machine's fault, an `interrupted` one the user's: no results.
RAN = ("finished", "pruned", "diverged")
_BLIND = Asked()  # of a study that asks nothing


def searched(trials: pd.DataFrame) -> pd.DataFrame:
    """The search trials that gave a result."""
    return trials[(trials["phase"] == "search") & trials["status"].isin(RAN)]


def best_validation(trials: pd.DataFrame, asked: Asked = _BLIND) -> pd.Series | None:
    """Highest last validation accuracy among the finished search trials.

    Ties: the earliest trial (by `number` where it was logged), then the lowest digest.

    >>> trials = pd.DataFrame({"phase": "search", "status": ["finished", "pruned"],
    ...                        "val_accuracy": [0.5, 0.9], "digest": ["a", "b"]})
    >>> best_validation(trials)["digest"]
    'a'
    """
    ranked = _ranked(trials, ())
    return None if ranked.empty else ranked.iloc[0]


def finalists(trials: pd.DataFrame, asked: Asked) -> pd.DataFrame:
    """The best finished search trials of distinct configurations, at most as many as asked for."""
    ranked = _ranked(trials, ())
    values = [ranked[name].tolist() for name in asked.fields]
    found: dict[tuple[Any, ...], int] = {}
    for place in range(len(ranked)):
        if len(found) == asked.finalists:
            break
        key = tuple(column[place] if known(column[place]) else None for column in values)
        found.setdefault(key, place)
    return ranked.iloc[list(found.values())]


def validation_over_seeds(trials: pd.DataFrame, finalist: Chosen, asked: Asked) -> dict[Any, float]:
    """Seed -> validation accuracy of the finished confirmation runs of one configuration."""
    rows = confirming(trials, finalist, asked)
    rows = rows.assign(val_accuracy=validated(rows))
    ended = rows[(rows["status"] == "finished") & np.isfinite(rows["val_accuracy"].astype(float))]
    first = ended.drop_duplicates("seed")
    return dict(zip(first["seed"], first["val_accuracy"], strict=True))


def complete_means(trials: pd.DataFrame, best: pd.DataFrame, asked: Asked) -> list[float | None]:
    """The finalists' mean validation accuracy over the seeds; None where a seed is missing."""
    found = [validation_over_seeds(trials, row, asked) for _, row in best.iterrows()]
    wanted = set(asked.seeds) or {seed for values in found for seed in values}
    return [
        statistics.mean(values.values()) if values and wanted <= set(values) else None
        for values in found
    ]


def best_confirmed(trials: pd.DataFrame, asked: Asked = _BLIND) -> pd.Series | None:
    """The finalist with the highest mean validation accuracy over the confirmation seeds.

    Only finalists of which every seed finished can win; ties go to the better rank in the search.
    Where none can (not confirmed yet, or trained on the validation images too): the search's best.
    """
    best = finalists(trials, asked)
    means = complete_means(trials, best, asked)
    complete = {rank: mean for rank, mean in enumerate(means) if mean is not None}
    if not complete:
        return best_validation(trials)
    return best.iloc[max(complete, key=lambda rank: (complete[rank], -rank))]


def pareto_front(trials: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """The finished search trials that no other beats in everything, best validation first.

    Validation accuracy counts up, the objectives count down. Of trials with equal values the
    earliest stands for all.

    >>> trials = pd.DataFrame({"phase": "search", "status": "finished", "digest": list("abc"),
    ...                        "val_accuracy": [0.5, 0.7, 0.6], "bytes_up": [10.0, 30.0, 40.0]})
    >>> list(pareto_front(trials, ["bytes_up"])["digest"])
    ['b', 'a']
    """
    ranked = _ranked(trials, objectives)
    costs = ranked[list(objectives)].to_numpy(dtype=float)  # (trials, objectives)
    front: list[int] = []
    for place in range(len(ranked)):  # only a trial ranked before can be as good in everything
        if not any((costs[other] <= costs[place]).all() for other in front):
            front.append(place)
    return ranked.iloc[front]


def _ranked(trials: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """The finished search trials: by validation, then by cost, then the earliest first."""
    full = trials[(trials["phase"] == "search") & (trials["status"] == "finished")]
    values = full[["val_accuracy", *objectives]].to_numpy(dtype=float)
    full = full[pd.Series(np.isfinite(values).all(axis=1), index=full.index)]
    number = pd.to_numeric(full["number"]) if "number" in full else math.nan
    order = ["val_accuracy", *objectives, "_number", "digest"]
    order += ["run_id"] if "run_id" in full else []
    ranked = full.assign(_number=number).sort_values(
        order, ascending=[name != "val_accuracy" for name in order]
    )
    return ranked.drop(columns="_number")


Rule = Callable[[pd.DataFrame, Asked], "pd.Series | None"]

DEFAULT_RULE = "highest validation accuracy among trials that ran to their full budget"
FINALISTS_RULE = "highest mean validation accuracy over the confirmation seeds among the finalists"
#: Text for the caption -> rule. A study names its rule by this text (tag `selection`).
RULES: dict[str, Rule] = {
    DEFAULT_RULE: best_validation,
    "highest validation accuracy at full budget": best_validation,
    FINALISTS_RULE: best_confirmed,
}


def diverged_share(trials: pd.DataFrame) -> float:
    """Share of the search trials that diverged; NaN when none ran."""
    ran = searched(trials)
    return float((ran["status"] == "diverged").mean()) if len(ran) else math.nan


def border_warnings(
    best: Mapping[str, Any] | pd.Series, space: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """Name -> "low" or "high" for each chosen value at an end of its search range.

    Ranges count in log where the search was; ordered numeric choices (three or more) count
    by their ends; other choices have no border.

    >>> border_warnings({"local.lr": 0.98}, {"local.lr": {"low": 1e-3, "high": 1.0, "log": True}})
    {'local.lr': 'high'}
    """
    found: dict[str, str] = {}
    for name, spec in space.items():
        value = best.get(name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            continue
        if "choices" in spec:
            choices = spec["choices"]
            if len(choices) < 3 or any(
                isinstance(c, bool) or not isinstance(c, (int, float)) for c in choices
            ):
                continue
            low, high, log = min(choices), max(choices), False
            place = 0.0 if value == low else 1.0 if value == high else 0.5
        else:
            low, high, log = spec["low"], spec["high"], bool(spec.get("log"))
            if high <= low:
                continue
            scale = math.log if log else float
            place = (scale(value) - scale(low)) / (scale(high) - scale(low))
        if place <= BORDER:
            found[name] = "low"
        elif place >= 1 - BORDER:
            found[name] = "high"
    return found
