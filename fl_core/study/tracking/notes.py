"""What a person reads on MLflow's pages: names of runs, descriptions."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from functools import cache
from typing import Any

from fl_core.config.trial_config import Value
from fl_core.study.jobs import Arm, Job
from fl_core.study.tracking.facts import bounded
from fl_core.study.tracking.views import ARMS, LONGEST_VIEW, RUNS, link, view_tags

NOTE = "mlflow.note.content"  # Markdown, shown as the description
LONGEST_NAME = 200  # characters; MLflow ends a run's name at 250
_NUMBERED = {"search": "#", "probe": "probe seed "}


def run_name(arm: Arm, job: Job) -> str:
    """Arm, and number or seed: `N_c=5, J=8 #3`, `N_c=5, J=8 seed 1`."""
    return f"{arm_run_name(arm)} {_NUMBERED.get(job.phase, 'seed ')}{job.number}"


def arm_run_name(arm: Arm) -> str:
    """The arm's name, as long as a run's may be."""
    return arm.name if len(arm.name) <= LONGEST_NAME else f"{arm.name[:LONGEST_NAME]}…"


def experiment_tags(facts: Mapping[str, Any], experiment: str) -> dict[str, str]:
    """The experiment's description, its kind (classical, no agents), and the views of its runs."""
    name = facts["study"]
    note = (
        f"{_question(facts)}\n\nStudy run → arm runs → trial runs; metrics are plotted against "
        f"local steps. {_links(experiment)}\n\nTables and figures: `python analysis/final_tables.py"
        f" --study {name}`, `python analysis/figures.py --study {name}`."
    )
    kind = {"mlflow.experimentKind": "custom_model_development"}
    return {NOTE: bounded(note, LONGEST_VIEW), **view_tags(facts), **kind}


def study_note(facts: Mapping[str, Any], experiment: str, answer: str = "") -> str:
    """The answer, once there is one (MLflow folds all but the first lines), question, command."""
    command = f"Again: `{facts['command']}`" if "command" in facts else ""
    parts = [answer.strip(), _links(experiment), _question(facts), command]
    return bounded("\n\n".join(filter(None, parts)))


def arm_note(arm: Arm, best: Mapping[str, Value] | None = None, answer: str = "") -> str:
    """What an arm came to, its setting, and the best configuration by what it changes of it."""
    text = [*([answer, ""] if answer else []), "**Arm**", "", *_table(arm.values)]
    if best is not None:
        base = arm.config.to_flat()
        changed = {name: value for name, value in best.items() if base.get(name) != value}
        text += ["", "**Best configuration** (best.yaml holds all of it)", "", *_table(changed)]
    return bounded("\n".join(text))


def origin(facts: Mapping[str, Any]) -> dict[str, str]:
    """Who ran what: the tags behind MLflow's own columns."""
    source = {"mlflow.source.name": f"{facts['study']}.py", "mlflow.source.type": "LOCAL"}
    return {"mlflow.user": _user(), **source}


@cache
def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _question(facts: Mapping[str, Any]) -> str:
    return facts.get("question") or f"Study {facts['study']}."


def _links(experiment: str) -> str:
    arms, runs = link(experiment, ARMS), link(experiment, RUNS)
    return f"[The arms, best first]({arms}); [all trials and confirmations, best first]({runs})"


def _table(values: Mapping[str, Value]) -> list[str]:
    rows = [f"| `{name}` | {_short(value)} |" for name, value in values.items()]
    return ["| field | value |", "|---|---|", *rows]
