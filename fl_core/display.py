"""What the user sees while jobs run: a live table in a terminal, else plain lines (layer 4)."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.table import Table

from fl_core.search import Job
from fl_core.trial import Record

LINE_SECONDS = 10.0  # between plain lines


@dataclass
class _Row:
    """One arm's trials."""

    ended: Counter[str] = field(default_factory=Counter)
    running: int = 0
    best: float = 0.0


class Display:
    """A listener of `fl_core.tuning` that counts and shows. Use as a context manager."""

    def __init__(self, phase: str, arms: list[str], done: list[Counter[str]], total: int) -> None:
        self.phase, self.arms, self.total = phase, arms, total
        self.rows = [_Row(Counter(counts)) for counts in done]
        self.before = sum(counts.total() for counts in done)
        self.metric = "test_accuracy" if phase == "confirm" else "val_accuracy"
        self.start = self.said = time.monotonic()
        self.console = Console()
        self.live: Live | None = None

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self.live = Live(self._table(), console=self.console, refresh_per_second=4)
            self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.live is not None:
            self.live.update(self._table())
            self.live.stop()
        else:
            self.console.print(self._line(), highlight=False, soft_wrap=True)

    def job_started(self, job: Job) -> None:
        """Count it as running."""
        self.rows[job.arm].running += 1
        self._show()

    def job_record(self, job: Job, record: Record) -> None:
        """Keep the best score."""
        row = self.rows[job.arm]
        row.best = max(row.best, record.get(self.metric, 0.0))
        self._show()

    def job_ended(self, job: Job, status: str, message: str) -> None:
        """Count how it ended; say at once if it failed."""
        row = self.rows[job.arm]
        row.running -= 1
        row.ended[status] += 1
        if status == "failed":
            where = f"{self.arms[job.arm]} #{job.number}"
            self.console.print(f"failed: {where}: {message}", highlight=False, soft_wrap=True)
        self._show()

    def _show(self) -> None:
        if self.live is not None:
            self.live.update(self._table())
        elif time.monotonic() - self.said > LINE_SECONDS:
            self.said = time.monotonic()
            self.console.print(self._line(), highlight=False, soft_wrap=True)

    def _progress(self) -> str:
        """Elapsed time and an estimate of what is left, from the jobs ended in this run."""
        elapsed = time.monotonic() - self.start
        ended = sum(row.ended.total() for row in self.rows)
        text = f"{self.phase} {ended}/{self.total} trials, {elapsed:.0f} s"
        fresh = ended - self.before
        if fresh and ended < self.total:
            text += f", about {elapsed / fresh * (self.total - ended):.0f} s left"
        return text

    def _line(self) -> str:
        counts: Counter[str] = sum((row.ended for row in self.rows), Counter())
        parts = [f"{counts[s]} {s}" for s in ("pruned", "diverged", "failed") if counts[s]]
        best = max(range(len(self.rows)), key=lambda arm: self.rows[arm].best)
        found = f"; best {self.metric.split('_')[0]} {self.rows[best].best:.4f} ({self.arms[best]})"
        extra = f" ({', '.join(parts)})" if parts else ""
        return self._progress() + extra + (found if self.rows[best].best else "")

    def _table(self) -> Table:
        table = Table(title=self._progress(), title_justify="left", box=None, pad_edge=False)
        table.add_column("arm")
        for name in ("done", "running", "pruned", "diverged", "failed", f"best {self.metric}"):
            table.add_column(name, justify="right")
        for name, row in zip(self.arms, self.rows, strict=True):
            counts = [str(row.ended[s] or "") for s in ("pruned", "diverged", "failed")]
            best = f"{row.best:.4f}" if row.best else ""
            table.add_row(name, str(row.ended.total()), str(row.running or ""), *counts, best)
        return table
