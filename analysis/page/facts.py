"""Under which protocol a study ran, what it searched, what it cost, and what to be wary of."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.labels import byte_cells, field_values, points, unit_of_j
from fl_analysis.results.matching import PROBLEM
from fl_analysis.results.outcome import Outcome, rule_of
from fl_analysis.tables.conditions import data_conditions, head_start, model_conditions
from fl_analysis.tables.mask_conditions import mask_conditions
from fl_analysis.tables.render import Block
from fl_core.config.vocabulary import DASH, cell, compact, known, shards

SECONDS = ("seconds_train", "seconds_eval", "seconds_overhead")
FEW_SEEDS = 3
GAP = 0.005  # mean gap between search and confirmation from which it is a warning
#: Tags of the study run that name how it searched, where it says so.
_SEARCH_TAGS = ("searcher", "scheduler")


def protocol(runs: StudyRuns, results: Sequence[Outcome]) -> list[tuple[str, str]]:
    """Name and text of each condition that all numbers of the study share."""
    configs = [o.config for o in results]

    def fixed(name: str) -> str:
        return field_values(name, configs) or DASH

    units = unit_of_j(configs)
    splits = ", ".join(dict.fromkeys(shards(c) for c in configs))
    training = sorted({str(v) for o in results for v in o.confirmed.get("data.train_on", [])})
    seeds = ", ".join(map(str, runs.seeds)) or "as found"
    tuned = ", ".join(map(compact, runs.space)) or "nothing"
    per_arm = DASH if runs.budget is None else str(runs.budget)
    rows = [
        ("Data set", data_conditions(results)),
        ("Model", model_conditions(results).removeprefix("backbone ")),
        ("Trained", f"{fixed('fine_tune.strategy')} (start: {head_start(configs) or DASH})"),
        ("Clients", f"K = {fixed('federation.clients')}, C = {fixed('federation.participation')}"),
        ("Split", splits or DASH),
        ("Work", f"T = {fixed('rounds')} rounds, J = {fixed('local.steps')} local {units}"),
        ("Masks", mask_conditions(runs, configs).removeprefix("masks: ").removesuffix("; ")),
        ("Tuned in each arm", tuned),
        ("Objectives", ", ".join(["val_accuracy", *runs.objectives]) if runs.objectives else ""),
        ("Selection rule", rule_of(runs)),
        ("Budget", f"{per_arm} search trials per arm, preset {runs.tags.get('preset', DASH)}"),
        *((tag.capitalize(), runs.tags.get(tag, "")) for tag in _SEARCH_TAGS),
        ("Seeds", f"confirmation {seeds}; search {runs.tags.get('seed', DASH)}"),
        ("Confirmation", f"training split {'/'.join(training) or DASH}; reads the test set once"),
        ("Device", runs.tags.get("device", DASH)),
    ]
    return [(name, text) for name, text in rows if text]


def space_block(runs: StudyRuns, results: Sequence[Outcome]) -> Block | None:
    """Ranges of the search, and how many arms chose a value at an end of them."""
    if not runs.space:
        return None
    rows = []
    for name, spec in runs.space.items():
        if "choices" in spec:
            values, scale = ", ".join(cell(c) for c in spec["choices"]), "choice"
        else:
            values = f"{cell(spec['low'])} to {cell(spec['high'])}"
            scale = "log" if spec.get("log") else "linear"
        sides = [o.border[name] for o in results if name in o.border]
        ends = [f"{sides.count(s)} {s}" for s in ("low", "high") if s in sides]
        rows.append([compact(name), name, values, scale, ", ".join(ends) or DASH])
    header = ["parameter", "field", "values", "scale", "arms at a bound"]
    return Block("space", "What was searched, afresh for each arm.", header, rows, [], [])


def cost_block(runs: StudyRuns) -> Block:
    """Seconds, local steps and bytes, summed over the runs of each phase."""
    trials = runs.trials
    parts = [(p, trials[trials["phase"] == p]) for p in ("search", "confirm", "probe")]
    parts = [(p, part) for p, part in parts if p != "probe" or len(part)]
    parts.append(("total", trials))
    seconds = [[_sum(part[name]) for name in SECONDS] for _, part in parts]
    steps = [_sum(local_steps(part)) for _, part in parts]
    sent = {name: [_sum(part[name]) for _, part in parts] for name in ("bytes_up", "bytes_down")}
    units = {name: byte_cells(values) for name, values in sent.items()}
    header = ["phase", "runs", "training", "evaluation", "overhead", "local steps"]
    header += [f"{compact(name)} [{unit}]" for name, (unit, _) in units.items()]
    rows = []
    for index, (name, part) in enumerate(parts):
        row = [name, str(len(part)), *map(duration, seconds[index])]
        row.append(f"{steps[index]:,.0f}" if math.isfinite(steps[index]) else DASH)
        rows.append(row + [texts[index] for _, texts in units.values()])
    text = (
        "Summed over the runs, those included that were pruned, diverged or failed, as far as "
        "they got. Seconds of the machines' clocks, run by run (runs side by side count each); "
        "local steps: those that one client makes one after the other in the main stage; bytes: "
        "what each run sends with all its stages, a head that several share counted in each."
    )
    return Block("cost", text, header, rows, _unknown(trials), [])


def _unknown(trials: pd.DataFrame) -> list[str]:
    """Which sums miss runs."""
    columns = {
        "seconds": trials[list(SECONDS)].sum(axis=1, min_count=1),
        "local steps": local_steps(trials),
        "bytes up": trials["bytes_up"],
        "bytes down": trials["bytes_down"],
    }
    groups: dict[int, list[str]] = {}
    for name, values in columns.items():
        groups.setdefault(int(values.isna().sum()), []).append(name)
    return [
        f"unknown for {missing} of {len(trials)} runs, which count as 0: {', '.join(names)}"
        for missing, names in groups.items()
        if 0 < missing < len(trials)
    ]


def local_steps(trials: pd.DataFrame) -> pd.Series:
    """Local steps of one client; NaN where the store does not tell, or counts epochs."""
    if "local.steps" not in trials or "local.unit" not in trials:
        return pd.Series(math.nan, index=trials.index)
    steps = pd.to_numeric(trials["local.steps"], errors="coerce") * trials["round"]
    steps = trials["local_steps"].fillna(steps)  # what was done, where J varies
    return steps.where(trials["local.unit"] == "steps").astype(float)


def _sum(values: pd.Series) -> float:
    return float(values.sum(min_count=1))


def duration(seconds: float) -> str:
    """A time as people say it.

    >>> duration(41.3), duration(754.0), duration(19500.0), duration(float("nan"))
    ('41.3 s', '12.6 min', '5.42 h', '—')
    """
    if not math.isfinite(seconds):
        return DASH
    for size, unit in ((3600.0, "h"), (60.0, "min")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def more_warnings(runs: StudyRuns, results: Sequence[Outcome]) -> list[str]:
    """What the table's own warnings leave unsaid: seeds, the winner's curse, mixed problems."""
    lines = []
    seeds = [len(o.confirmed) for o in results if len(o.confirmed)]
    if not seeds:
        lines.append("no arm has been confirmed: there is no test accuracy to report")
    elif min(seeds) < FEW_SEEDS:
        lines.append(f"only {min(seeds)} seed(s) in some arms: their spread is a rough guess")
    gaps = [o.search_gap for o in results if known(o.search_gap)]
    if gaps and statistics.mean(gaps) >= GAP:
        lines.append(
            f"search scores lie {points(statistics.mean(gaps))} points above their confirmation on "
            f"average, at most {points(max(gaps))}: the winner's curse, or an easy search seed"
        )
    return lines + _mixed(runs)


def _mixed(runs: StudyRuns) -> list[str]:
    """Arms whose runs are of several data sets, backbones or resolutions."""
    names = [str(n) for n in runs.trials.columns if str(n).startswith(PROBLEM)]
    names = [n for n in names if n != "data.train_on" and n not in runs.space]
    lines = []
    for arm, mine in runs.trials.groupby("arm"):
        for name in names:
            seen = sorted({cell(v) for v in mine[name]} - {DASH})
            if len(seen) > 1:
                values = ", ".join(seen)
                lines.append(
                    f"{runs.arms.at[arm, 'arm_name']}: its runs differ in {name} ({values}); only "
                    "confirmation runs of the chosen trial's own problem enter its mean"
                )
    return lines
