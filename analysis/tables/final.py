"""The tables of a study: one row an arm, as a frame and as blocks of text.

The caption carries the conditions of the numbers (data set, backbone, resolution, selection
rule, seeds, budget, what J counts); warnings stand under the table. Masked arms add what they
cost to send. Paired tests between arms, finalists, overlaps, the Pareto front and published
numbers stand in blocks of their own, the last with their sources' conditions, never in a column
beside ours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.best import Best, best_arms
from fl_analysis.results.equal import NOTHING, Wanted
from fl_analysis.results.expected import read_expected
from fl_analysis.results.labels import axis_names, axis_value, percent, points, span
from fl_analysis.results.outcome import (
    Outcome,
    border_lines,
    outcomes,
    study_warnings,
    unheld_lines,
)
from fl_analysis.results.pivot import MARK
from fl_analysis.results.searching import study_lines
from fl_analysis.tables.clients import clients_block, clients_columns
from fl_analysis.tables.conditions import caption
from fl_analysis.tables.epochs import epochs_block
from fl_analysis.tables.equal import equal_blocks
from fl_analysis.tables.escapes import csv
from fl_analysis.tables.expected import expected_block
from fl_analysis.tables.finalists import finalists_block
from fl_analysis.tables.front import front_block
from fl_analysis.tables.mask_conditions import shared_hybrid_weight
from fl_analysis.tables.masks import cost_cells, cost_notes, mask_columns, overlap_block
from fl_analysis.tables.pairs import pairs_block
from fl_analysis.tables.pivot import SHORT_NOTE, bold_note, pivot_block
from fl_analysis.tables.positions import positions_block, positions_columns
from fl_analysis.tables.published_tables import published_blocks
from fl_analysis.tables.render import Block
from fl_analysis.tables.sources import source
from fl_core.config.titles import cited
from fl_core.config.vocabulary import DASH, cell, compact, known

_ACCURACY = "test accuracy [%]"
_CI_NOTE = (
    "95 % CI: Student's interval of the mean over the seeds. It counts what seeds change "
    "(partition, clients, batches), not the search, other data or other backbones."
)
_GAP_NOTE = (
    "search gap: validation accuracy of the chosen trial in the search, which has one seed for all "
    "trials, minus the mean validation accuracy of the same configuration over the confirmation "
    "seeds, in percentage points. Both are of the SAME validation examples, so it is the spread of "
    "the seed plus what choosing the best of many trials adds (positive), and no measure of how "
    "far the choice fits these examples; negative where the search's seed is a harder draw."
)


def arm_names(runs: StudyRuns) -> list[str]:
    """The dotted names that any arm sets, in order of first appearance."""
    return list(dict.fromkeys(name for setting in runs.settings for name in setting))


def final_table(runs: StudyRuns) -> pd.DataFrame:
    """One row an arm at full precision: the CSV is exactly this frame.

    Columns: the arms' dotted names, test_accuracy_mean, test_accuracy_std (ddof = 1),
    test_accuracy_ci_low, test_accuracy_ci_high (95 %, Student's t), seeds, trials (of the arm's own
    search, that gave a result), neighbours (trials of what neighbouring arms' searches found),
    finished (of both, to their full budget), diverged_share, val_accuracy
    (of the chosen trial in the search), search_gap (that less the mean over the confirmation
    seeds, a difference of accuracies in [0, 1]), border, shortfall (why the arm was not searched
    enough), what `clients_columns` adds where clients judge, `positions_columns` for text,
    `mask_columns` for masked arms, then the chosen hyper-parameters by dotted name.
    """
    return _frame(runs, outcomes(runs))


def table_csv(runs: StudyRuns) -> str:
    """The final table as CSV."""
    return csv(final_table(runs))


def _frame(runs: StudyRuns, results: Sequence[Outcome]) -> pd.DataFrame:
    names = arm_names(runs)
    tuned = [name for name in runs.space if name not in names]
    columns: dict[str, pd.Series] = {}
    for name in names:
        columns[name] = pd.Series([o.config.get(name) for o in results], dtype=object)
    chosen: list[dict[Any, Any]] = [{} if o.best is None else o.best.to_dict() for o in results]
    columns |= {
        "test_accuracy_mean": pd.Series([o.mean for o in results], dtype=float),
        "test_accuracy_std": pd.Series([o.std for o in results], dtype=float),
        "test_accuracy_ci_low": pd.Series([o.interval[0] for o in results], dtype=float),
        "test_accuracy_ci_high": pd.Series([o.interval[1] for o in results], dtype=float),
        "seeds": pd.Series([len(o.confirmed) for o in results], dtype=int),
        "trials": pd.Series([o.trials for o in results], dtype=int),
        "neighbours": pd.Series([o.neighbours for o in results], dtype=int),
        "finished": pd.Series([o.finished for o in results], dtype=int),
        "diverged_share": pd.Series([o.diverged for o in results], dtype=float),
        "val_accuracy": pd.Series([c.get("val_accuracy", math.nan) for c in chosen], dtype=float),
        "search_gap": pd.Series([o.search_gap for o in results], dtype=float),
        "border": pd.Series([_border_text(o) for o in results], dtype=object),
        "shortfall": pd.Series(["; ".join(o.shortfalls) for o in results], dtype=object),
    }
    columns |= clients_columns(results)
    columns |= positions_columns(results)
    columns |= mask_columns(results)
    for name in tuned:
        columns[name] = pd.Series([c.get(name) for c in chosen], dtype=object)
    return pd.DataFrame(columns)


def _border_text(outcome: Outcome) -> str:
    return "; ".join(f"{name} {side}" for name, side in outcome.border.items())


def blocks(runs: StudyRuns, published: bool = False, wanted: Wanted = NOTHING) -> list[Block]:
    """The final table, then epochs, equal costs, comparisons, finalists, overlaps, fronts,
    published numbers if asked for.
    """
    results = outcomes(runs)
    warnings = study_lines([(o.name, o.shortfalls) for o in results], len(results))
    warnings += study_warnings(runs) + unheld_lines(results) + border_lines(runs, results)
    warnings += [line for o in results for line in o.warnings]
    theirs = published_blocks(results) if published else []
    if published and not theirs:
        warnings.append("no published number is known for the problem of any arm")
    ours = _our_block(runs, results, warnings)
    more = [
        clients_block(results),
        positions_block(results),
        epochs_block(runs, results),
        *equal_blocks(runs, results, wanted),
        pairs_block(results),
        finalists_block(results),
    ]
    more += [expected_block(read_expected(runs, results))]
    more += [overlap_block(results), front_block(runs, results), *theirs]
    return [ours, *(block for block in more if block is not None)]


def answer_first(results: Sequence[Outcome], blocks: Sequence[Block]) -> list[Block]:
    """The answer as a grid, with the study's warnings, then these blocks."""
    arms, *more = blocks
    return [pivot_block(results, arms.warnings), replace(arms, warnings=[]), *more]


def _our_block(runs: StudyRuns, results: Sequence[Outcome], warnings: Sequence[str]) -> Block:
    frame = _frame(runs, results)
    names = _arm_columns(runs)
    tuned = [
        name
        for name in frame.columns
        if name in runs.space and any(name not in setting for setting in runs.settings)
    ]
    cost = cost_cells(results)
    header = [compact(n) for n in names]
    header += [_ACCURACY, "95 % CI [%]", "seeds", "finished", "diverged [%]"]
    header += ["val. accuracy [%]", "search gap [pp]"]
    labels = max(1, len(names))  # of a joint search the arms are none
    sections = {"results": labels}
    sections |= {"what it costs to send": len(header)} if cost else {}
    header += cost
    sections |= {"hyper-parameters of the chosen trials": len(header)} if tuned else {}
    header += map(compact, tuned)
    rows = []
    for index, outcome in enumerate(results):
        record = frame.iloc[index]
        row = [axis_value(n, outcome.config) for n in names]
        row += [percent(outcome.mean, outcome.std), span(*outcome.interval)]
        row += [str(record["seeds"]), _finished_text(outcome)]
        row += [f"{100 * outcome.diverged:.0f}" if known(outcome.diverged) else DASH]
        row += [percent(record["val_accuracy"]), points(outcome.search_gap)]
        row += [column[index] for column in cost.values()]
        row += [cell(record[n]) + ("*" if n in outcome.border else "") for n in tuned]
        rows.append(row)
    best = best_arms(results) if len(results) > 1 else []
    bold = {(found.arm.arm, header.index(_ACCURACY)) for found in best}
    papers = cited([o.config for o in results])
    notes = [*_notes(results, best), *cost_notes(results)]
    if papers:
        named = (f"{name} ({source(key).name})" for name, key in papers.items())
        notes.append(f"methods: {', '.join(named)}.")
    return Block(
        "",
        caption(runs, results),
        header,
        rows,
        notes,
        list(warnings),
        frozenset(bold),
        sources={key: source(key) for key in papers.values()},
        labels=labels,
        sections=[(start, words) for words, start in sections.items()],
    )


def _finished_text(outcome: Outcome) -> str:
    """Finished trials of those that gave a result; marked where that is too little."""
    tried = str(outcome.trials)
    if outcome.neighbours:
        tried = f"({tried}+{outcome.neighbours})"
    return f"{outcome.finished}/{tried}" + (MARK if outcome.shortfalls else "")


def _notes(results: Sequence[Outcome], best: Sequence[Best]) -> list[str]:
    """What the marks and columns of the final table mean."""
    notes = {
        "* at a bound of its search range": any(o.border for o in results),
        "finished: search trials that ran to their full budget, of all that gave a result.": any(
            o.trials for o in results
        ),
        "+: trials of what won in the search of a neighbouring arm, which differs in one parameter "
        "of the question by one place.": any(o.neighbours for o in results),
        SHORT_NOTE: any(o.shortfalls for o in results),
        _CI_NOTE: any(known(o.interval[0]) for o in results),
        _GAP_NOTE: any(known(o.search_gap) for o in results),
    }
    if best:
        notes[bold_note(best, "its test accuracy has no part in it.")] = True
    return [note for note, applies in notes.items() if applies]


def _arm_columns(runs: StudyRuns) -> list[str]:
    """The columns that tell the arms apart; the caption stands for a weight that all hybrid masks
    have in common.
    """
    weight = shared_hybrid_weight(runs.settings)
    names = axis_names(runs.settings)
    return [n for n in names if n != "mask.hybrid_weight" or weight is None]
