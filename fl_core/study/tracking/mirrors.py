"""Logs beside MLflow: `--also tensorboard` or `--also wandb`, with a folder or a project after `:`.

One seam: a `Mirror` hears of every job what the tracker hears. Nothing is read back from it, and
one that fails is left out with a line: it costs no trial.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

from fl_core.base.errors import UserError, kind_and_line
from fl_core.config.record import Record
from fl_core.study.jobs import Arm, Job, Listener
from fl_core.study.tracking.tensorboard_mirror import TensorBoard
from fl_core.study.tracking.wandb_mirror import WeightsAndBiases

#: Name -> the package that it writes with.
PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}


class Mirror(Listener, Protocol):
    """A log beside MLflow's."""

    def close(self) -> None: ...


def check_mirrors(wanted: Sequence[str]) -> None:
    """UserError for a log that is not known, or whose package is missing."""
    for text in wanted:
        name = text.partition(":")[0]
        if name not in PACKAGES:
            raise UserError(f"--also {text}: must be {' or '.join(PACKAGES)}")
        if find_spec(PACKAGES[name]) is None:
            raise UserError(f"--also {text}: {PACKAGES[name]} is missing; pip install {name}")


@contextmanager
def opened(wanted: Sequence[str], study: str, arms: list[Arm], out: Path) -> Iterator[Listener]:
    """The logs asked for, as one listener; `out`: the study's folder."""
    mirrors: list[Mirror] = []
    for text in dict.fromkeys(wanted):
        name, _, where = text.partition(":")
        if name == "tensorboard":
            mirrors.append(TensorBoard(Path(where) if where else out / "tensorboard", arms))
        else:
            mirrors.append(WeightsAndBiases(where or study, arms, out))
    both = _Mirrors(mirrors)
    try:
        yield both
    finally:
        both.each(lambda mirror: mirror.close())


class _Mirrors:
    """Several as one."""

    def __init__(self, mirrors: list[Mirror]) -> None:
        self._mirrors = mirrors

    def job_started(self, job: Job) -> None:
        self.each(lambda mirror: mirror.job_started(job))

    def job_record(self, job: Job, record: Record) -> None:
        self.each(lambda mirror: mirror.job_record(job, record))

    def job_ended(self, job: Job, status: str, message: str) -> None:
        self.each(lambda mirror: mirror.job_ended(job, status, message))

    def each(self, tell: Callable[[Mirror], None]) -> None:
        """Tell all of them; one that fails hears no more."""
        for mirror in list(self._mirrors):
            try:
                tell(mirror)
            except Exception as error:  # whatever its package raises
                self._mirrors.remove(mirror)
                name = type(mirror).__name__
                print(f"warning: no more {name}: {kind_and_line(error)}", file=sys.stderr)
