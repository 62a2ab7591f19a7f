"""The tree of a study's runs, study -> arm -> trial: which run is whose, made where it is new.

Works in the thread of the queue (`outbox`), but for `open`; everything may be repeated.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from fl_core.config.trial_config import TrialConfig, own_sources
from fl_core.study.jobs import NEIGHBOUR, Arm, Job
from fl_core.study.presets import PACE
from fl_core.study.tracking.client import tag_experiment
from fl_core.study.tracking.facts import tags_of
from fl_core.study.tracking.notes import (
    NOTE,
    arm_note,
    arm_run_name,
    experiment_tags,
    origin,
    run_name,
    study_note,
)
from fl_core.study.tracking.runs import PARENT, RunStore


class RunTree:
    """The runs of one study in a store."""

    def __init__(self, store: RunStore) -> None:
        self._store = store
        self.arms: list[Arm] = []
        self.study_run = ""
        self._origin: dict[str, str] = {}
        self._named: dict[tuple[str, int, int], tuple[TrialConfig, dict[str, str]]] = {}

    def open(self, digest: str, facts: Mapping[str, Any], arms: list[Arm]) -> list[str]:
        """Find or create the runs of the study and of its arms; returns the trials' that a dead
        driver left running.

        Of an arm only what is not searched is known: the rest follows once it is (`arm_runs`).
        """
        store = self._store
        self.arms, self._origin = arms, origin(facts)
        stale = store.load(digest)
        tags, at = {"kind": "study", **tags_of(facts)}, moment()
        tag_experiment(store.client, store.experiment, experiment_tags(facts, store.experiment))
        found = store.find(tags)
        if found is None:
            note = {NOTE: study_note(facts, store.experiment), **self._origin}
            name = f"{tags['study']} ({tags['preset']})"
            found = store.create({**tags, **note}, name, {}, at, again=False)
        self.study_run = found
        store.revive(found)
        store.flush(found, tags)
        for arm in arms:
            fields = {"kind": "arm", "arm_digest": arm.digest(), **_arm_tags(arm)}
            run, searched = store.find(fields), {*PACE, *facts.get("space", {})}
            params = {n: v for n, v in arm.config.to_flat().items() if n not in searched}
            if run is None:
                fields |= {PARENT: found, NOTE: arm_note(arm)}
                fields |= {**_own_tags(arm.config), **self._origin}
                run = store.create(fields, arm_run_name(arm), params, at, again=False)
            store.complete(run, params)
            if run in store.unsent():
                store.flush(run)
        store.hang(found, {arm.digest(): self.arm_run(arm) for arm in arms})
        return stale

    def arm_run(self, arm: Arm) -> str:
        """The run id of an arm."""
        run = self._store.find({"kind": "arm", "arm_digest": arm.digest()})
        if run is None:
            raise KeyError(f"arm {arm.name}: not of this study")
        return run

    def all_but_trials(self) -> list[str]:
        """The runs of the arms and of the study, as far as it was opened."""
        return [*map(self.arm_run, self.arms), *filter(None, [self.study_run])]

    def known(self, job: Job) -> str | None:
        """The run id of a job, where it has one."""
        return self._store.find(self._job_tags(job))

    def job_run(self, job: Job, at: int, again: bool) -> str:
        """The run id of a job, created if it is new."""
        tags, arm = self._job_tags(job), self.arms[job.arm]
        found = self._store.find(tags)
        if found is not None:
            self._store.complete(found, job.config.to_flat())
            return found
        chosen = json.dumps(dict(job.chosen))  # without the dimensions a condition closed
        tags |= {"status": "running", "chosen": chosen, PARENT: self.arm_run(arm)}
        tags |= {NEIGHBOUR: job.neighbour} if job.neighbour else {}
        tags |= {**_arm_tags(arm), **_own_tags(job.config), **self._origin}
        return self._store.create(tags, run_name(arm, job), job.config.to_flat(), at, again)

    def _job_tags(self, job: Job) -> dict[str, str]:
        """The tags that name a job's run; digests take milliseconds, so they are kept."""
        key = (job.phase, job.arm, job.number)
        config, tags = self._named.get(key, (None, {}))
        if config != job.config:
            tags = {
                "kind": "trial",
                "arm_digest": self.arms[job.arm].digest(),
                "phase": job.phase,
                "number": str(job.number),
                "digest": job.config.digest(),
            }
            self._named[key] = job.config, tags
        return dict(tags)


def moment() -> int:
    """Milliseconds since the epoch, when it happened: the store may hear of it later."""
    return int(time.time() * 1000)


def _arm_tags(arm: Arm) -> dict[str, str]:
    return {"arm": json.dumps(dict(arm.values)), "arm_name": arm.name}


def _own_tags(config: TrialConfig) -> dict[str, str]:
    """Which source each choice of the user's own had."""
    return {f"own.{name}": sha256 for name, sha256 in own_sources(config).items()}
