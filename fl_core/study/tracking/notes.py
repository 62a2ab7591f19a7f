"""What a person reads on MLflow's pages: names of runs, notes, the view of the runs page.

MLflow's page shows source and data set by default, sorts by start, and lists everything else by
its name. It can be told otherwise through a "shared view", which it keeps as a tag of the
experiment and opens from a link: ours shows what matters, the best run first.
"""

from __future__ import annotations

import getpass
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cache

from fl_core.config.trial_config import Value
from fl_core.study.jobs import Arm, Job

NOTE = "mlflow.note.content"  # Markdown, shown as the description
LONGEST_NAME, LONGEST_NOTE = 90, 7900  # characters; MLflow ends a tag at 8000
#: The runs page of our view: metrics and tags first to last.
COLUMNS = ("metrics.score", "metrics.test_accuracy", "metrics.val_accuracy", "metrics.train_loss",
           "metrics.local_steps", "metrics.bytes_up", "metrics.seconds_train")  # fmt: skip
TAGS = ("tags.arm_name", "tags.phase", "tags.status")
VIEW = "study"  # the key of the view in a link
_VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"


def run_name(arm: Arm, job: Job) -> str:
    """Arm, number or seed, and the chosen values: `N_c=5, J=8 #3 lr=0.05 momentum=0.9`."""
    number = {"search": "#", "probe": "probe seed "}.get(job.phase, "seed ") + str(job.number)
    name = f"{arm.name} {number}"
    for key, value in zip(short_names(job.chosen), job.chosen.values(), strict=True):
        word = f" {key}={_short(value)}"
        if len(name) + len(word) > LONGEST_NAME:
            return f"{name} …"
        name += word
    return name


def short_names(fields: Iterable[str]) -> list[str]:
    """The last part of each dotted name, or all of it where two would look the same.

    >>> short_names(["local.lr", "head.local.lr", "mask.sparsity"])
    ['local.lr', 'head.local.lr', 'sparsity']
    """
    names = list(fields)
    count = Counter(name.rpartition(".")[2] for name in names)
    return [last if count[last := name.rpartition(".")[2]] == 1 else name for name in names]


def experiment_tags(tags: Mapping[str, str], experiment: str) -> dict[str, str]:
    """The experiment's description, its kind (classical, no agents), and the view of its runs."""
    name = tags["study"]
    note = (
        f"{_question(tags)}\n\nStudy run → arm runs → trial runs; metrics are plotted against "
        f"local steps. {_link(experiment)}\n\nTables and figures: `python analysis/final_tables.py "
        f"--study {name}`, `python analysis/figures.py --study {name}`."
    )
    columns = [_column(column) for column in (*COLUMNS, *TAGS, *_searched(tags))]
    view = {
        "selectedColumns": columns,
        "columnOrder": columns,
        "orderByKey": _column(COLUMNS[0]),
        "orderByAsc": False,
    }
    kind = {"mlflow.experimentKind": "custom_model_development"}
    return {NOTE: _bounded(note), _VIEW_TAG: json.dumps(view), **kind}


def study_note(tags: Mapping[str, str], experiment: str, table: str = "") -> str:
    """Question, command and, once there is one, the final table."""
    parts = [_question(tags), f"    {tags['command']}" if "command" in tags else "", table.strip()]
    return _bounded("\n\n".join(filter(None, (*parts, _link(experiment)))))


def arm_note(arm: Arm, best: Mapping[str, Value] | None = None) -> str:
    """The arm's setting; the best configuration by what it changes of the arm's."""
    text = ["**Arm**", "", *_table(arm.values)]
    if best is not None:
        base = arm.config.to_flat()
        changed = {name: value for name, value in best.items() if base.get(name) != value}
        text += ["", "**Best configuration** (best.yaml holds all of it)", "", *_table(changed)]
    return _bounded("\n".join(text))


def origin(tags: Mapping[str, str]) -> dict[str, str]:
    """Who ran what: the tags behind MLflow's own columns."""
    source = {"mlflow.source.name": f"{tags['study']}.py", "mlflow.source.type": "LOCAL"}
    return {"mlflow.user": _user(), **source}


@cache
def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"


def _short(value: Value) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _question(tags: Mapping[str, str]) -> str:
    return tags.get("question") or f"Study {tags['study']}."


def _link(experiment: str) -> str:
    where = f"#/experiments/{experiment}/runs?viewStateShareKey={VIEW}"
    return f"[Runs, best first, with the columns that matter]({where})"


def _searched(tags: Mapping[str, str]) -> list[str]:
    """Parameters worth a column: what is searched and what the arms differ in."""
    space: object = json.loads(tags.get("space") or "{}")
    arms: object = json.loads(tags.get("arms") or "[]")
    names = list(space) if isinstance(space, dict) else []
    settings = [arm for arm in arms if isinstance(arm, dict)] if isinstance(arms, list) else []
    names += [name for setting in settings for name in setting]
    return [f"params.{name}" for name in dict.fromkeys(names)]


def _column(name: str) -> str:
    kind, _, field = name.partition(".")
    return f"{kind}.`{field}`"


def _table(values: Mapping[str, Value]) -> list[str]:
    rows = [f"| `{name}` | {_short(value)} |" for name, value in values.items()]
    return ["| field | value |", "|---|---|", *rows]


def _bounded(note: str) -> str:
    return note if len(note) <= LONGEST_NOTE else f"{note[:LONGEST_NOTE]}\n…"
