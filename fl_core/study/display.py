"""What the user sees while jobs run: a live table in a terminal, else plain lines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.live import Live
from rich.table import Table

from fl_core.config.record import Record
from fl_core.study.jobs import Job
from fl_core.study.progress import Progress, in_words
from fl_core.study.screen import console

LINE_SECONDS = 10.0  # between plain lines
#: What is shown as best, of both phases: no test score before the table. A confirmation that trains
#: on the validation images has none.
METRIC = "val_accuracy"


@dataclass
class _Row:
    """One arm's trials in one phase."""

    ended: Counter[str] = field(default_factory=Counter)
    running: int = 0
    best: float = 0.0


class Display:
    """A listener of `workers.dispatch` that counts and shows. Use as a context manager.

    The confirmation is counted from its first job and shown when the search has ended.
    """

    def __init__(
        self,
        arms: list[str],
        done: list[Counter[str]],
        remaining: Callable[[], int],
        progress: Progress,
    ) -> None:
        """`done`: search trials of earlier runs, by arm; `remaining`: those that are still to
        start, as far as is known: what an arm gets from its neighbours, their searches decide.
        """
        self.arms, self.remaining, self.progress = arms, remaining, progress
        self.confirmations = 0  # see expect
        self.phases = {
            "search": [_Row(Counter(counts)) for counts in done],
            "confirm": [_Row() for _ in arms],
        }
        self.console = console()
        self.live: Live | None = None
        self.phase = "search" if remaining() else "confirm"

    def __enter__(self) -> Display:
        self.start = self.said = time.monotonic()
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def rows(self) -> list[_Row]:
        """Of the phase that is shown."""
        return self.phases[self.phase]

    def _open(self) -> None:
        if self.console.is_terminal:
            self.live = Live(self._table(), console=self.console, refresh_per_second=4)
            self.live.start()

    def _close(self) -> None:
        if self.live is not None:
            self.live.update(self._table())
            self.live.stop()
        else:
            self._say_line()

    def expect(self, arm: int, jobs: list[Job]) -> None:
        """Count jobs of the confirmation: how many there are, an arm's search decides."""
        self.confirmations += len(jobs)
        self.progress.expect(arm, jobs)

    def job_started(self, job: Job) -> None:
        """Count it as running."""
        self._row(job).running += 1
        self.progress.job_started(job)
        self._show()

    def job_record(self, job: Job, record: Record) -> None:
        """Keep the best score; the first one of all is shown at once."""
        self.progress.job_record(job, record)
        row = self._row(job)
        if job.phase == "probe":
            return  # not tuned: nobody's best
        first = not any(row.best for rows in self.phases.values() for row in rows)
        row.best = max(row.best, record.get(METRIC, 0.0))
        self._show(at_once=first and row.best > 0)

    def job_ended(self, job: Job, status: str, message: str) -> None:
        """Count how it ended; say at once if it failed."""
        self.progress.job_ended(job)
        row = self._row(job)
        row.running -= 1
        row.ended[status] += 1
        if status == "failed":
            self._print(f"failed: {self.arms[job.arm]} #{job.number}: {message}")
        if self.phase == "search" and self._ended() == self._total():
            self._close()
            self.phase = "confirm"
            self._open()
        self._show()

    def _print(self, line: str) -> None:
        self.console.print(line, soft_wrap=True)

    def _row(self, job: Job) -> _Row:
        """What follows a search is counted together: confirmation and probes."""
        return self.phases["search" if job.phase == "search" else "confirm"][job.arm]

    def _ended(self) -> int:
        return sum(row.ended.total() for row in self.rows)

    def _total(self) -> int:
        if self.phase == "confirm":
            return self.confirmations
        return self._ended() + sum(row.running for row in self.rows) + self.remaining()

    def _show(self, at_once: bool = False) -> None:
        if self.live is not None:
            self.live.update(self._table())
        elif self._ended() == self._total():
            return  # its last line comes when it is closed, or more of it is known
        elif at_once or time.monotonic() - self.said > LINE_SECONDS:
            self._say_line()

    def _say_line(self) -> None:
        self.said = time.monotonic()
        self._print(self._line())

    def _progress(self) -> str:
        """How far the phase is, and what is left of the study."""
        ended, total = self._ended(), self._total()
        text = f"{self.phase} {ended}/{total} trials, {time.monotonic() - self.start:.0f} s"
        left = self.progress.left(self.remaining()) if ended < total else None
        return text if left is None else f"{text}, {in_words(left)} left"

    def _line(self) -> str:
        counts: Counter[str] = sum((row.ended for row in self.rows), Counter())
        parts = [f"{counts[s]} {s}" for s in ("pruned", "diverged", "failed") if counts[s]]
        extra = f" ({', '.join(parts)})" if parts else ""
        best, arm = max((row.best, arm) for row, arm in zip(self.rows, self.arms, strict=True))
        found = f"; best {METRIC} {best:.4f} ({arm})" if best else ""
        return self._progress() + extra + found

    def _table(self) -> Table:
        table = Table(title=self._progress(), title_justify="left", box=None, pad_edge=False)
        table.add_column("arm")
        for name in ("done", "running", "pruned", "diverged", "failed", f"best {METRIC}"):
            table.add_column(name, justify="right")
        for name, row in zip(self.arms, self.rows, strict=True):
            counts = [str(row.ended[s] or "") for s in ("pruned", "diverged", "failed")]
            best = f"{row.best:.4f}" if row.best else ""
            table.add_row(name, str(row.ended.total()), str(row.running or ""), *counts, best)
        return table
