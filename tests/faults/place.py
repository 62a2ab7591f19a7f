"""A study as a user runs it: a command in a folder, with its outputs, cache and store."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run

from faults.events import Events
from faults.here import run_here
from faults.running import Ended, Running
from studies import load_study, study_file

TRIALS, SEEDS, ROUNDS = 6, 2, 16
ALL_ROUNDS = (TRIALS + SEEDS) * ROUNDS
#: Random and sequential, so that every run of it makes the same table; a checkpoint every round.
SHORT = ("--preset", "smoke", "--workers", "1", "--trials", str(TRIALS), "--seeds", str(SEEDS),
         "--set", "eval_every=1")  # fmt: skip


@cache
def _empty_store() -> bytes:
    """The file that MLflow makes of a new store."""
    with tempfile.TemporaryDirectory() as folder:
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
        return Path(folder, "mlflow.db").read_bytes()


@dataclass(frozen=True)
class Place:
    """Where one study lives. `file`: where it is written; `options`: what it is always given."""

    folder: Path
    out: Path
    cache: Path
    uri: str
    file: Path
    options: tuple[str, ...]

    @classmethod
    def of(cls, folder: Path, study: str = "fedavg_iid", options: tuple[str, ...] = SHORT) -> Place:
        """Everything in one folder."""
        uri = f"sqlite:///{folder}/mlflow.db"
        return cls(folder, folder / "out", folder / "cache", uri, study_file(study), options)

    @classmethod
    def at(cls, folder: Path, study: str = "fedavg_iid", options: tuple[str, ...] = SHORT) -> Place:
        """A new one, with an empty store: MLflow takes seconds to make one."""
        folder.mkdir(exist_ok=True)
        (folder / "mlflow.db").write_bytes(_empty_store())
        return cls.of(folder, study, options)

    @property
    def events(self) -> Events:
        return Events(self.folder / "events.log")

    @property
    def scratch(self) -> Path:
        """The folder for temporary files of the study's processes."""
        return self.folder / "tmp"

    def where(self) -> list[str]:
        """The options that name this place."""
        return ["--out", str(self.out), "--cache-dir", str(self.cache),
                "--tracking-uri", self.uri]  # fmt: skip

    def start(self, *options: str, figures: bool = False) -> Running:
        """The study as a process of its own session: signals reach the driver alone."""
        self.scratch.mkdir(exist_ok=True)
        command = [sys.executable, str(self.file), *self.options, *self.where(), *options]
        # Ray's sockets must have short paths, hence not in our folder
        own = {"TMPDIR": str(self.scratch), "RAY_TMPDIR": "/tmp"}
        if figures:
            own["FAULTS_FIGURES"] = "1"
        printed, errors = self.folder / "stdout.txt", self.folder / "stderr.txt"
        with printed.open("w") as stdout, errors.open("w") as stderr:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=stdout, stderr=stderr, start_new_session=True,
                env={**os.environ, **self.events.environment, **own},
            )  # fmt: skip
        return Running(process, self.events, printed, errors)

    def run(self, *options: str, figures: bool = False) -> Ended:
        """The study as a process, to its end, which must be a good one."""
        with self.start(*options, figures=figures) as study:
            ended = study.end()
        ended.assert_good()
        return ended

    def here(
        self, *options: str, figures: bool = False, fault: Callable[[], object] | None = None
    ) -> Ended:
        """The study in this process, without Ray; the fault happens at the moment that is held."""
        argv = [*self.options, *self.where(), "--serial", *options]
        study = load_study(self.file)
        return run_here(study, argv, self.folder, self.events, figures=figures, fault=fault)

    def run_here(self, *options: str, figures: bool = False) -> Ended:
        """The study in this process, to its end, which must be a good one."""
        ended = self.here(*options, figures=figures)
        ended.assert_good()
        return ended

    def table(self) -> bytes:
        return (self.out / "table.csv").read_bytes()

    def frame(self) -> pd.DataFrame:
        """The table, to look things up."""
        return pd.read_csv(self.out / "table.csv")

    def trial_files(self) -> list[Path]:
        """Everything in the folder of trials, hidden or not."""
        return sorted((self.out / "trials").iterdir())

    def runs(self) -> list[Run]:
        """Everything in the store."""
        client = MlflowClient(self.uri)
        experiments = [e.experiment_id for e in client.search_experiments()]
        return list(client.search_runs(experiments, max_results=1000))

    def trial_runs(self) -> list[Run]:
        return [run for run in self.runs() if run.data.tags["kind"] == "trial"]
