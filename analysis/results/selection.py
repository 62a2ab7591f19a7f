"""Selection rules on frames: which trial of an arm was chosen, printed in every table's caption.

The rules themselves are those of the search, `fl_core.study.selection`; here a frame's rows become
what they judge.

Rules go by validation accuracy alone: search trials carry no test metric (`store` drops them),
and of confirmation runs a rule looks at nothing but the validation accuracy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fl_analysis.results.matching import Asked, Chosen, confirming, validated
from fl_core.config.vocabulary import known
from fl_core.study import selection as rules

BORDER = 0.02  # share of the range (of the log range where log) that counts as "at the bound"
#: A `failed` trial is the machine's fault, an `interrupted` one the user's: no results.
RAN = ("finished", "pruned", "diverged")
_BLIND = Asked()  # of a study that asks nothing


def searched(trials: pd.DataFrame) -> pd.DataFrame:
    """The search trials that gave a result."""
    return trials[(trials["phase"] == "search") & trials["status"].isin(RAN)]


def own(trials: pd.DataFrame) -> pd.DataFrame:
    """The runs without the search trials that an arm got from its neighbours' searches."""
    return trials[trials["neighbour"] == ""] if "neighbour" in trials else trials


def best_validation(trials: pd.DataFrame, asked: Asked = _BLIND) -> pd.Series | None:
    """Highest last validation accuracy among the finished search trials.

    Ties: the earliest trial (by `number` where it was logged), then the lowest digest.

    >>> trials = pd.DataFrame({"phase": "search", "status": ["finished", "pruned"],
    ...                        "val_accuracy": [0.5, 0.9], "digest": ["a", "b"]})
    >>> best_validation(trials)["digest"]
    'a'
    """
    full = _finished(trials)
    places = rules.ranked(_candidates(full))
    return full.iloc[places[0]] if places else None


def finalists(trials: pd.DataFrame, asked: Asked) -> pd.DataFrame:
    """The best finished search trials of distinct configurations, at most as many as asked for."""
    full = _finished(trials)
    return full.iloc[rules.finalists(_candidates(full), asked.finalists)]


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
    return rules.complete_means(found, asked.seeds)


def best_confirmed(trials: pd.DataFrame, asked: Asked = _BLIND) -> pd.Series | None:
    """The finalist with the highest mean validation accuracy over the confirmation seeds.

    Only finalists of which every seed finished can win; ties go to the better rank in the search.
    Where none can (not confirmed yet, or trained on the validation examples too): the best of the
    search.
    """
    best = finalists(trials, asked)
    place = rules.winner(complete_means(trials, best, asked))
    return best_validation(trials) if place is None else best.iloc[place]


def pareto_front(trials: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """The finished search trials that no other beats in everything, nor the state before the first
    round of any (`front_starts`); best validation first.

    Validation accuracy counts up, the objectives count down. Of trials with equal values the
    earliest stands for all.

    >>> trials = pd.DataFrame({"phase": "search", "status": "finished", "digest": list("abc"),
    ...                        "val_accuracy": [0.5, 0.7, 0.6], "bytes_up": [10.0, 30.0, 40.0]})
    >>> list(pareto_front(trials, ["bytes_up"])["digest"])
    ['b', 'a']
    """
    full = _finished(trials)
    starts = [start for _, start in _starts(full, objectives)]
    places = rules.pareto_front([*_candidates(full, objectives), *starts])
    return full.iloc[[place for place in places if place < len(full)]]


def front_starts(trials: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """The states before the main stage that no trial and no other beats, one of equal ones: rows of
    trials that began so, with the accuracy and the costs that these had there.
    """
    full = _finished(trials)
    starts = _starts(full, objectives)
    candidates = [*_candidates(full, objectives), *(start for _, start in starts)]
    rows = []
    for place in rules.pareto_front(candidates):
        if place >= len(full):
            origin, start = starts[place - len(full)]
            row = full.iloc[origin].copy()
            row["val_accuracy"], row[list(objectives)] = start.score, start.costs
            rows.append(row)
    return pd.DataFrame(rows, columns=full.columns)


def _starts(full: pd.DataFrame, objectives: Sequence[str]) -> list[tuple[int, rules.Candidate]]:
    """Place of a trial, and the state before its main stage, where it was measured."""
    found = [rules.start_of(row, objectives) for row in full.to_dict("records")]
    return [(place, start) for place, start in enumerate(found) if start is not None]


def _finished(trials: pd.DataFrame) -> pd.DataFrame:
    return trials[(trials["phase"] == "search") & (trials["status"] == "finished")]


def _candidates(full: pd.DataFrame, objectives: Sequence[str] = ()) -> list[rules.Candidate]:
    """These trials as the rules see them, in their order."""
    costs = full[list(objectives)].to_numpy(dtype=float).tolist()
    empty = [None] * len(full)
    numbers, runs = (full[n].tolist() if n in full else empty for n in ("number", "run_id"))
    rows = zip(full["val_accuracy"].tolist(), costs, numbers, full["digest"], runs, strict=True)
    return [
        rules.Candidate(
            float(score),
            tuple(cost),
            (float(number) if known(number) else math.inf, digest, run or ""),
            digest or run,
        )
        for score, cost, number, digest, run in rows
    ]


Rule = Callable[[pd.DataFrame, Asked], "pd.Series | None"]
#: Text for the caption -> rule. A study names its rule by this text (tag `selection`).
RULES: dict[str, Rule] = {rules.BEST: best_validation, rules.BEST_CONFIRMED: best_confirmed}


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
