"""Contract 8 for methods that carry more than parameters from round to round: what clients keep,
who fails, what is under way.

A study of one trial and one seed is cut off at one event after the other (`faults/hook`), and goes
on: the same table and the same curves as undisturbed. In this process by Ctrl-C, at every other
event; in soak a process of its own is killed. (tests/conformance/test_checkpoints has every method,
cut off at every evaluation.)
"""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from toy import plain

from faults import expect
from faults.place import ROUNDS, Place
from faults.running import Running
from faults.strikes import Moment, interrupted, strike
from fl_core.base.cache import load_artefact

SHORT = ("--preset", "smoke", "--workers", "1", "--trials", "1", "--seeds", "1",
         "--set", "eval_every=1")  # fmt: skip
METHODS: dict[str, tuple[str, ...]] = {
    "scaffold": ("local.rule=scaffold", "local.momentum=0", "timing.dropout=0.3"),
    "buffered": ("timing.mode=buffered", "timing.speed_spread=1"),
}
#: In the first round, before any checkpoint; while one is written; between two; when a trial has
#: ended and nobody has noted it; in the confirmation, in a round and while a file is written.
MOMENTS: list[Moment] = [
    ("round", 1), ("saving", 2), ("round", ROUNDS // 2), ("ended", 1), ("round", ROUNDS + 3),
    ("saving", 2 * ROUNDS - 2),
]  # fmt: skip


def place_of(folder: Path, method: str) -> Place:
    settings = [word for setting in METHODS[method] for word in ("--set", setting)]
    return Place.at(folder, options=(*SHORT, *settings))


def curves(place: Place) -> dict[str, list[Any]]:
    """All that each trial has recorded, by file."""
    return {p.name: plain(load_artefact(p)[1]["records"]) for p in place.trial_files()}


def assert_same(place: Place, folder: Path, method: str) -> None:
    """As an undisturbed study of the method."""
    whole = place_of(folder, method)
    whole.run_here()
    assert place.table() == whole.table()
    assert curves(place) == curves(whole)
    expect.whole_store(place.runs(), 1, 1)
    expect.economical(place, lost=len(MOMENTS))


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("method", METHODS)
def test_interrupted_at_one_event_after_the_other(method: str, tmp_path: Path) -> None:
    place = place_of(tmp_path / "cut", method)
    for moment in MOMENTS[1::2]:
        interrupted(place, moment)
        expect.nothing_running(place)
    place.run_here()
    assert_same(place, tmp_path / "whole", method)


@pytest.mark.soak
@pytest.mark.parametrize("method", METHODS)
def test_killed_at_one_event_after_the_other(method: str, tmp_path: Path) -> None:
    place = place_of(tmp_path / "cut", method)
    for moment in MOMENTS:
        ended, study = strike(place, moment, Running.kill, "--serial")
        assert ended.code == -signal.SIGKILL, ended
        study.assert_gone()
    place.run_here()
    assert_same(place, tmp_path / "whole", method)
