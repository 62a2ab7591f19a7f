"""Published numbers as blocks of their own under the final table, conditions in numbered notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from analysis.results.labels import percent
from analysis.results.outcome import Outcome
from analysis.tables.published import beside, beside_overlap, published
from analysis.tables.render import Block
from fl_core.config.vocabulary import DASH, arm_name

Match = Callable[[Outcome], pd.DataFrame]
#: Mask settings that published accuracies are not matched by: arms that differ in these alone
#: have the same published numbers, which then stand there once.
_UNMATCHED = (
    *("mask.rule", "mask.rounds", "mask.scope", "mask.source", "mask.hybrid_weight"),
    *("mask.fisher", "mask.examples", "mask.granularity", "head.method"),
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
        return [row["strategy"], work, percent(row["value"])]

    rows, notes = _rows(_once(results), match, numbers)
    caption = (
        "Published numbers for the same sharding, K, C and J, under other conditions: not "
        "comparable digit by digit with the table above. Their J counts epochs."
    )
    header = ["arm", "source", "trained", "J", "test accuracy [%]", "note"]
    return Block("published", caption, header, rows, notes, []) if rows else None


def _overlaps(results: Sequence[Outcome]) -> Block | None:
    frame = published()

    def match(outcome: Outcome) -> pd.DataFrame:
        return beside_overlap(outcome.config, frame)

    def numbers(row: pd.Series) -> list[str]:
        active = 1 - row["sparsity"]
        return [f"{active / (2 - active):.3f}", f"{row['value']:.3f}"]

    rows, notes = _rows([(o.name, o) for o in results], match, numbers)
    caption = (
        "Published overlaps of the clients' masks by the same rule, at the same sparsity and N_c. "
        "Chance: of independent masks of that sparsity, a / (2 - a) for an active share a; the "
        "report gives none."
    )
    header = ["arm", "source", "chance", "Jaccard", "note"]
    return Block("published-overlap", caption, header, rows, notes, []) if rows else None


def _rows(
    arms: Sequence[tuple[str, Outcome]], match: Match, numbers: Callable[[pd.Series], list[str]]
) -> tuple[list[list[str]], list[str]]:
    """One row a published number of an arm (its last number marked where it is not comparable),
    and the conditions, numbered.
    """
    rows: list[list[str]] = []
    notes: list[str] = []
    for name, outcome in arms:
        for _, row in match(outcome).iterrows():
            if row["conditions"] not in notes:
                notes.append(row["conditions"])
            note = str(notes.index(row["conditions"]) + 1)
            *cells, number = numbers(row)
            number += "" if row["comparable"] else " (not comparable)"
            rows.append([name, row["source"], *cells, number, note])
    return rows, [f"({i + 1}) {text}." for i, text in enumerate(notes)]


def _once(results: Sequence[Outcome]) -> list[tuple[str, Outcome]]:
    """The arms, those that differ only in what published numbers are not matched by as one."""
    found: dict[str, tuple[str, Outcome]] = {}
    masks = any(name.startswith("mask.") for o in results for name in o.setting)
    for outcome in results:
        setting: dict[str, Any] = outcome.setting
        if masks:
            setting = {n: v for n, v in setting.items() if n not in _UNMATCHED}
        name = outcome.name if setting == outcome.setting else arm_name(setting)
        found.setdefault(f"{name} {sorted(map(str, setting.items()))}", (name, outcome))
    return list(found.values())
