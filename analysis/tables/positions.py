"""Of a text: accuracy on every character of a window and on its last one, side by side.

LEAF scores the last, TensorFlow Federated every one; which of them trained and chose is a
condition (`data.scored`).
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fl_analysis.results.confirmation import over_seeds, seed_columns
from fl_analysis.results.labels import percent
from fl_analysis.results.outcome import Outcome
from fl_analysis.tables.render import Block
from fl_core.config.vocabulary import known

_METRICS = {
    "test_accuracy_every": "every character [%]",
    "test_accuracy_last": "last character [%]",
}
_CAPTION = (
    "Accuracy on the test text: on every character of a window (as TensorFlow Federated scores) "
    "and on its last one alone (as LEAF), mean ± sample standard deviation over the confirmation "
    "seeds. What guessing from the character before reaches, on the same text: "
    "python -m fl_core.data.sets.shakespeare."
)


def _told(results: Sequence[Outcome]) -> bool:
    """Whether any arm learns a text."""
    return any(known(over_seeds(o.confirmed, name)[0]) for o in results for name in _METRICS)


def positions_columns(results: Sequence[Outcome]) -> dict[str, pd.Series]:
    """CSV columns at full precision, means over the seeds and standard deviations; none where
    nothing is a text.
    """
    if not _told(results):
        return {}
    return seed_columns([o.confirmed for o in results], _METRICS)


def positions_block(results: Sequence[Outcome]) -> Block | None:
    """The same as a table; None where nothing is a text."""
    if not _told(results):
        return None
    rows = [
        [o.name, *(percent(*over_seeds(o.confirmed, name)) for name in _METRICS)] for o in results
    ]
    return Block("positions", _CAPTION, ["arm", *_METRICS.values()], rows, [], [], labels=1)
