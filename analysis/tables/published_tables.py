"""Published numbers as blocks of their own under the final table, conditions in numbered notes,
the documents that they are from in a bibliography. Shown to those who ask for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from fl_analysis.results.labels import percent
from fl_analysis.results.outcome import Outcome
from fl_analysis.tables.published import beside, beside_overlap, published
from fl_analysis.tables.render import Block
from fl_analysis.tables.sources import SOURCES
from fl_core.config.vocabulary import DASH, arm_name, known

Match = Callable[[Outcome], pd.DataFrame]
#: Settings that published accuracies are not matched by: arms that differ in these alone have the
#: same published numbers, which then stand there once.
_UNMATCHED = (
    *("mask.rule", "mask.rounds", "mask.scope", "mask.source", "mask.hybrid_weight"),
    *("mask.fisher", "mask.examples", "mask.granularity", "head.method", "schedule.name"),
    "select.reweight",
)


def published_blocks(results: Sequence[Outcome]) -> list[Block]:
    """Accuracies, then overlaps, that others published for the arms' own problems."""
    blocks = [_accuracies(results), _overlaps(results)]
    return [block for block in blocks if block is not None]


def _accuracies(results: Sequence[Outcome]) -> Block | None:
    frame = published()

    def match(outcome: Outcome) -> pd.DataFrame:
        return beside(outcome.config, frame, "fine_tune.strategy" in outcome.setting)

    def numbers(row: pd.Series) -> list[str]:
        work = f"{row['local_work']:.0f} {row['local_unit']}" if row["local_unit"] else DASH
        calibrated = f"{row['mask_rounds']:.0f}" if known(row["mask_rounds"]) else DASH
        return [row["strategy"], work, row["rule"] or DASH, calibrated, percent(row["value"])]

    caption = (
        "Published numbers for the same sharding, K, C, selection and J, under other conditions: "
        "not comparable digit by digit with the table above. J counts what its column says."
    )
    header = ["arm", "source", "trained", "J", "mask rule", "R", "test accuracy [%]", "note"]
    block = _block("published", caption, header, _once(results), match, numbers)
    return block and _without_empty(block, ("mask rule", "R"))


def _overlaps(results: Sequence[Outcome]) -> Block | None:
    frame = published()

    def match(outcome: Outcome) -> pd.DataFrame:
        return beside_overlap(outcome.config, frame)

    def numbers(row: pd.Series) -> list[str]:
        active = 1 - row["sparsity"]
        return [f"{active / (2 - active):.3f}", f"{row['value']:.3f}"]

    caption = (
        "Published overlaps of the clients' masks by the same rule, at the same sparsity and N_c. "
        "Chance: of independent masks of that sparsity, a / (2 - a) for an active share a; the "
        "report gives none."
    )
    header = ["arm", "source", "chance", "Jaccard", "note"]
    arms = [(o.name, o) for o in results]
    return _block("published-overlap", caption, header, arms, match, numbers)


def _block(
    label: str,
    caption: str,
    header: Sequence[str],
    arms: Sequence[tuple[str, Outcome]],
    match: Match,
    numbers: Callable[[pd.Series], list[str]],
) -> Block | None:
    """One row a published number of an arm (its last number marked where it is not comparable),
    the conditions numbered, and the documents.
    """
    rows: list[list[str]] = []
    notes: list[str] = []
    keys: list[str] = []
    for name, outcome in arms:
        for _, row in match(outcome).iterrows():
            if row["conditions"] not in notes:
                notes.append(row["conditions"])
            note = str(notes.index(row["conditions"]) + 1)
            *cells, number = numbers(row)
            number += "" if row["comparable"] else " (not comparable)"
            rows.append([name, row["source"], *cells, number, note])
            keys.append(row["key"])
    if not rows:
        return None
    numbered = [f"({i + 1}) {text}." for i, text in enumerate(notes)]
    cited = {key: source for key, source in SOURCES.items() if key in keys}
    return Block(label, caption, header, rows, numbered, [], sources=cited, cites=keys, labels=2)


def _without_empty(block: Block, names: Sequence[str]) -> Block:
    """Without those of the named columns that say nothing in any row."""
    keep = [
        i
        for i, name in enumerate(block.header)
        if name not in names or any(row[i] != DASH for row in block.rows)
    ]
    header = [block.header[i] for i in keep]
    return replace(block, header=header, rows=[[row[i] for i in keep] for row in block.rows])


def _once(results: Sequence[Outcome]) -> list[tuple[str, Outcome]]:
    """The arms, those that differ only in what published numbers are not matched by as one."""
    found: dict[str, tuple[str, Outcome]] = {}
    for outcome in results:
        setting: dict[str, Any] = {n: v for n, v in outcome.setting.items() if n not in _UNMATCHED}
        name = outcome.name if setting == outcome.setting else arm_name(setting)
        found.setdefault(f"{name} {sorted(map(str, setting.items()))}", (name, outcome))
    return list(found.values())
