"""The final table of a study: one row an arm, as a frame, CSV, Markdown and LaTeX (booktabs).

The caption carries the conditions of the numbers (data set, backbone, resolution, selection
rule, seeds, budget, what J counts); warnings stand under the table; published numbers stand in a
block of their own with their sources' conditions, never in a column beside ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.labels import (
    DASH,
    DATA_SETS,
    SHARDING,
    axis_value,
    cell,
    compact,
    known,
    percent,
    unit_of_j,
)
from analysis.outcome import Outcome, border_lines, outcomes, rule_of, study_warnings
from analysis.published import beside, published
from analysis.render import Block, latex, markdown
from analysis.store import StudyRuns


def arm_names(runs: StudyRuns) -> list[str]:
    """The dotted names that any arm sets, in order of first appearance."""
    return list(dict.fromkeys(name for setting in runs.settings for name in setting))


def final_table(runs: StudyRuns) -> pd.DataFrame:
    """One row an arm at full precision: the CSV is exactly this frame.

    Columns: the arms' dotted names, test_accuracy_mean, test_accuracy_std (ddof = 1), seeds,
    trials (search trials that gave a result), diverged_share, val_accuracy (of the chosen
    trial), border, then the chosen hyper-parameters by dotted name.
    """
    return _frame(runs, outcomes(runs))


def table_csv(runs: StudyRuns) -> str:
    """The final table as CSV."""
    return final_table(runs).to_csv(index=False, lineterminator="\n")


def table_markdown(runs: StudyRuns) -> str:
    """The final table, warnings and published numbers as Markdown."""
    return markdown(runs.study, _blocks(runs))


def table_latex(runs: StudyRuns) -> str:
    """The same as LaTeX."""
    return latex(runs.study, _blocks(runs))


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
        "seeds": pd.Series([len(o.confirmed) for o in results], dtype=int),
        "trials": pd.Series([o.trials for o in results], dtype=int),
        "diverged_share": pd.Series([o.diverged for o in results], dtype=float),
        "val_accuracy": pd.Series([c.get("val_accuracy", math.nan) for c in chosen], dtype=float),
        "border": pd.Series([_border_text(o) for o in results], dtype=object),
    }
    for name in tuned:
        columns[name] = pd.Series([c.get(name) for c in chosen], dtype=object)
    return pd.DataFrame(columns)


def _border_text(outcome: Outcome) -> str:
    return "; ".join(f"{name} {side}" for name, side in outcome.border.items())


def _blocks(runs: StudyRuns) -> list[Block]:
    results = outcomes(runs)
    warnings = study_warnings(runs) + border_lines(runs, results)
    warnings += [line for o in results for line in o.warnings]
    ours = _our_block(runs, results, warnings)
    theirs = _published_block(results)
    return [ours, theirs] if theirs is not None else [ours]


def _our_block(runs: StudyRuns, results: Sequence[Outcome], warnings: Sequence[str]) -> Block:
    frame = _frame(runs, results)
    names = _arm_columns(arm_names(runs))
    tuned = [name for name in frame.columns if name in runs.space and name not in arm_names(runs)]
    header = [compact(n) for n in names]
    header += ["test accuracy [%]", "seeds", "trials", "diverged [%]", "val. accuracy [%]"]
    header += [compact(n) for n in tuned]
    rows = []
    for index, outcome in enumerate(results):
        record = frame.iloc[index]
        row = [axis_value(n, outcome.config) for n in names]
        row.append(percent(outcome.mean, outcome.std))
        row += [str(record["seeds"]), str(record["trials"])]
        row += [f"{100 * outcome.diverged:.0f}" if known(outcome.diverged) else DASH]
        row.append(percent(record["val_accuracy"]))
        row += [cell(record[n]) + ("*" if n in outcome.border else "") for n in tuned]
        rows.append(row)
    notes = ["* at a bound of its search range"] if any(o.border for o in results) else []
    return Block("", caption(runs, results), header, rows, notes, list(warnings))


def _arm_columns(names: Sequence[str]) -> list[str]:
    """The columns that tell the arms apart: one `sharding` stands for its three fields."""
    return list(dict.fromkeys("sharding" if name in SHARDING else name for name in names))


def caption(runs: StudyRuns, results: Sequence[Outcome]) -> str:
    """The conditions of the numbers, in sentences."""
    configs = [o.config for o in results]

    def fixed(name: str) -> str:
        return _values(name, configs)

    weights = fixed("backbone.weights")
    backbone = f"{fixed('backbone.name')} ({fixed('backbone.tag')})"
    if weights != "pretrained":
        backbone = f"{fixed('backbone.name')} (weights: {weights})"
    data = "/".join(DATA_SETS.get(d, d) for d in fixed("data.name").split("/"))
    units = "/".join(sorted({unit_of_j(c.get("local.unit")) for c in configs}))
    seeds = ", ".join(map(str, runs.seeds)) or "as found"
    budget = DASH if runs.budget is None else str(runs.budget)
    training = sorted({str(v) for o in results for v in o.confirmed.get("data.train_on", [])})
    size = fixed("backbone.image_size")
    start = "searched" if "head.method" in runs.space else fixed("head.method")
    return (
        f"{data}, backbone {backbone} at {size} × {size} pixels, "
        f"trained: {fixed('fine_tune.strategy')} (start: {start}); "
        f"K = {fixed('federation.clients')} clients, C = {fixed('federation.participation')}, "
        f"T = {fixed('rounds')} rounds, J = {fixed('local.steps')} "
        f"(J counts local {units}). "
        "Test accuracy: mean ± sample standard deviation (ddof = 1) over confirmation seeds "
        f"{seeds} (training split: {'/'.join(training) or DASH}). "
        f"Selection rule: {rule_of(runs)}, ties: the earliest trial. "
        f"Budget: {budget} search trials per arm (preset {runs.tags.get('preset', DASH)}). "
        f"Study run {runs.run_id[:8]}, commit {runs.tags.get('git_commit', DASH)}, "
        f"device {runs.tags.get('device', DASH)}."
    )


def _values(name: str, configs: Sequence[Mapping[str, Any]]) -> str:
    """A field's value over the arms: one, or several as a/b/c."""
    seen = list(dict.fromkeys(cell(config.get(name)) for config in configs))
    return "/".join(v for v in seen if v != DASH or len(seen) == 1)


def _published_block(results: Sequence[Outcome]) -> Block | None:
    """The published numbers of the arms' own problems; conditions as numbered notes."""
    frame = published()
    rows: list[list[str]] = []
    notes: list[str] = []
    for outcome in results:
        for _, row in beside(outcome.config, frame).iterrows():
            if row["conditions"] not in notes:
                notes.append(row["conditions"])
            work = f"{row['local_work']:.0f} {row['local_unit']}" if row["local_unit"] else DASH
            number = percent(row["accuracy"]) + ("" if row["comparable"] else " (not comparable)")
            note = str(notes.index(row["conditions"]) + 1)
            rows.append([outcome.name, row["source"], row["strategy"], work, number, note])
    if not rows:
        return None
    numbered = [f"({i + 1}) {text}." for i, text in enumerate(notes)]
    caption = (
        "Published numbers for the same sharding, K, C and J, under other conditions: not "
        "comparable digit by digit with the table above. Their J counts epochs."
    )
    header = ["arm", "source", "trained", "J", "test accuracy [%]", "note"]
    return Block("published", caption, header, rows, numbered, [])
