"""`--replay RUN`: one recorded trial again, in this process, compared bit for bit.

RUN is the id of a trial's run in MLflow, or the digest of a configuration whose trial lies in the
study's folder or among the ended trials of the cache. Nothing is written: the trial runs in a
folder of its own that goes away.
"""

from __future__ import annotations

import argparse
import math
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fl_core.base.cache import DamagedArtefact, load_artefact
from fl_core.base.errors import Differs, UserError
from fl_core.base.stores import sqlite_file
from fl_core.config.record import Record
from fl_core.config.trial_config import TrialConfig
from fl_core.config.typed import typed
from fl_core.study import environment, options, resources
from fl_core.study.jobs import TIME, Job
from fl_core.study.trial_files import Places
from fl_core.study.workers.run_job import run_job

Curve = dict[int, dict[str, float]]  # local step -> metrics

#: Metrics that tell of the machine, not of the trial.
OF_THE_MACHINE = ("seconds_", "images_per_second", "peak_memory_bytes")


@dataclass(frozen=True)
class Recorded:
    """A trial as it was recorded."""

    where: str
    phase: str
    config: TrialConfig
    curve: Curve


def replay(study: str, args: argparse.Namespace) -> None:
    """Run it, show both curves; Differs if they are not the same."""
    if not re.fullmatch("[0-9a-f]{16}|[0-9a-f]{32}", args.replay):
        what = "a run id has 32 hexadecimal digits, a digest 16"
        raise UserError(f"--replay {args.replay}: no such run; {what}")
    found = _by_digest(study, args) if len(args.replay) == 16 else _by_run(args)
    machine = resources.machine_of(args)
    print(f"replaying {found.phase} trial {found.config.digest()} of {found.where}")
    job = Job(found.phase, 0, 0, found.config)
    same, compared = True, 0
    with tempfile.TemporaryDirectory(prefix="fl-replay-") as scratch:
        for record in run_job(job, machine, Places(Path(scratch))):
            step = int(record[TIME])
            if step not in found.curve:
                continue
            differing = differences(found.curve[step], record)
            compared += 1
            shown = record.get("val_accuracy", record["train_loss"])
            print(f"  local step {step:6}  {shown:.6f}  {'; '.join(differing) or 'the same'}")
            same = same and not differing
            if step == max(found.curve):
                break  # a pruned trial has no more
    if compared < len(found.curve):
        recorded = f"{len(found.curve)} evaluations recorded, {compared} of them met again"
        raise Differs(f"differs: {recorded}")
    if not same:
        promise = "equality is promised on the same kind of device, library versions and commit"
        raise Differs(f"differs; {promise}")
    print(f"identical: {compared} evaluations, bit for bit")


def differences(recorded: Mapping[str, float], record: Record) -> list[str]:
    """What is not the same to the bit, in words."""
    lines = []
    for name, value in recorded.items():
        now = float(record.get(name, math.nan))
        if now != value and not (math.isnan(now) and math.isnan(value)):
            lines.append(f"{name} was {value!r}, is {now!r}")
    return lines


def _numbers(record: Record) -> dict[str, float]:
    """The metrics of a record that only the configuration decides."""
    return {
        name: float(value)
        for name, value in record.items()
        if isinstance(value, (int, float))
        and not isinstance(value, bool)
        and not name.startswith(OF_THE_MACHINE)
    }


def _by_digest(study: str, args: argparse.Namespace) -> Recorded:
    """From the study's folder, or the ended trials in the cache."""
    out = resources.out_of(args, study)
    places = resources.places_of(args, study, out)
    for folder in filter(None, (places.own, places.shared)):
        for phase, suffix in (("search", ""), ("confirm", "-tested")):
            path = folder / f"{args.replay}{suffix}.safetensors"
            with suppress(DamagedArtefact):
                meta = load_artefact(path, "none")[1]
                curve = {int(r[TIME]): _numbers(r) for r in meta["records"]}
                config = TrialConfig.from_flat(meta["config"])
                _check_digest(args.replay, config, args.replay)
                return Recorded(str(path), phase, config, curve)
    raise UserError(f"--replay {args.replay}: no such trial in {places.own}")


def _check_digest(asked: str, config: TrialConfig, recorded: str) -> None:
    """UserError where the configuration's values or files do not mean what they meant."""
    if (now := config.digest()) == recorded:
        return
    why = "was recorded by another version of this project"
    if paths := config.paths():
        named = " or ".join(f"{name}={path!r}" for name, path in paths.items())
        why = f"{named} has changed since, or it {why}"
    again = "check out the commit of its study"
    raise UserError(f"--replay {asked}: {why} (its digest was {recorded}, would be {now}); {again}")


def _by_run(args: argparse.Namespace) -> Recorded:
    """From MLflow: parameters, tags and the histories of all metrics."""
    uri = options.tracking_uri(args)
    file = sqlite_file(uri)
    if file is not None and not file.exists():  # MLflow would make one
        raise UserError(f"--replay {args.replay}: there is no store {uri}")
    environment.before_mlflow()
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(uri)
    try:
        run = client.get_run(args.replay)
    except MlflowException as error:
        raise UserError(f"--replay {args.replay}: no such run in {uri}") from error
    tags = run.data.tags
    if tags.get("kind") != "trial":
        raise UserError(f"--replay {args.replay}: a run of kind {tags.get('kind')}, not a trial")
    values = {name: typed(name, text) for name, text in run.data.params.items()}
    config = TrialConfig.from_flat(values)
    _check_digest(args.replay, config, tags["digest"])
    curve: Curve = {}
    for name in run.data.metrics:
        if not name.startswith(OF_THE_MACHINE):
            for point in client.get_metric_history(args.replay, name):
                curve.setdefault(point.step, {})[name] = point.value
    return Recorded(f"run {args.replay}", tags["phase"], config, curve)
