"""Faults: where they strike, what they are, how a command may end after them."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from faults.place import ROUNDS, TRIALS, Place
from faults.running import Ended, Running

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


def interrupted(place: Place, moment: Moment, number: int = signal.SIGINT) -> Ended:
    """A signal, Ctrl-C or another, at a moment of the study in this process: a real one."""
    place.events.hold(*moment)
    ended = place.here(fault=lambda: signal.raise_signal(number))
    ended.assert_interrupted(number)
    assert ended.seconds < 15, ended
    return ended


def kill_raylet(study: Running) -> None:
    study.named("raylet").kill()


def truncate(path: Path) -> None:
    """As a file system leaves a file whose last blocks never reached the disk."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
