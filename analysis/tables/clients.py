"""What the clients judge, where they do: their own models and the shared one, on the same examples.

A mean hides whom a method leaves behind: beside it stand the worst client and the 10th percentile.
"""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fl_analysis.results.confirmation import over_seeds, seed_columns
from fl_analysis.results.intervals import mean_interval
from fl_analysis.results.labels import byte_cells, percent, span
from fl_analysis.results.outcome import Outcome
from fl_analysis.tables.render import Block
from fl_core.config.record import TEST_JUDGED
from fl_core.config.vocabulary import known

_NAMES = {"mean": "mean", "worst": "worst", "p10": "10th pct."}
_METRICS = {
    f"test_{whose}_{name}": f"{whose} {text} [%]"
    for whose in ("personal", "global")
    for name, text in _NAMES.items()
}
_CAPTION = (
    "Accuracy of the clients on test examples in their own class shares: over the clients mean, "
    "worst and 10th percentile; of these, mean ± sample standard deviation over the confirmation "
    "seeds. personal: each with the model it has for itself; global: each with the model that a "
    "client gets that never took part (of layers that stay with clients the mean). 95 % CI: of the "
    "personal mean, over the seeds. Clients are judged on few examples each (test examples / K), "
    "so worst and percentile are coarse, and lower than those of the true accuracies."
)


def judged(results: Sequence[Outcome]) -> bool:
    """Whether clients judge in any arm."""
    return any(known(over_seeds(o.confirmed, TEST_JUDGED)[0]) for o in results)


def clients_columns(results: Sequence[Outcome]) -> dict[str, pd.Series]:
    """CSV columns at full precision, means over the seeds and standard deviations; none where no
    clients judge.
    """
    if not judged(results):
        return {}
    return seed_columns([o.confirmed for o in results], _METRICS)


def clients_block(results: Sequence[Outcome]) -> Block | None:
    """The same as a table, with what each arm sent; None where no clients judge."""
    if not judged(results):
        return None
    unit, sent = byte_cells([over_seeds(o.confirmed, "bytes_up")[0] for o in results])
    rows = [
        [
            o.name,
            *(percent(*over_seeds(o.confirmed, name)) for name in _METRICS),
            span(*mean_interval([v for v in o.confirmed.get(TEST_JUDGED, []) if known(v)])),
            up,
        ]
        for o, up in zip(results, sent, strict=True)
    ]
    header = ["arm", *_METRICS.values(), "95 % CI [%]", f"bytes up [{unit}]"]
    return Block("clients", _CAPTION, header, rows, [], [], labels=1)
