"""A resolved study in words and numbers: study.yaml, and the tags of its run in the store."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fl_core.base.errors import hidden
from fl_core.study.arguments import started_as
from fl_core.study.selection import BEST, BEST_CONFIRMED

if TYPE_CHECKING:
    from fl_core.study.found import Found
    from fl_core.study.session import Session

PACKAGES = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow", "pandas", "numpy")


def describe(session: Session, found: Mapping[str, Found]) -> dict[str, Any]:
    """The resolved study: everything a reader needs to judge or repeat it.

    found: the inputs of each arm, by its name.
    """
    from fl_core.study.found import task_facts
    from fl_core.study.search.space import describe_spaces, in_arms

    study, args, plan = session.study, session.args, session.plan
    return {
        "study": study.name,
        "preset": args.preset,
        "question": study.question.strip(),
        "selection": BEST_CONFIRMED if plan.finalists > 1 else BEST,
        "objectives": list(study.objectives),
        **({"target": dict(study.target)} if study.target else {}),
        "trials": plan.trials,
        "finalists": plan.finalists,
        "seeds": session.seeds,
        "seed": plan.seed,
        "searcher": plan.searcher,
        **({"first": len(plan.first)} if plan.first else {}),
        "scheduler": plan.pruner,
        **({} if plan.pruner == "none" else {"floor": plan.floor}),
        "neighbours": plan.neighbours,
        **({} if plan.seconds is None else {"time_budget": plan.seconds}),
        "confirm_on": args.confirm_on,
        "probe": dict(study.probe),
        "arms": [dict(arm.values) for arm in session.study.arms],
        "space": describe_spaces(in_arms(study.space, study.arms)),
        "tasks": task_facts(study.arms, found),
        "base": study.base.to_flat(),
        "device": session.machine.device,
        "command": hidden(f"{started_as(study.name)} {shlex.join(args.words)}".strip()),
        "git_commit": _git_commit(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def _git_commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
