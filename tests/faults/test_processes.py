"""Contract 8, on real processes: whatever breaks, the same command goes on to the same results.

A matrix of faults, each in the search and in the confirmation. The studies tell what they do
(`faults/hook`) and wait at the moment that a test names, so that a fault strikes there and not
somewhere near it. What Ray has no part in runs with `--serial`, which starts sooner.
"""

from __future__ import annotations

import random
import shutil
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from benchmarks import random_kills

from faults import expect
from faults.disk import small_disk
from faults.place import ROUNDS, SEEDS, TRIALS, Place
from faults.running import Running
from faults.server import Server
from faults.strikes import (
    CONFIRMATION_BEGINS,
    IN_CONFIRMATION,
    IN_SEARCH,
    Moment,
    kill_raylet,
    strike,
)

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("interruptible")]


def test_a_process_of_its_own(undisturbed: Place, tmp_path: Path) -> None:
    """Undisturbed, a study computes in a process of its own what it computes in the tests'."""
    place = Place.at(tmp_path)
    place.run("--serial")
    expect.every_round_once(place)
    expect.same_results(place, undisturbed)
    assert not list(place.scratch.iterdir())


def test_driver_killed_again_and_again(undisturbed: Place, tmp_path: Path) -> None:
    """With and without Ray by turns: what one began, the other goes on with."""
    place = Place.at(tmp_path)
    moments: list[tuple[Moment, list[str]]] = [
        (("round", 1), ["--serial"]),  # before there is any checkpoint
        (("saving", ROUNDS + ROUNDS // 2), []),  # in mid-trial, before its file gets its name
        (("ended", 3), ["--serial"]),  # a trial has ended, and nobody noted it
        (CONFIRMATION_BEGINS, ["--serial"]),
        (IN_CONFIRMATION, []),
    ]
    killed = []
    for moment, options in moments:
        ended, study = strike(place, moment, Running.kill, *options)
        assert ended.code == -signal.SIGKILL, ended
        assert "Traceback" not in ended.errors, ended
        killed.append(study)  # the next one starts at once, beside what is left of it
    place.run("--serial")
    for study in killed:
        study.assert_gone()
    expect.economical(place, lost=len(moments))
    expect.same_results(place, undisturbed)


def test_the_same_study_twice_at_once(undisturbed: Place, tmp_path: Path) -> None:
    """In two folders, on one store, cache and storage: neither loses or doubles anything. A third
    in a folder that is taken is refused.
    """
    first = Place.at(tmp_path)
    (tmp_path / "other").mkdir()
    second = replace(first, folder=tmp_path / "other", out=tmp_path / "other" / "out")
    shared = ("--serial", "--storage", str(tmp_path / "storage"))
    first.events.hold(*IN_SEARCH)
    with first.start(*shared) as one:
        one.wait_held()
        with second.start(*shared) as two:
            first.here(*shared).assert_refused(f"process {one.process.pid} is running")
            first.events.release()
            ends = [one.end(), two.end()]
    for ended, place in zip(ends, (first, second), strict=True):
        ended.assert_good()
        assert place.table() == undisturbed.table()
        assert not (place.out / "failures.log").exists()
    kinds = Counter(run.data.tags["kind"] for run in first.runs())
    assert kinds == {"study": 2, "arm": 2, "trial": 2 * (TRIALS + SEEDS)}
    assert {run.info.status for run in first.runs()} == {"FINISHED"}


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """From the first second of a fresh store on (tests/benchmarks/random_kills.py does it for
    longer).
    """
    table, seconds = random_kills.undisturbed(tmp_path / "undisturbed")
    found = random_kills.series(tmp_path / "series", table, seconds, 4, random.Random(1))
    assert found.good, found


def test_worker_killed(undisturbed: Place, tmp_path: Path) -> None:
    """Ray starts another one, which goes on: nobody has to do anything."""
    place = Place.at(tmp_path)
    place.events.hold(*IN_SEARCH)
    with place.start() as study:
        for following in (IN_CONFIRMATION, None):
            worker = study.wait_held().pid
            assert worker != study.process.pid
            study.kill_member(worker)
            if following:
                place.events.hold(*following)
        place.events.release()
        ended = study.end()
        study.assert_gone()
    assert ended.code == 0, ended
    assert "Traceback" not in ended.errors, ended
    expect.economical(place, lost=2)
    expect.same_results(place, undisturbed)
    assert not list(place.scratch.iterdir()), "temporary files are left"


def test_ray_stopped(undisturbed: Place, tmp_path: Path) -> None:
    """Ray itself killed (the kernel's choice when memory ends): one line, soon. Ctrl-C: at once."""
    place = Place.at(tmp_path)
    for moment, fault in [
        (IN_SEARCH, kill_raylet),
        (("round", 4 * ROUNDS), Running.interrupt),
        (CONFIRMATION_BEGINS, kill_raylet),
        (IN_CONFIRMATION, Running.interrupt),
    ]:
        if fault is kill_raylet:
            ended, study = strike(place, moment, fault, within=30)
            ended.assert_refused("Ray", "the same command goes on from here")
        else:
            ended, study = strike(place, moment, fault, within=15)
            ended.assert_interrupted()
        study.assert_gone()
        expect.nothing_running(place)
        assert not list(place.scratch.iterdir()), "temporary files are left"
    place.run("--serial")
    expect.economical(place, lost=4)
    expect.same_results(place, undisturbed)


def test_disk_full(undisturbed: Place, tmp_path: Path) -> None:
    """Everything lies on it, the store too; Ray's workers are told by nobody else."""
    with small_disk(tmp_path / "disk") as disk:
        place = replace(Place.at(tmp_path), out=disk.folder / "out", cache=disk.folder / "cache")
        place = replace(place, uri=f"sqlite:///{disk.folder}/mlflow.db")
        for moment in (IN_SEARCH, IN_CONFIRMATION):
            ended, _ = strike(place, moment, lambda _: disk.fill())
            ended.assert_refused(str(disk.folder), "No space left")
            assert not (place.out / "failures.log").exists()
            disk.make_room()
        place.run("--serial")
        expect.economical(place, lost=2)
        expect.same_results(place, undisturbed)


def test_damaged_store(undisturbed: Place, tmp_path: Path) -> None:
    """The damaged file is put aside, and the same command fills a new one."""
    place = Place.at(tmp_path)
    shutil.copytree(undisturbed.out, place.out)
    store = tmp_path / "mlflow.db"
    whole = (undisturbed.folder / "mlflow.db").read_bytes()
    for damaged in (whole[: len(whole) // 2], b"not a database\n" * 1000):
        store.write_bytes(damaged)
        with place.start("--serial") as study:
            study.end().assert_refused(str(store))
    store.rename(tmp_path / "damaged.db")
    place.run("--serial")
    assert not place.events.rounds()
    assert place.table() == undisturbed.table()
    expect.whole_store(place.runs())


def test_tracking_server_away_for_a_while(undisturbed: Place, tmp_path: Path) -> None:
    """The study does not wait for it, and it misses nothing."""
    with Server(tmp_path) as server:
        place = replace(Place.at(tmp_path), uri=server.uri)
        place.events.hold(*IN_SEARCH)
        with place.start("--serial") as study:
            study.wait_held()
            server.kill()
            place.events.hold(*IN_CONFIRMATION)
            study.wait_held()
            server.start()
            place.events.release()
            ended = study.end()
        assert ended.code == 0, ended
        assert "Traceback" not in ended.errors, ended
        expect.every_round_once(place)
        expect.same_results(place, undisturbed)
        for run in place.trial_runs():
            assert run.data.metrics["local_steps"] == 4 * ROUNDS
