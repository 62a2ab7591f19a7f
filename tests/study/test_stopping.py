"""Signals that ask a study to end do it as Ctrl-C does, once, and for its time alone."""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from fl_core.study import command, stopping
from fl_core.study.jobs import Workers
from fl_core.study.stopping import Stopped, exit_code, stoppable
from fl_core.study.workers.ray_instance import Instance


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


def test_libraries_are_not_imported_where_signals_are_heard(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a signal raises inside an import may leave Python's import lock held by this thread:
    one that starts Ray, or opens the store, then waits for ever, and the study with it.
    """
    importing: list[threading.Thread] = []

    @contextmanager
    def session(address: str | None, cpus: int) -> Iterator[Instance]:
        yield Instance(None, lambda: None)

    def load(what: Any) -> Any:
        importing.append(threading.current_thread())
        return what

    monkeypatch.setattr(command, "_load_ray", lambda: load(session))
    monkeypatch.setattr(command, "_load_tune", lambda: load(print))
    monkeypatch.setattr(command.environment, "before_ray", lambda cluster: None)
    args = argparse.Namespace(serial=False, ray_address=None)
    with command._executor(args, Workers(1, 1.0, 0.0)):
        assert len(importing) == 2
        assert threading.main_thread() not in importing


def test_in_a_thread_no_signals_are_heard() -> None:
    heard = []

    def run() -> None:
        with stoppable():
            heard.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert heard == [signal.getsignal(signal.SIGTERM)]
