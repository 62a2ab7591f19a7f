"""Command lines and study files of all kinds: what the schema allows, or one clear line.

Each input goes through the command as far as `request_of`, before the first file and process, in
this process. It is accepted and the schema allows it, or it is one line on stderr and exit code 2:
at once, with nothing printed and nothing written.
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import hostile
import pytest
import small_study
from hypothesis import HealthCheck, given, settings
from small_study import STUDY

from fl_core.base import addresses
from fl_core.config.trial_config import TrialConfig
from fl_core.study import command, options
from fl_core.study.request import Request, request_of
from fl_core.study.study import Study

SECONDS = 5.0
SHORT = {"derandomize": True, "deadline": None, "suppress_health_check": list(HealthCheck)}
PARSER = options.build_parser(STUDY)


class Fuzz:
    """A folder in which inputs are tried, and what came of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outcomes: Counter[str] = Counter()
        self.lines: dict[tuple[str, ...], str] = {}  # words -> the line that refused them

    def attempt(self, study: Study, argv: list[str]) -> None:
        """One input; AssertionError for anything but the two outcomes."""
        asked: list[Request] = []
        out, err = io.StringIO(), io.StringIO()
        code: object = None
        started = time.monotonic()
        before = sorted(self.folder.rglob("*"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(command, "run", lambda *both: asked.append(request_of(*both)))
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    command.command_line(study, argv)
                except SystemExit as stop:
                    code = stop.code
        took = time.monotonic() - started
        self.outcomes["accepted" if asked else "one line" if code == 2 else "other"] += 1
        assert took < SECONDS, f"{took:.1f} s"
        if asked:
            (request,) = asked
            assert not err.getvalue()
            allowed(request, argv)
        else:
            line = err.getvalue()
            assert code == 2, (code, out.getvalue(), line)
            assert line.startswith("error: ")
            assert line.endswith("\n")
            assert len(line.splitlines()) == 1, line
            assert 10 < len(line) < 1500
            assert "Traceback" not in line
            self.lines[tuple(argv)] = line
            assert sorted(self.folder.rglob("*")) == before, "something was written"
        assert not out.getvalue()


def allowed(request: Request, argv: list[str]) -> None:
    """Every configuration is one that the schema allows; what --set says is in it."""
    assert request.study.arms
    for arm in request.study.arms:
        flat = arm.config.to_flat()
        assert TrialConfig.from_flat(flat) == arm.config
        for name, spec in hostile.FIELDS.items():
            meta, value = spec.metadata, flat[name]
            if isinstance(value, (int, float)) and "low" in meta:
                assert math.isfinite(value)
                assert meta["low"] <= value <= meta["high"]
    last = dict(
        text.split("=", 1) for option, text in pairwise(argv) if option == "--set" and "=" in text
    )
    for name, text in last.items():
        value = request.study.base.to_flat().get(name.strip())
        if isinstance(value, float):
            assert float(text) == value
        elif isinstance(value, str):
            assert text.strip() == value


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzz]:
    """In an empty folder, without a network."""

    def nobody(*place: object) -> None:
        raise OSError("nobody answers")

    import torch  # noqa: F401  (its import is not what is timed)

    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(addresses, "_knock", nobody)
        for name in ("MLFLOW_TRACKING_URI", "FL_CACHE_DIR", "RAY_ADDRESS"):
            patch.delenv(name, raising=False)
        found = Fuzz(folder)
        yield found
        assert not children(), "a process is left"
        print(f"\n{sum(found.outcomes.values())} inputs: {dict(found.outcomes)}")


def children() -> list[str]:
    """Processes that this one has started and that live."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


@settings(max_examples=100, **SHORT)
@given(argv=hostile.command_lines(PARSER))
def test_command_lines(fuzz: Fuzz, argv: list[str]) -> None:
    fuzz.attempt(STUDY, argv)


@settings(max_examples=50, **SHORT)
@given(changed=hostile.studies(STUDY))
def test_study_files(fuzz: Fuzz, changed: Study) -> None:
    fuzz.attempt(changed, [])


@pytest.mark.soak
@settings(max_examples=1000, **SHORT)
@given(argv=hostile.command_lines(PARSER))
def test_many_command_lines(fuzz: Fuzz, argv: list[str]) -> None:
    fuzz.attempt(STUDY, argv)


@pytest.mark.soak
@settings(max_examples=1000, **SHORT)
@given(changed=hostile.studies(STUDY))
def test_many_study_files(fuzz: Fuzz, changed: Study) -> None:
    fuzz.attempt(changed, [])


FILE = f"{Path(small_study.__file__).read_text()}\n\nfrom fl_core import main\n\nmain(STUDY)\n"
PROCESSES = 40


#: What a study says at once, before what takes seconds to look at.
STARTED = {"mine (preset small): Why?", "loading torch and checking what is asked ..."}


@pytest.mark.soak
def test_processes_say_the_same(fuzz: Fuzz, tmp_path: Path) -> None:
    """Forty of the refused command lines, as a user types them: the same line, nothing left."""
    refused = Fuzz(fuzz.folder)

    @settings(max_examples=150, **SHORT)
    @given(argv=hostile.command_lines(PARSER))
    def fill(argv: list[str]) -> None:
        refused.attempt(STUDY, argv)

    fill()
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    can_be_typed = [
        (argv, line)
        for argv, line in refused.lines.items()
        if "\0" not in "".join(argv) and "nobody answers" not in line
    ]
    assert len(can_be_typed) >= PROCESSES
    before = sorted(fuzz.folder.rglob("*"))
    for argv, line in can_be_typed[:PROCESSES]:
        done = subprocess.Popen(
            [sys.executable, str(file), *argv],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            errors="backslashreplace",
        )
        printed, said = done.communicate(timeout=120)
        assert (done.returncode, said) == (2, ascii_of(line)), argv
        assert set(printed.splitlines()) <= STARTED, argv
        with pytest.raises(ProcessLookupError):
            os.killpg(done.pid, 0)
    assert sorted(fuzz.folder.rglob("*")) == before


def ascii_of(line: str) -> str:
    """As stderr shows what no encoding has."""
    return line.encode(errors="backslashreplace").decode()
