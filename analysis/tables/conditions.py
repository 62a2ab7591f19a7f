"""The conditions of a study's numbers, in sentences: the caption of its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fl_analysis.reading.store import StudyRuns
from fl_analysis.reading.tasks import titles
from fl_analysis.results.equal import moved, timed
from fl_analysis.results.labels import field_values, unit_of_j
from fl_analysis.results.matching import asked_of
from fl_analysis.results.outcome import Outcome, rule_of
from fl_analysis.tables.clients import judged
from fl_analysis.tables.mask_conditions import mask_conditions
from fl_core.config.methods import METHODS, unread
from fl_core.config.vocabulary import DASH, field, known
from fl_core.study.selection import BEST_CONFIRMED

_JUDGED = (
    "Clients judge: test and validation accuracy are means over the clients, each with the model "
    "it has for itself, on examples in its own class shares. "
)


def caption(runs: StudyRuns, results: Sequence[Outcome]) -> str:
    """The conditions of the numbers, in sentences."""
    configs = [o.config for o in results]

    def fixed(name: str) -> str:
        return field_values(name, configs)

    units = unit_of_j(configs)
    seeds = ", ".join(map(str, runs.seeds)) or "as found"
    start = "searched" if "head.method" in runs.space else head_start(configs)
    return (
        f"{data_conditions(results)}, {model_conditions(results)}, "
        f"trained: {fixed('fine_tune.strategy')} (start: {start}); "
        f"{mask_conditions(runs, configs)}{method_conditions(runs, configs)}"
        f"K = {fixed('federation.clients')} clients, C = {fixed('federation.participation')}, "
        f"T = {fixed('rounds')} rounds, J = {fixed('local.steps')} "
        f"(J counts local {units}). "
        f"{timing_conditions(runs, results)}"
        f"{_JUDGED if judged(results) else ''}"
        f"Test accuracy{scored(results)}: mean ± sample standard deviation (ddof = 1) over "
        f"confirmation seeds {seeds} (training split: {_training(results)}). "
        f"Selection rule: {_selection(runs)}. "
        f"Budget: {_budget(runs)}. "
        f"Study run {runs.run_id[:8]}, commit {runs.tags.get('git_commit', DASH)}, "
        f"device {runs.tags.get('device', DASH)}."
    )


def data_conditions(results: Sequence[Outcome]) -> str:
    """The data sets; where a study has written it down, how many examples there are."""
    counted = {
        f"{task.title} ({task.classes} classes, {task.train:,} training {task.noun}, "
        f"{task.val:,} of them for validation)": None
        for task in (o.task for o in results)
        if task.train is not None and task.val is not None
    }
    return " / ".join(counted) or titles(o.task for o in results)


def scored(results: Sequence[Outcome]) -> str:
    """Of a text, which characters train, choose and are counted."""
    configs = [o.config for o in results if o.task.inputs == "tokens"]
    where = {"every": "every character", "last": "the last character of a window"}
    ways = dict.fromkeys(where.get(str(config.get("data.scored")), DASH) for config in configs)
    return f" of {' / '.join(ways)}" if ways else ""


def model_conditions(results: Sequence[Outcome]) -> str:
    """What the examples go through; a task of features has no backbone, one of text no pixels."""
    configs, inputs = [o.config for o in results], {o.task.inputs for o in results}
    if inputs == {"features"}:
        return "its features as they are"
    name, weights = (field_values(f"backbone.{n}", configs) for n in ("name", "weights"))
    source = field_values("backbone.tag", configs)
    source = source if weights == "pretrained" else f"weights: {weights}"
    size = field_values("backbone.image_size", configs)
    pixels = "" if inputs == {"tokens"} else f" at {size} × {size} pixels"
    return f"backbone {name} ({source}){pixels}"


def short_model(results: Sequence[Outcome]) -> str:
    """The same in a word or two."""
    if {o.task.inputs for o in results} == {"features"}:
        return "features as they are"
    return field_values("backbone.name", [o.config for o in results])


def _training(results: Sequence[Outcome]) -> str:
    """What the confirmation trained on; without validation examples, for how many rounds."""
    splits = sorted({str(v) for o in results for v in o.confirmed.get("data.train_on", [])})
    stops = sorted({int(v) for o in results for v in o.confirmed.get("stop_round", []) if known(v)})
    text = "/".join(splits) or DASH
    if not stops:
        return text
    span = str(stops[0]) if len(stops) == 1 else f"{stops[0]} to {stops[-1]}"
    return (
        f"{text}; without validation examples nothing stops early and no evaluation is the best: "
        f"trained for as many rounds as the chosen search trial's parameters had, {span} of T"
    )


def _selection(runs: StudyRuns) -> str:
    """The rule, over how many finalists, and how ties are broken."""
    rule = rule_of(runs)
    if rule == BEST_CONFIRMED:
        count = asked_of(runs).finalists
        return f"{rule} ({count} an arm: its best trials of the search), ties: the better of those"
    ties = "the earliest trial"
    if runs.objectives:
        ties = f"the lowest {', '.join(runs.objectives)}, then {ties}"
    return f"{rule}, ties: {ties}"


def _budget(runs: StudyRuns) -> str:
    """Trials of each arm, and how the search spent them where the study says so."""
    trials = DASH if runs.budget is None else str(runs.budget)
    parts = [f"preset {runs.tags.get('preset', DASH)}"]
    parts += [f"{n} {runs.tags[n]}" for n in ("searcher", "scheduler") if runs.tags.get(n)]
    if floor := runs.tags.get("floor"):
        parts.append(f"which never stops the best {floor} of an arm")
    if limit := runs.tags.get("time_budget"):
        number = limit.replace(".", "", 1).isdigit()
        parts.append(f"time budget {f'{float(limit):g} s' if number else limit}")
    visiting = runs.tags.get("neighbours") == "True"
    more = " and one of what won in each neighbouring arm" if visiting else ""
    return f"{trials} search trials per arm{more} ({', '.join(parts)})"


def head_start(configs: Sequence[Mapping[str, Any]]) -> str:
    """How the head was obtained; of a trained one also for how long."""
    method = field_values("head.method", configs)
    warm = [config for config in configs if config.get("head.method") == "fedavg"]
    if not warm:
        return method
    rounds, steps = (field_values(name, warm) for name in ("head.rounds", "head.local.steps"))
    units = unit_of_j({"local.unit": config.get("head.local.unit")} for config in warm)
    work = f"{rounds} rounds of {steps} local {units}, lr {field_values('head.local.lr', warm)}"
    return f"{method}, fedavg: {work}{_shared(configs)}" if "/" in method else f"{method}, {work}"


def _shared(configs: Sequence[Mapping[str, Any]]) -> str:
    """Whether arms whose heads differ spend the same number of local steps in all."""
    head = ("head.rounds", "head.local.steps", "rounds", "local.steps")
    if any(not known(config.get(name)) for config in configs for name in head):
        return ""
    totals = []
    for config in configs:
        rounds, steps, main, each = (int(config[name]) for name in head)
        totals.append(main * each + (rounds * steps if config["head.method"] == "fedavg" else 0))
    if max(totals) - min(totals) < max(int(config["local.steps"]) for config in configs):
        return f", part of one budget of {max(totals)} in all"
    return ", on top of the main stage's T x J"


def method_conditions(runs: StudyRuns, configs: Sequence[Mapping[str, Any]]) -> str:
    """Where the method is not FedAvg: its choices, with the fields that they read. What differs by
    arm, or is searched, stands in columns of its own. Empty for FedAvg.
    """
    open_names = {name for setting in runs.settings for name in setting} | set(runs.space)
    parts = []
    for name, choices in METHODS.items():
        made = field_values(name, configs)
        if made in (next(iter(choices)), DASH):
            continue
        section = name.rpartition(".")[0]
        own = {one: None for choice in made.split("/") for one in choices.get(choice, ())}
        names = [name, *(f"{section}.{one}" for one in own)]
        names = [n for n in names if not all(unread(n, config) for config in configs)]
        parts += [f"{n} = {field_values(n, configs)}" for n in names if n not in open_names]
    return f"method: {', '.join(parts)}; " if parts else ""


def timing_conditions(runs: StudyRuns, results: Sequence[Outcome]) -> str:
    """Of a study about time: how fast clients are, when they fail or are left out. What differs by
    arm, or is searched, stands in columns of its own. Empty for other studies.
    """
    if not timed(runs, results):
        return ""
    open_names = {name for setting in runs.settings for name in setting} | set(runs.space)
    configs = [o.config for o in results]
    changed = dict.fromkeys(name for config in configs for name in moved(config))
    each = ("timing.speed", "timing.speed_spread", "timing.down", "timing.up")
    names = dict.fromkeys((*(() if "timing.table" in changed else each), *changed))
    parts = [
        field(name).caption.format(_clock_values(name, configs))
        for name in names
        if name not in {*open_names, "timing.mode"} and any(known(c.get(name)) for c in configs)
    ]
    return f"Virtual clock: {', '.join(parts)}. " if parts else ""


def _clock_values(name: str, configs: Sequence[Mapping[str, Any]]) -> str:
    """`field_values`; of bandwidths in kB/s, of a table the file's name."""
    if name == "timing.table":
        return field_values(name, [{name: Path(str(c.get(name))).name} for c in configs])
    if name not in ("timing.up", "timing.down"):
        return field_values(name, configs)
    values = [config[name] for config in configs if known(config.get(name))]
    return field_values(name, [{name: float(value) / 1000} for value in values])
