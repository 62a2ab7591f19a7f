"""Writes that outlive a store's absence: one queue, one background thread (no MLflow).

A study must not wait for its log and must not lose it. Tasks run in the order they were put. A
task that fails because the store is away (server restarted, network gone, database locked) is
tried again, with growing pauses, until the store is back: nothing behind it overtakes it, nothing
is dropped while the study runs, and no error reaches a trial. A task that fails for a reason of
its own is tried `QUICK_TRIES` times, then counted as a failure, so that it blocks nobody.

A task may have been carried out although its answer was lost: it is told so (`again`) and must be
safe to repeat.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from fl_core.base.errors import first_line

Task = Callable[[bool], object]  # its argument: may an earlier try have been carried out?

QUICK_TRIES = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0  # seconds between tries; doubles
AFTER_INTERRUPT = 10.0  # seconds that a closing study still waits after Ctrl-C


class Writer:
    """Carries out tasks in order, in a daemon thread that starts with the first of them.

    `is_outage` tells a store that is away from a task that is wrong. `patience`: seconds that
    `close` waits for what is left.
    """

    def __init__(self, is_outage: Callable[[Exception], bool], patience: float) -> None:
        self.patience = patience
        self._is_outage = is_outage
        self._tasks: deque[tuple[Task, Callable[[], object] | None]] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False  # a closing writer tries at once, then as often as before
        self._reason = ""  # of the outage that lasts, else empty
        self._failures: list[str] = []

    def put(self, task: Task, give_up: Callable[[], object] | None = None) -> None:
        """Do it when its turn comes. `give_up` is called if it fails for a reason of its own."""
        with self._changed:
            self._tasks.append((task, give_up))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="store", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def waiting(self) -> int:
        """How many tasks are not done yet."""
        return len(self._tasks)

    def close(self) -> str | None:
        """Wait for the queue; one line about what did not reach the store, if anything.

        Ctrl-C shortens the wait to `AFTER_INTERRUPT`, a second one ends it. The writer may be used
        again afterwards.
        """
        try:
            if self._reason:
                _say(f"waiting up to {self.patience:.0f} s for the MLflow store; Ctrl-C waits less")
            self._drain(self.patience)
        except KeyboardInterrupt:
            seconds = min(self.patience, AFTER_INTERRUPT)
            _say(f"waiting up to {seconds:.0f} s for the last results to reach MLflow")
            with suppress(KeyboardInterrupt):  # the user insists; what is left is counted below
                self._drain(seconds)
        with self._changed:
            failures = self._failures + [self._reason or "not in time"] * len(self._tasks)
            self._tasks.clear()
            self._failures, self._closing, self._reason = [], False, ""
            self._thread = None  # it leaves at its next step
            self._changed.notify_all()
        if not failures:
            return None
        count, last = len(failures), failures[-1]
        return f"{count} writes to MLflow failed ({last}); run the same command again to repair it"

    def _drain(self, seconds: float) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._tasks, seconds)

    def _work(self) -> None:
        me = threading.current_thread()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or self._thread is not me)
                if self._thread is not me:
                    return
                entry = self._tasks[0]
            self._carry_out(*entry)
            with self._changed:
                if self._tasks and self._tasks[0] is entry:
                    self._tasks.popleft()
                self._changed.notify_all()

    def _carry_out(self, task: Task, give_up: Callable[[], object] | None) -> None:
        """Try until it is done, given up, or the writer was closed without it."""
        me, again = threading.current_thread(), False
        tries, pause = 0, FIRST_PAUSE
        while self._thread is me:
            try:
                task(again)
            except Exception as error:  # whatever a store raises must not end a study
                again = True
                if not self._is_outage(error):
                    tries += 1
                    if tries == QUICK_TRIES:
                        self._failures.append(first_line(error))
                        if give_up:
                            give_up()
                        return
                    self._rest(FIRST_PAUSE)
                    continue
                if not self._reason and pause > FIRST_PAUSE:  # a blip is not worth a line
                    self._reason = first_line(error)
                    _say(f"MLflow store does not answer; results wait here ({self._reason})")
                self._rest(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
            else:
                if self._reason:
                    self._reason = ""
                    _say("MLflow store is back")
                return

    def _rest(self, seconds: float) -> None:
        """A pause between tries, cut short once by `close`."""
        with self._changed:
            was = self._closing
            self._changed.wait_for(lambda: self._closing and not was, seconds)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
