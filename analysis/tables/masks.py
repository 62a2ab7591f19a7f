"""What masks leave trainable and what they cost to send; how far the clients' masks agree.

A Jaccard index never stands alone (REFERENCES: two random halves already overlap by a third): the
overlap expected of independent masks stands beside it, once for masks of the same densities and
once for masks that have the same densities in every tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from fl_analysis.results.confirmation import over_seeds
from fl_analysis.results.labels import byte_cells, percent
from fl_analysis.results.outcome import Outcome
from fl_analysis.tables.render import Block
from fl_core.config.vocabulary import DASH, known, masked

OVERLAP = ("mask_jaccard", "mask_expected", "mask_excess", "mask_expected_given_layers")
_ACTIVE_NOTE = "active: trainable share of the maskable parameters."
_BYTES_NOTE = (
    "bytes up: messages as really encoded, all clients, the whole trial (head, masks, main stage), "
    "mean over the seeds"
)
_SAVED_NOTE = (
    "; dense / sent: of the main stage, the bytes of the same messages sent densely over those."
)
#: Stages of a trial that send: metric -> head of a column.
_STAGES = {"bytes_up_head": "head", "bytes_up_masks": "masks", "bytes_up_main": "main stage"}


def mask_columns(results: Sequence[Outcome]) -> dict[str, pd.Series]:
    """CSV columns of studies whose arms differ in masks, or in how the head is made, at full
    precision: means over the seeds, and the standard deviation of the overlap; else none.
    """
    some, heads = any(masked(o.config) for o in results), _heads_differ(results)
    if not some and not heads:
        return {}
    columns = {"mask_active_share": [_mean(o, "mask_active_share") for o in results]}
    columns = columns if some else {}
    if any(o.config.get("federation.clients") != 1 for o in results):  # else nobody sends
        columns["bytes_up"] = [_mean(o, "bytes_up") for o in results]
        columns |= _by_stage(results) if some else {}
        if heads:
            columns["bytes_down"] = [_mean(o, "bytes_down") for o in results]
        if some:
            columns["dense_over_sent"] = [_saving(o) for o in results]
    if _overlaps(results):
        columns |= {name: [_mean(o, name) for o in results] for name in OVERLAP}
        spread = [over_seeds(o.confirmed, "mask_jaccard")[1] for o in results]
        columns["mask_jaccard_std"] = spread
    return {name: pd.Series(values, dtype=float) for name, values in columns.items()}


def cost_cells(results: Sequence[Outcome]) -> dict[str, list[str]]:
    """The same as columns of text for the final table: header -> one cell an arm."""
    columns = mask_columns(results)
    if not columns:
        return {}
    cells = {}
    if "mask_active_share" in columns:
        cells["active [%]"] = [percent(value) for value in columns["mask_active_share"]]
    for name, head in {"bytes_up": "bytes up", **_STAGES, "bytes_down": "bytes down"}.items():
        if name in columns:
            unit, sent = byte_cells(columns[name])
            cells[f"{head} [{unit}]"] = sent
    if (saved := columns.get("dense_over_sent")) is not None:
        cells["dense / sent"] = [f"{v:.2f}" if known(v) else DASH for v in saved]
    return cells


def cost_notes(results: Sequence[Outcome]) -> list[str]:
    """What the columns of `cost_cells` mean."""
    columns = mask_columns(results)
    notes = [_ACTIVE_NOTE] if "mask_active_share" in columns else []
    if "bytes_up" in columns:
        notes.append(_BYTES_NOTE + (_SAVED_NOTE if "dense_over_sent" in columns else "."))
    return notes


def _heads_differ(results: Sequence[Outcome]) -> bool:
    """Whether it is part of the question how the head is made: then ways to it cost differently."""
    asked = any("head.method" in o.setting for o in results)
    return asked and len({o.config.get("head.method") for o in results}) > 1


def _mean(outcome: Outcome, metric: str) -> float:
    return over_seeds(outcome.confirmed, metric)[0]


def _by_stage(results: Sequence[Outcome]) -> dict[str, list[float]]:
    """Bytes up of each stage that sent any in some arm; nothing where only the main stage did."""
    found = {name: [_mean(o, name) for o in results] for name in _STAGES}
    sent = {name: values for name, values in found.items() if any(v > 0 for v in values)}
    return sent if len(sent) > 1 else {}


def _saving(outcome: Outcome) -> float:
    """Dense bytes of the main stage over the bytes sent; a dense arm sends the dense ones."""
    sent, dense = _mean(outcome, "bytes_up_main"), _mean(outcome, "bytes_up_dense")
    if not sent > 0:
        return math.nan
    return dense / sent if masked(outcome.config) else 1.0


def _overlaps(results: Sequence[Outcome]) -> list[Outcome]:
    return [o for o in results if known(_mean(o, "mask_jaccard"))]


def overlap_block(results: Sequence[Outcome]) -> Block | None:
    """How far the clients' masks agree, beside chance; None without masks of several clients."""
    shown = _overlaps(results)
    if not shown:
        return None
    rows = [
        [
            o.name,
            percent(_mean(o, "mask_active_share")),
            _share(*over_seeds(o.confirmed, "mask_jaccard")),
            _share(_mean(o, "mask_expected")),
            _share(*over_seeds(o.confirmed, "mask_excess")),
            _share(_mean(o, "mask_expected_given_layers")),
            str(int(o.confirmed["mask_jaccard"].notna().sum())),
        ]
        for o in shown
    ]
    text = (
        "Overlap of the clients' masks: Jaccard index |A and B| / |A or B|, mean over pairs of "
        "the clients that took part, then mean ± sample standard deviation over the seeds. "
        "Chance: what independent masks of as many active entries overlap by on average, near "
        "a / (2 - a) for a share a. Excess: Jaccard minus chance. Chance given layers: the same "
        "for masks that are independent within every tensor but keep their shares there."
    )
    header = ["arm", "active [%]", "Jaccard", "chance", "excess", "chance given layers", "seeds"]
    return Block("overlap", text, header, rows, [], [])


def _share(mean: float, std: float | None = None) -> str:
    """An overlap with three decimals.

    >>> _share(1 / 3), _share(0.4333, 0.0041), _share(0.4, math.nan)
    ('0.333', '0.433 ± 0.004', '0.400 ± —')
    """
    if not known(mean):
        return DASH
    if std is None:
        return f"{mean:.3f}"
    return f"{mean:.3f} ± {std:.3f}" if known(std) else f"{mean:.3f} ± {DASH}"
