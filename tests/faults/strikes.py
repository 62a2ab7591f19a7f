"""Faults: where they strike, what they are, how a command may end after them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from faults.place import ROOT, ROUNDS, STUDY, TRIALS, Place
from faults.running import Ended, Running
from fl_core.study import command

Moment = tuple[str, int]  # the how manieth different event of a kind (Events.hold)
IN_SEARCH: Moment = ("round", ROUNDS + ROUNDS // 2)
CONFIRMATION_BEGINS: Moment = ("round", TRIALS * ROUNDS + 1)
IN_CONFIRMATION: Moment = ("round", (TRIALS + 1) * ROUNDS + ROUNDS // 2)


def strike(
    place: Place, moment: Moment, fault: Callable[[Running], object], *options: str,
    within: float = 60.0,
) -> tuple[Ended, Running]:  # fmt: skip
    """Run the study up to a moment, break something there; how it ends, within some seconds."""
    place.events.hold(*moment)
    with place.start(*options) as study:
        study.wait_held()
        fault(study)
        place.events.release()
        ended = study.end(within)
    return ended, study


def kill_raylet(study: Running) -> None:
    study.named("raylet").kill()


def truncate(path: Path) -> None:
    """As a file system leaves a file whose last blocks never reached the disk."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def assert_interrupted(ended: Ended) -> None:
    assert ended.code == 130, ended
    assert "the same command goes on from here" in ended.errors
    assert "Traceback" not in ended.errors, ended


def replayed(place: Place, run: str) -> int:
    """The exit code of --replay; in this process, as nothing is broken here."""
    name, *options = STUDY
    module = ModuleType(name)
    exec(compile((ROOT / f"studies/{name}.py").read_text(), name, "exec"), module.__dict__)
    with pytest.raises(SystemExit) as ended:
        command.main(module.STUDY, [*options, *place.where(), "--replay", run])
    return int(str(ended.value.code))
