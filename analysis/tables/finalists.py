"""The finalists of each arm as a table: what was confirmed, and which one was chosen."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.labels import percent
from fl_analysis.results.outcome import Outcome
from fl_analysis.tables.escapes import csv
from fl_analysis.tables.render import Block


def finalists_block(results: Sequence[Outcome]) -> Block | None:
    """One row a finalist; None where one configuration an arm is confirmed."""
    found = [(o, f) for o in results for f in o.finalists]
    if not found:
        return None
    rows = [
        [
            outcome.name,
            str(finalist.rank),
            percent(finalist.trial["val_accuracy"]),
            percent(*finalist.validation),
            percent(*finalist.test),
            str(len(finalist.confirmed)),
            "yes" if finalist.chosen else "no" if finalist.complete else "not eligible",
        ]
        for outcome, finalist in found
    ]
    text = (
        "Finalists: the best finished search trials of each arm, every one confirmed with the same "
        "seeds. The choice goes by the mean validation accuracy over these seeds; search score: "
        "validation accuracy of the trial in the search; mean ± sample standard deviation "
        "(ddof = 1) over the seeds. Test accuracies of finalists that were not chosen are shown "
        "for information and chose nothing."
    )
    header = ["arm", "rank", "search score [%]", "validation [%]", "test accuracy [%]", "seeds"]
    notes = []
    if any(not f.complete for _, f in found):
        notes.append("not eligible: a seed is missing, diverged or has no validation accuracy.")
    return Block("finalists", text, [*header, "chosen"], rows, notes, [], labels=2)


def finalists_csv(runs: StudyRuns, results: Sequence[Outcome]) -> str | None:
    """The block at full precision, with the searched values; None as for the block."""
    records = [
        {
            "arm": outcome.name,
            "rank": finalist.rank,
            "search_score": finalist.trial["val_accuracy"],
            "val_accuracy_mean": finalist.validation[0],
            "val_accuracy_std": finalist.validation[1],
            "test_accuracy_mean": finalist.test[0],
            "test_accuracy_std": finalist.test[1],
            "seeds": len(finalist.confirmed),
            "complete": finalist.complete,
            "chosen": finalist.chosen,
            **{name: finalist.trial.get(name) for name in runs.space},
        }
        for outcome in results
        for finalist in outcome.finalists
    ]
    return csv(pd.DataFrame(records)) if records else None
