"""`main` as a function: it returns what a study found and raises what is wrong."""

from __future__ import annotations

import argparse
import errno
import sys
from types import ModuleType
from typing import Any

import pytest

from fl_core.base.errors import UserError
from fl_core.study import command
from studies import load_study

STUDY = load_study("fedavg_iid")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[argparse.Namespace]:
    """The options of the studies that would run; each finds itself."""
    found: list[argparse.Namespace] = []

    def run(study: Any, args: argparse.Namespace) -> argparse.Namespace:
        found.append(args)
        return args

    monkeypatch.setattr(command, "run", run)
    return found


def test_a_call_returns_what_the_study_found(asked: list[argparse.Namespace]) -> None:
    result = command.main(STUDY, ["--preset", "smoke"])
    assert result is asked[0]
    assert asked[0].preset == "smoke"
    assert asked[0].words == ["--preset", "smoke"]


def test_a_mistake_in_a_call_is_an_exception(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match="--trails: no such option; did you mean --trials"):
        command.main(STUDY, ["--trails", "3"])
    with pytest.raises(UserError, match=r"federation\.clients"):
        command.main(STUDY, ["--set", "federation.clients=60000"])
    assert not capsys.readouterr().err


def test_help_in_a_call_ends_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(STUDY, ["--help"]) is None
    assert "--preset" in capsys.readouterr().out


@pytest.mark.parametrize("error", [KeyboardInterrupt(), UserError("no"), ValueError("a bug")])
def test_errors_pass_through_a_call(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise error

    monkeypatch.setattr(command, "run", run)
    with pytest.raises(type(error)):
        command.main(STUDY, [])


def test_a_full_disk_is_told_in_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/data/x")

    monkeypatch.setattr(command, "run", run)
    with pytest.raises(UserError, match="/data/x: No space left on device; make room"):
        command.main(STUDY, [])


def test_a_program_reads_its_command_line(
    asked: list[argparse.Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    program = ModuleType("__main__")
    program.__file__ = "fedavg_iid.py"
    monkeypatch.setitem(sys.modules, "__main__", program)
    monkeypatch.setattr(sys, "argv", ["fedavg_iid.py", "--preset", "smoke"])
    command.main(STUDY)
    assert asked[0].preset == "smoke"
    monkeypatch.setattr(sys, "argv", ["fedavg_iid.py", "--trails", "3"])
    with pytest.raises(SystemExit) as stop:
        command.main(STUDY)
    assert stop.value.code == 2


def test_a_notebook_has_no_command_line(
    asked: list[argparse.Namespace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands behind a kernel's name is the kernel's."""
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert command.main(STUDY) is asked[0]
    assert asked[0].words == []
