"""A study in this process, which has the heavy libraries already; watched as one of its own."""

from __future__ import annotations

import importlib
import importlib.util
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from faults.events import HOOK, Events
from faults.running import Ended
from fl_core.study import command
from fl_core.study.study import Study

Fault = Callable[[], object]


def run_here(
    study: Study,
    argv: Sequence[str],
    folder: Path,
    events: Events,
    *,
    figures: bool = False,
    fault: Fault | None = None,
) -> Ended:
    """The command of a study in a folder, and how it ended.

    `fault` happens at the moment that `events` holds; it is then released.
    """
    printed, errors = io.StringIO(), io.StringIO()
    since, code, result = time.monotonic(), 0, None

    def strike(_: str) -> None:
        nonlocal since
        assert fault is not None, "nothing is to happen at the moment that is held"
        events.release()
        since = time.monotonic()
        fault()

    with (
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(printed),
        redirect_stderr(errors),
        watched(events, strike, figures),
    ):
        patch.chdir(folder)
        patch.setattr(sys, "argv", [f"{study.name}.py", *argv])
        try:
            result = command.command_line(study, argv)
        except SystemExit as stop:
            code = int(str(stop.code))
    return Ended(code, printed.getvalue(), errors.getvalue(), time.monotonic() - since, result)


@contextmanager
def watched(events: Events, wait: Callable[[str], None], figures: bool) -> Iterator[None]:
    """What a study does in this process goes into the log; `wait` is called where it would wait."""
    spec = importlib.util.spec_from_file_location("faults_hook", HOOK / "sitecustomize.py")
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    hook.LOG, hook.FIGURES, hook.wait = str(events.log), figures, wait
    for name, patch in hook.PATCHES.items():
        patch(importlib.import_module(name))
    try:
        yield
    finally:
        hook.undo()
