"""Studies made by hand, written through MlflowClient in the schema of study.tracking.tracker."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from fl_core.study.selection import BEST

BASE: dict[str, Any] = {
    "data.name": "cifar100",
    "data.train_on": "train",
    "backbone.name": "vit_small_patch16_224",
    "backbone.tag": "dino",
    "backbone.weights": "pretrained",
    "backbone.image_size": 64,
    "federation.clients": 100,
    "federation.participation": 0.1,
    "federation.sharding": "iid",
    "federation.classes_per_client": None,
    "federation.alpha": None,
    "local.steps": 4,
    "local.unit": "steps",
    "local.lr": 0.1,
    "local.momentum": 0.0,
    "head.method": "none",
    "fine_tune.strategy": "head",
    "rounds": 100,
    "seed": 0,
}
SPACE: dict[str, Any] = {
    "local.lr": {"low": 1e-3, "high": 1.0, "log": True},
    "local.momentum": {"low": 0.0, "high": 0.95, "log": False},
    "local.weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
}
SHARDS: dict[str | int, dict[str, Any]] = {
    "iid": {"federation.sharding": "iid", "federation.classes_per_client": None},
    1: {"federation.sharding": "classes", "federation.classes_per_client": 1},
    5: {"federation.sharding": "classes", "federation.classes_per_client": 5},
    10: {"federation.sharding": "classes", "federation.classes_per_client": 10},
    50: {"federation.sharding": "classes", "federation.classes_per_client": 50},
}


@dataclass
class Trial:
    """One trial run; `curve` holds val_accuracy by step, `test` the one test accuracy.

    `last`: further metrics of the last step; `drift` by step; `tables`: artifacts.
    """

    digest: str
    params: Mapping[str, Any]
    phase: str = "search"
    status: str = "finished"
    curve: Mapping[int, float] = field(default_factory=dict)
    test: float | None = None
    last: Mapping[str, float] = field(default_factory=dict)
    drift: Mapping[int, float] = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)


class Store:
    """Writes studies through MlflowClient into one sqlite file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.client = MlflowClient(self.uri)
        self.clock = 1_700_000_000_000

    def _run(
        self,
        experiment: str,
        tags: Mapping[str, str],
        params: Mapping[str, Any],
        metrics: Sequence[Metric],
    ) -> str:
        self.clock += 1000
        run = self.client.create_run(experiment, start_time=self.clock, tags=dict(tags))
        logged = [Param(k, str(v)) for k, v in params.items()]
        if logged or metrics:
            self.client.log_batch(run.info.run_id, params=logged, metrics=list(metrics))
        return str(run.info.run_id)

    def experiment(self, name: str) -> str:
        found = self.client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        place = (self.folder / "artifacts" / name).as_uri()
        return str(self.client.create_experiment(name, artifact_location=place))

    def study(self, name: str, arms: Sequence[Mapping[str, Any]], **tags: Any) -> str:
        full = {
            **{"preset": "paper", "question": "?", "space": SPACE, "trials": 3, "seeds": [0, 1, 2]},
            **{
                "selection": BEST,
                "command": "python x",
            },
            **{
                "git_commit": "0123456789abcdef",
                "versions": {},
                "device": "cpu",
                "study_digest": "d",
            },
            **tags,
        }
        text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in full.items()}
        text |= {"kind": "study", "study": name, "arms": json.dumps(list(arms))}
        return self._run(self.experiment(name), text, {}, [])

    def arm(
        self,
        name: str,
        study_run: str,
        setting: Mapping[str, Any],
        partition: np.ndarray | None = None,
        base: Mapping[str, Any] | None = None,
        arm_name: str | None = None,
    ) -> str:
        config = {**BASE, **(base or {}), **setting}
        classes, steps = config["federation.classes_per_client"], config["local.steps"]
        shown = "iid" if classes is None else f"N_c={classes}"
        tags = {"kind": "arm", "arm": json.dumps(dict(setting)), "arm_name": f"{shown}, J={steps}"}
        tags |= {"arm_name": arm_name} if arm_name else {}
        tags["study_digest"] = "d"
        tags["mlflow.parentRunId"] = study_run
        run_id = self._run(self.experiment(name), tags, config, [])
        if partition is not None:
            text = ",".join(map(str, range(partition.shape[1]))) + "\n"
            text += "\n".join(",".join(map(str, row)) for row in partition) + "\n"
            self.client.log_text(run_id, text, "partition.csv")
        return run_id

    def trial(
        self,
        name: str,
        arm_run: str,
        setting: Mapping[str, Any],
        trial: Trial,
        base: Mapping[str, Any] | None = None,
    ) -> str:
        tags = {"kind": "trial", "phase": trial.phase, "status": trial.status}
        tags |= {"arm": json.dumps(dict(setting)), "digest": trial.digest}
        tags |= {"mlflow.parentRunId": arm_run, "study_digest": "d"}
        config = {**BASE, **(base or {}), **setting, **trial.params}
        steps = int(config["local.steps"])
        metrics = []
        for step, value in trial.curve.items():
            logged = {
                "val_accuracy": value,
                "val_loss": -math.log(max(value, 1e-3)),
                "round": step / steps,
            }
            logged |= {"bytes_up": 4e5 * step / steps, "bytes_down": 4e5 * step / steps}
            metrics += [Metric(k, v, 0, step) for k, v in logged.items()]
        end = max(trial.curve, default=1)
        metrics += [Metric("client_drift", v, 0, step) for step, v in trial.drift.items()]
        last = {**trial.last, **({} if trial.test is None else {"test_accuracy": trial.test})}
        metrics = [m for m in metrics if (m.key, m.step) not in {(k, end) for k in last}]
        metrics += [Metric(k, v, 0, end) for k, v in last.items()]
        run_id = self._run(self.experiment(name), tags, config, metrics)
        for file, text in trial.tables.items():
            self.client.log_text(run_id, text, file)
        return run_id


def params(lr: float, momentum: float = 0.5, decay: float = 1e-4, **more: Any) -> dict[str, Any]:
    return {
        "local.lr": lr,
        "local.momentum": momentum,
        "local.weight_decay": decay,
        **more,
    }


def confirm(config: dict[str, Any], seed: int, test: float | None, **more: Any) -> Trial:
    curve = {200: 0.5 + seed / 100, 400: 0.6 + seed / 100}
    digest = f"c{seed}{config['local.lr']}"
    status = more.get("status", "finished")
    return Trial(digest, {**config, "seed": seed}, "confirm", status, curve, test)
