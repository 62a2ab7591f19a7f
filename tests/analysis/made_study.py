"""Studies as `read_study` gives them, made in memory: a store takes seconds, these nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from fake_store import BASE, SPACE

from fl_analysis.reading.store import StudyRuns
from fl_core.config.record import CHARTS
from fl_core.study.selection import BEST_CONFIRMED

SEEDS = (1, 2, 3)


def search(number: int, score: float, arm: int = 0, lr: float | None = None, **more: Any) -> Any:
    """A search trial; its learning rate tells it from the others."""
    rate = 0.01 * (number + 1) if lr is None else lr
    return {"phase": "search", "number": number, "arm": arm, "val_accuracy": score,
            "local.lr": rate, "digest": f"s{arm}.{number}", **more}  # fmt: skip


def confirm(
    number: int, seed: int, val: float, test: float, arm: int = 0, status: str = "finished",
    **more: Any,
) -> Any:  # fmt: skip
    """A confirmation run of the search trial with this number."""
    return {"phase": "confirm", "number": seed, "seed": seed, "arm": arm, "status": status,
            "val_accuracy": val, "test_accuracy": test, "local.lr": 0.01 * (number + 1),
            "digest": f"c{arm}.{number}.{seed}", **more}  # fmt: skip


def study(
    rows: Sequence[Mapping[str, Any]],
    arms: int = 1,
    finalists: int | None = None,
    seeds: Sequence[int] = SEEDS,
    **tags: str,
) -> StudyRuns:
    """One study; arms differ in J."""
    settings = tuple({"local.steps": 2 ** (arm + 2)} for arm in range(arms))
    empty = dict.fromkeys(CHARTS, math.nan)
    records = [
        {"run_id": f"run{i}", "status": "finished", "neighbour": "",
         **BASE, **settings[row["arm"]], **empty, **row}
        for i, row in enumerate(rows)
    ]  # fmt: skip
    frame = pd.DataFrame({n: pd.Series([r[n] for r in records], dtype=object) for n in records[0]})
    table = pd.DataFrame(
        [{"run_id": f"arm{i}", "arm_name": f"arm {i}", **BASE, **s} for i, s in enumerate(settings)]
    ).astype(object)
    found = {} if finalists is None else {"finalists": str(finalists), "selection": BEST_CONFIRMED}
    return StudyRuns(
        tracking_uri="none",
        study="made",
        run_id="0123456789",
        tags={"kind": "study", "preset": "paper", **found, **tags},
        settings=settings,
        space={"local.lr": SPACE["local.lr"]},
        seeds=tuple(seeds),
        budget=None,
        objectives=(),
        arms=table,
        trials=frame.astype({"arm": int, **dict.fromkeys(CHARTS, float)}),
        notes=(),
    )
