"""Which confirmation runs are of one configuration, and what a study asks of them.

A confirmation repeats a trial of the search: it has the trial's value in every field but the seed,
the training split and, on train+val, the round after which it stops. Runs that differ in any other
(another data set, backbone, resolution, an earlier search's choice) are never averaged with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from fl_analysis.reading.frames import parameters
from fl_core.config.vocabulary import known

if TYPE_CHECKING:
    from fl_analysis.reading.store import StudyRuns

FREE = ("seed", "data.train_on", "stop_round")  # what a confirmation has of its own
Chosen: TypeAlias = "Mapping[Any, Any] | pd.Series"  # a configuration by dotted name
PROBLEM = ("data.name", "backbone.")  # starts of the fields whose numbers are never comparable


@dataclass(frozen=True)
class Asked:
    """What a study asks of its confirmation; `fields`: what makes a configuration."""

    seeds: tuple[int, ...] = ()  # none: as found
    finalists: int = 1
    train_on: str | None = None
    fields: tuple[str, ...] = ()


def asked_of(runs: StudyRuns) -> Asked:
    """From the study's tags; without `finalists` one configuration an arm is confirmed."""
    count = runs.tags.get("finalists", "")
    fields = parameters(runs.trials, runs.objectives)
    return Asked(
        seeds=runs.seeds,
        finalists=max(1, int(count)) if count.isdigit() else 1,
        train_on=runs.tags.get("confirm_on") or None,
        fields=tuple(name for name in fields if name not in FREE),
    )


def same(rows: pd.DataFrame, chosen: Chosen, fields: Sequence[str]) -> pd.Series:
    """Which rows have the chosen values in all these fields (None = no value).

    >>> rows = pd.DataFrame({"lr": [0.1, 0.1, 0.2], "alpha": [None, 1.0, None]}, dtype=object)
    >>> same(rows, {"lr": 0.1}, ["lr", "alpha"]).tolist()
    [True, False, False]
    """
    fits = np.ones(len(rows), dtype=bool)
    if rows.empty:
        return pd.Series(fits, index=rows.index)
    for name in fields:
        want = chosen.get(name)
        have = rows[name].tolist() if name in rows else [None] * len(rows)
        if known(want):
            fits &= np.array([value == want for value in have], dtype=bool)
        else:
            fits &= np.array([not known(value) for value in have], dtype=bool)
    return pd.Series(fits, index=rows.index)


def confirmations(mine: pd.DataFrame) -> pd.DataFrame:
    """An arm's confirmation runs, whatever they confirm."""
    rows = mine[mine["phase"] == "confirm"]
    return rows if "seed" in rows else rows.assign(seed=None)


def validated(rows: pd.DataFrame) -> pd.Series:
    """The validation accuracy of runs that did not train on the validation examples."""
    if "data.train_on" not in rows:
        return rows["val_accuracy"]
    trained = rows["data.train_on"].map(lambda split: "val" in str(split).split("+"))
    return rows["val_accuracy"].mask(trained.astype(bool))


def confirming(mine: pd.DataFrame, chosen: Chosen, asked: Asked) -> pd.DataFrame:
    """The runs of the asked seeds and split that confirm this configuration."""
    rows = confirmations(mine)
    rows = rows[same(rows, chosen, asked.fields)]
    if asked.train_on is not None and "data.train_on" in rows:
        rows = rows[rows["data.train_on"] == asked.train_on]
    return rows[rows["seed"].isin(asked.seeds)] if asked.seeds else rows
