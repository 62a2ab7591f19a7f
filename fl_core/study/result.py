"""What a study found, as a call of `fl_core.main` returns it: frames, figures, the best arm."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl_core.base.errors import hidden
from fl_core.config.titles import METHOD
from fl_core.config.trial_config import TrialConfig
from fl_core.study.jobs import Arm

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class Result:
    """A study's result. A notebook shows its table.

    answer: the answer in one sentence. table: one row an arm, accuracies in [0, 1] (the columns
    are those of table.csv). pairs: paired tests between arms; no rows where arms share no seeds.
    best: the name of the best arm, by validation, and best_config its chosen configuration; None
    where no trial finished. configs: the chosen configuration of each arm that has one. figures:
    the files drawn. folder: where tables and figures lie. tracking_uri: the store, without the
    password of a database.
    """

    study: str
    answer: str
    table: pd.DataFrame
    pairs: pd.DataFrame
    best: str | None
    configs: dict[str, TrialConfig]
    warnings: tuple[str, ...]
    figures: list[Path]
    folder: Path
    tracking_uri: str
    html: str = field(default="")

    @property
    def best_config(self) -> TrialConfig | None:
        """The chosen configuration of the best arm."""
        return None if self.best is None else self.configs[self.best]

    def __repr__(self) -> str:
        return f"<{self.study}: {self.answer} Tables and figures: {self.folder}>"

    def _repr_html_(self) -> str:
        return self.html


def result_of(runs: Any, arms: Sequence[Arm], folder: Path, tracking_uri: str) -> Result:
    """The result of a study's runs (`fl_analysis.reading.store.StudyRuns`) with these arms, before
    its figures are drawn.
    """
    import pandas as pd

    from fl_analysis.results import answer, outcome
    from fl_analysis.results.best import best_arm
    from fl_analysis.tables import final, pairs, pivot, render

    found = outcome.outcomes(runs)
    chosen = best_arm(found)
    tests = pairs.pairs_csv(found)
    warnings = tuple(w for block in final.blocks(runs) for w in block.warnings)
    return Result(
        study=runs.study,
        answer=answer.answer(found),
        table=final.final_table(runs),
        pairs=pd.DataFrame() if tests is None else pd.read_csv(io.StringIO(tests)),
        best=None if chosen is None else chosen.arm.name,
        configs={o.name: chosen_config(arms[o.arm], o) for o in found if o.best is not None},
        warnings=warnings,
        figures=[],
        folder=folder,
        tracking_uri=hidden(tracking_uri),
        html=render.html_fragment([pivot.pivot_block(found, warnings)]),
    )


def chosen_config(arm: Arm, outcome: Any) -> TrialConfig:
    """An arm's configuration with the values of its chosen trial (`results.outcome.Outcome`)."""
    # None: a dimension that a condition closed, at its default; METHOD is no field
    found = outcome.config.items()
    chosen = {name: value for name, value in found if value is not None and name != METHOD}
    return arm.config.override(chosen)
