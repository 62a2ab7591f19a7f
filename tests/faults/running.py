"""A study while it runs: wait for a moment, break something, see how it ends."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

from faults.events import Event, Events
from fl_core.study.result import Result

PATIENCE = 300.0  # seconds for anything that has no bound of its own


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    printed: str
    errors: str
    seconds: float  # that the end took
    result: Result | None = None  # of a study in this process

    def assert_good(self) -> None:
        """A study that came to its end."""
        assert self.code == 0, self
        assert "Traceback" not in self.errors, self

    def assert_interrupted(self, number: int = signal.SIGINT) -> None:
        """Ctrl-C, or another signal: at once, and it says that nothing is lost."""
        assert self.code == 128 + number, self
        assert "the same command goes on from here" in self.errors, self
        assert "Traceback" not in self.errors, self

    def assert_refused(self, *words: str) -> None:
        """Exit code 2 and, on stderr, one line of an error that says these words."""
        assert self.code == 2, self
        lines = [line for line in self.errors.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1, self
        assert all(word in lines[0] for word in words), self
        assert "Traceback" not in self.errors, self


class Running:
    """The process of a study. As a context manager it leaves no process behind."""

    def __init__(
        self, process: subprocess.Popen[bytes], events: Events, printed: Path, errors: Path
    ) -> None:
        self.process, self.events = process, events
        self._printed, self._errors = printed, errors
        self._mark = events.mark()
        self._family: set[psutil.Process] = set()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.events.release()
        if self.process.poll() is None:
            self.family()
            self.process.kill()
            self.process.wait()
        if error is not None:  # a good end must leave none by itself: `assert_gone`
            for process in self._alive():
                with suppress(psutil.NoSuchProcess):
                    process.kill()

    def family(self) -> set[psutil.Process]:
        """The driver's descendants, now and before."""
        with suppress(psutil.NoSuchProcess):
            self._family |= set(psutil.Process(self.process.pid).children(recursive=True))
        return self._family

    def named(self, name: str) -> psutil.Process:
        """The one descendant of a name."""
        (found,) = (p for p in self.family() if p.is_running() and p.name() == name)
        return found

    def wait_held(self) -> Event:
        """The event at which a process waits, once it does."""
        self.wait_for(lambda: bool(self.events.all("held", since=self._mark)))
        self.family()
        held = self.events.all("held", since=self._mark)
        self._mark = self.events.mark()
        return held[0]

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """While the study runs."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, self._ended(0.0)
            assert time.monotonic() < deadline, self._ended(0.0)
            time.sleep(0.02)

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL of the driver."""
        self.process.kill()

    def kill_member(self, pid: int) -> None:
        """SIGKILL of a descendant."""
        (found,) = (process for process in self.family() if process.pid == pid)
        found.kill()

    def end(self, within: float = PATIENCE) -> Ended:
        """How it ends, by itself, within some seconds from now."""
        before = time.monotonic()
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"no end within {within} s: {self._ended(within)}") from error
        return self._ended(time.monotonic() - before)

    def assert_gone(self, within: float = 90.0) -> None:
        """No descendant outlives the driver for long.

        Ray's agents look for their dead raylet every few seconds, and only the fifth time counts.
        """
        deadline = time.monotonic() + within
        while left := self._alive():
            assert time.monotonic() < deadline, [(p.pid, p.name()) for p in left]
            time.sleep(0.1)

    def _alive(self) -> list[psutil.Process]:
        return [p for p in self._family if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def _ended(self, seconds: float) -> Ended:
        code = self.process.poll()
        texts = self._printed.read_text(), self._errors.read_text()
        return Ended(-99 if code is None else code, *texts, seconds)
