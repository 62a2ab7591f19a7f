"""Signals that ask a study to end do it as Ctrl-C does, once, and for its time alone."""

from __future__ import annotations

import signal
import threading

import pytest

from fl_core.study import stopping
from fl_core.study.stopping import Stopped, exit_code, stoppable


@pytest.mark.parametrize("number", stopping.SIGNALS)
def test_a_signal_is_an_interruption(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    ended: list[int] = []

    def study() -> None:
        with stoppable():
            try:
                signal.raise_signal(number)
            finally:
                signal.raise_signal(signal.SIGTERM)  # to the whole group: it is heard again
                ended.append(stopping.asked())

    with pytest.raises(Stopped) as stop:
        study()
    assert ended == [number]
    assert isinstance(stop.value, KeyboardInterrupt)
    assert exit_code(stop.value) == 128 + number
    assert exit_code(KeyboardInterrupt()) == 130
    assert stopping.asked() == 0  # over
    assert signal.getsignal(number) is before


def test_a_stop_that_was_lost_can_be_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python drops what is raised in a destructor, or while a process is forked."""
    monkeypatch.setattr(stopping, "DEAF", 0.0)
    with stoppable():
        for _ in range(2):
            with pytest.raises(Stopped):
                signal.raise_signal(signal.SIGTERM)


def test_what_is_ignored_stays_ignored() -> None:
    """`nohup python studies/…` outlives its terminal."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stoppable():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_a_thread_no_signals_are_heard() -> None:
    heard = []

    def run() -> None:
        with stoppable():
            heard.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert heard == [signal.getsignal(signal.SIGTERM)]
