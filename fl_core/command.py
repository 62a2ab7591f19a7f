"""The command of every study: checks before any work, search, confirmation, tables (layer 5)."""

from __future__ import annotations

import argparse
import errno
import json
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fl_core import options
from fl_core.config import Machine, TrialConfig, UserError, Value, digest_of
from fl_core.folder import locked, write_atomically
from fl_core.study import Preset, Study, describe_space

if TYPE_CHECKING:
    import numpy as np
    import optuna

    from fl_core.jobs import Arm, Job
    from fl_core.tracking import Tracker
    from fl_core.tuning import Workers

PACKAGES = ("torch", "torchvision", "timm", "ray", "optuna", "mlflow", "pandas", "numpy")
#: The fields that decide which images, features, heads, shards and calibration examples are read.
INPUTS = ("seed", "federation.", "data.", "backbone.", "head.", "fine_tune.strategy",
          "mask.layers", "mask.scope", "mask.source", "mask.examples")  # fmt: skip
SELECTION = "highest validation accuracy among trials that ran to their full budget"


def main(study: Study, argv: Sequence[str] | None = None) -> None:
    """Run a study from its command line; a user's mistake is one line and exit code 2."""
    args = options.parse(study, argv)
    try:
        run(study, args)
    except UserError as error:
        options.fail(str(error))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT):
            raise
        where = f"{error.filename}: " if error.filename else ""
        options.fail(f"{where}{error.strerror}; make room, then the same command goes on from here")
    except KeyboardInterrupt:
        print("\ninterrupted; nothing is lost: the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None


def run(study: Study, args: argparse.Namespace) -> None:
    """Everything that can be refused is refused before Ray starts."""
    started = time.monotonic()
    preset = study.presets[args.preset]
    extra = options.extra_values(args)
    study = study.at(preset, extra)
    study.resolve(preset, extra)  # before the heavy imports
    uri = options.tracking_uri(args)
    out = (args.out or Path("results") / study.name).resolve()
    with locked(out), ThreadPoolExecutor(1) as pool:
        opening = pool.submit(_open_tracker, uri, study.name)  # seconds of import
        machine = options.machine_of(args)
        if study.uses_images(preset, extra):
            extra.setdefault("fine_tune.precision", options.default_precision(machine))
        if args.search_arms:
            study = study.joint(preset, extra)
        base, arms = study.config(preset, {}, extra), study.resolve(preset, extra)
        partitions = check_inputs(arms, machine)
        from fl_core import tuning

        workers = options.workers_of(args, machine)
        with tuning.ray_session(args.ray_address, workers.slots):
            tracker = opening.result()
            session = Session(study, preset, args, base, arms, machine, workers, out, tracker)
            session.execute(partitions)
    report(study.name, tracker.study_run, uri, out)
    print(f"done in {time.monotonic() - started:.0f} s")


@dataclass(frozen=True)
class Session:
    """One run of a study's command, with everything resolved."""

    study: Study
    preset: Preset
    args: argparse.Namespace
    base: TrialConfig  # what all arms start from
    arms: list[Arm]
    machine: Machine
    workers: Workers
    out: Path
    tracker: Tracker

    def execute(self, partitions: Mapping[str, np.ndarray]) -> None:
        """Search, confirm, and log what belongs to the arms, whatever happens."""
        trials = self.args.trials or self.preset.trials
        seeds = [self.args.seed + 1 + n for n in range(self.args.seeds or self.preset.seeds)]
        facts = describe(self, trials, seeds)
        write_atomically(self.out / "study.yaml", yaml.safe_dump(facts, sort_keys=False))
        lists = ("space", "arms", "seeds", "versions", "objectives")
        tags = {**facts, **{name: json.dumps(facts[name]) for name in lists}}
        # not the arms, trials or seeds: a study with more of them is the same study, extended
        digest = digest_of(
            [tags.pop("base"), sorted(facts["space"]), self.preset.budget, *self.study.objectives]
        )
        self.tracker.open(digest, {n: str(v) for n, v in tags.items()}, self.arms)
        status = "KILLED"
        try:
            self._run(trials, seeds)
            status = "FINISHED"
        finally:
            self._log_arms(partitions)
            warning = self.tracker.close(status)
            if warning:
                print(f"warning: {warning}", file=sys.stderr)

    def _run(self, trials: int, seeds: Sequence[int]) -> None:
        """Search and confirmation."""
        from fl_core import findings, tuning
        from fl_core.display import Display

        past = findings.past_jobs(self.arms, self.out)
        for job, status, records in past:  # a new or a damaged store: bring it up to date
            if not self.tracker.knows(job):
                self.tracker.log_past(job, status, records)
        done = [Counter(s for j, s, _ in past if j.arm == n) for n in range(len(self.arms))]
        search = sum(max(trials, counts.total()) for counts in done)
        overrides: dict[str, Value] = {"data.train_on": self.args.confirm_on}
        with Display([arm.name for arm in self.arms], done, search) as display:

            def then(arm: int, found: optuna.Study) -> list[Job]:
                jobs = findings.confirm(arm, self.arms[arm], found, seeds, overrides)
                display.expect(jobs)
                return jobs

            tuning.run_study(
                self.arms,
                self.study.space,
                trials,
                folder=self.out,
                machine=self.machine,
                workers=self.workers,
                seed=self.args.seed,
                grace_steps=self.preset.eval_steps if self.study.prunes(self.preset) else None,
                then=then,
                listeners=[display, self.tracker],
                first=self.preset.first,
            )

    def _log_arms(self, partitions: Mapping[str, np.ndarray]) -> None:
        """Each arm's realised partition and best configuration, as artifacts."""
        from fl_core import findings

        best = findings.best_configs(self.arms, self.out)
        for number, arm in enumerate(self.arms):
            run = self.tracker.arm_run(arm)
            if arm.name in partitions:
                lines = [",".join(map(str, row)) for row in partitions[arm.name].tolist()]
                header = ",".join(map(str, range(partitions[arm.name].shape[1])))
                self.tracker.text(run, "\n".join([header, *lines, ""]), "partition.csv")
            if number in best:
                text = yaml.safe_dump(best[number].to_flat(), sort_keys=False)
                self.tracker.text(run, text, "best.yaml")


def check_inputs(arms: list[Arm], machine: Machine) -> dict[str, np.ndarray]:
    """Load (download, compute) what the trials need, once; each arm's realised partition.

    Arms that agree in INPUTS need the same: only the first of them is prepared.
    """
    from fl_core import stages

    partitions: dict[str, np.ndarray] = {}
    seen: dict[str, np.ndarray] = {}
    for arm in arms:
        key = digest_of({n: v for n, v in arm.config.to_flat().items() if n.startswith(INPUTS)})
        if key not in seen:
            seen[key] = stages.realised_partition(arm.config, machine)
        partitions[arm.name] = seen[key]
    stages.forget_inputs()  # the workers load their own
    return partitions


def describe(session: Session, trials: int, seeds: Sequence[int]) -> dict[str, Any]:
    """The resolved study: everything a reader needs to judge or repeat it."""
    study, args = session.study, session.args
    return {
        "study": study.name,
        "preset": args.preset,
        "question": study.question.strip(),
        "selection": SELECTION,
        "objectives": list(study.objectives),
        "trials": trials,
        "seeds": list(seeds),
        "seed": args.seed,
        "confirm_on": args.confirm_on,
        "arms": [dict(arm.values) for arm in session.arms],
        "space": describe_space(study.space),
        "base": session.base.to_flat(),
        "device": session.machine.device,
        "command": shlex.join(["python", f"studies/{study.name}.py", *sys.argv[1:]]),
        "git_commit": _git_commit(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def _git_commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _open_tracker(uri: str, experiment: str) -> Tracker:
    from fl_core import tracking

    return tracking.Tracker(uri, experiment)


def report(name: str, run_id: str, uri: str, out: Path) -> None:
    """The final table on the screen, tables and figures in the folder."""
    from analysis import figures, final_tables, store

    runs = store.read_study(uri, name, run_id)
    print(final_tables.write_tables(runs, out))
    drawn = figures.write_figures(runs, out / "figures")
    print(f"tables   {out}/table.md, table.csv, table.tex")
    print(f"figures  {out / 'figures'} ({len(drawn)} files)")
    print(f"MLflow   {uri}  (make ui, or mlflow ui, shows every run)")
