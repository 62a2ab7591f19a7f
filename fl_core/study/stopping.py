"""A study is stopped from outside: by Ctrl-C, a batch system, a terminal that closes.

All of them end it in the same way: what is done is on disk, the store is told, the workers end.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

#: SIGTERM: batch systems, `timeout`, `kill`, containers. SIGHUP: the terminal is gone.
SIGNALS = (signal.SIGTERM, signal.SIGHUP)

DEAF = 10.0  # seconds


class Stopped(KeyboardInterrupt):
    """As Ctrl-C; the exit code is 128 and the signal's number, as a shell reports it: 143."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


def exit_code(stop: KeyboardInterrupt) -> int:
    """That of a command which was stopped: 130 for Ctrl-C.

    >>> exit_code(KeyboardInterrupt()), exit_code(Stopped(signal.SIGTERM))
    (130, 143)
    """
    return stop.code if isinstance(stop, Stopped) else 128 + signal.SIGINT


@contextmanager
def stoppable() -> Iterator[None]:
    """For the time of a command; whoever called it then has its own handlers again.

    Not for a signal that the command was started to ignore, as `nohup` does; and outside the main
    thread, where Python hears no signals, for none.
    """
    before = {number: signal.getsignal(number) for number in SIGNALS}
    heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    if threading.current_thread() is not threading.main_thread():
        heard = []
    ears = Ears()
    for number in heard:
        signal.signal(number, ears)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, before[number])


class Ears:
    """The signals' handler. Who asks a group of processes to end asks the first one twice, as
    `timeout` does: for some seconds, while the study ends, it hears nothing more.
    """

    def __init__(self) -> None:
        self.last, self.number = -math.inf, 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self.last > DEAF:
            self.last, self.number = now, number
            raise Stopped(number)


def asked() -> int:
    """The signal that has asked this process to end, 0 = none: what breaks now, breaks for that."""
    ears = signal.getsignal(signal.SIGTERM)
    return ears.number if isinstance(ears, Ears) else 0
