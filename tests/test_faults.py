"""Contract 8, on real processes: whatever breaks, the same command goes on to the same results.

A matrix of faults, each in the search and in the confirmation. The studies tell what they do
(`faults/hook`) and wait at the moment that a test names, so that a fault strikes there and not
somewhere near it. What Ray has no part in runs with `--serial`, which starts sooner.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
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
    assert_interrupted,
    kill_raylet,
    replayed,
    strike,
    truncate,
)

from fl_core.base.cache import load_artefact

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def interruptible() -> Iterator[None]:
    """A shell's background job ignores SIGINT, and so would every process it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """What all others must come to."""
    place = Place.at(tmp_path_factory.mktemp("undisturbed"))
    place.run("--serial")
    expect.every_round_once(place)
    expect.whole_store(place.runs())
    expect.tidy(place)
    assert not list(place.scratch.iterdir())
    return place


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
            assert_interrupted(ended)
        study.assert_gone()
        expect.nothing_running(place)
        assert not list(place.scratch.iterdir()), "temporary files are left"
    place.run("--serial")
    expect.economical(place, lost=4)
    expect.same_results(place, undisturbed)


def test_interrupted_then_extended(tmp_path: Path) -> None:
    """Ctrl-C without Ray; it goes on, with more trials than it had before."""
    place = Place.at(tmp_path)
    for moment in (IN_SEARCH, IN_CONFIRMATION):
        ended, _ = strike(place, moment, Running.interrupt, "--serial", within=15)
        assert_interrupted(ended)
        expect.nothing_running(place)
    place.run("--serial", "--trials", str(TRIALS + 2))
    expect.economical(place, lost=2)
    searched = [r for r in place.trial_runs() if r.data.tags["phase"] == "search"]
    assert len(searched) == TRIALS + 2
    expect.nothing_running(place)
    assert len({run.data.tags["digest"] for run in place.trial_runs()}) == len(place.trial_runs())
    assert f",{SEEDS},{TRIALS + 2}," in place.table().decode()


@pytest.mark.parametrize("how", ["serial", "ray"])
def test_disk_full(how: str, undisturbed: Place, tmp_path: Path) -> None:
    """The store lies on another disk or, with Ray, on the full one."""
    options = ["--serial"] if how == "serial" else []
    with small_disk(tmp_path / "disk") as disk:
        place = replace(Place.at(tmp_path), out=disk.folder / "out", cache=disk.folder / "cache")
        if how == "ray":
            place = replace(place, uri=f"sqlite:///{disk.folder}/mlflow.db")
        for moment in (IN_SEARCH, IN_CONFIRMATION):
            ended, _ = strike(place, moment, lambda _: disk.fill(), *options)
            ended.assert_refused(str(disk.folder), "No space left")
            assert not (place.out / "failures.log").exists()
            if how == "serial":
                with place.start(*options) as study:  # nobody has made room yet
                    study.end().assert_refused(str(place.out), "MB free")
                expect.nothing_running(place)
            disk.make_room()
        place.run("--serial")
        expect.economical(place, lost=2)
        expect.same_results(place, undisturbed)


def test_damaged_files(undisturbed: Place, tmp_path: Path) -> None:
    """Damage is noticed and made good; only what was damaged is computed again."""
    place = Place.at(tmp_path)
    in_third = ("round", 2 * ROUNDS + ROUNDS // 2)  # the first whose head comes from a file
    strike(place, in_third, Running.interrupt, "--serial")
    finished = place.events.all("ended")[0].digest
    running = place.events.rounds()[-1][0]
    for digest in (finished, running):
        truncate(place.out / "trials" / f"{digest}.safetensors")
    truncate(place.cache / "trials" / f"{finished}.safetensors")
    (head,) = place.cache.glob("ridge-*.safetensors")
    truncate(head)
    with (place.out / "optuna.journal").open("a") as journal:
        journal.write('{"op_code": 4, "worker_id": "cut o')
    ended = place.run("--serial")
    assert f"{head.name}: cannot be read" in ended.errors
    assert "rebuilding it" in ended.errors
    expect.economical(place, lost=ROUNDS // 2, again=frozenset([finished]))
    # the trial's results are in the journal and the store: its own file may stay as it is
    expect.same_results(place, undisturbed, place.out / "trials" / f"{finished}.safetensors")


def test_damaged_store(undisturbed: Place, tmp_path: Path) -> None:
    """One line that names the file; a new store is filled with what was in it."""
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


def test_nothing_is_computed_twice_until_fresh(undisturbed: Place, tmp_path: Path) -> None:
    """Another folder takes all from the cache; --fresh computes all, beside what was there."""
    # a copy of the store: the study is the same one, its runs are found again
    store = tmp_path / "mlflow.db"
    shutil.copy(undisturbed.folder / "mlflow.db", store)
    place = replace(Place.at(tmp_path), cache=undisturbed.cache)
    place.run("--serial")
    assert not place.events.rounds()
    expect.same_results(place, undisturbed)
    before = place.table()
    place.run("--serial", "--fresh")
    expect.every_round_once(place)
    assert place.table() == before
    aside = replace(place, out=tmp_path / "out.1")
    assert aside.table() == before
    assert len(aside.trial_files()) == len(place.trial_files())
    studies = [run for run in place.runs() if run.data.tags["kind"] == "study"]
    assert len(studies) == 2
    assert len(place.trial_runs()) == 2 * (TRIALS + SEEDS)
    place.run("--serial")
    expect.every_round_once(place)
    assert place.table() == before
    assert len(place.trial_runs()) == 2 * (TRIALS + SEEDS)


def test_replay(undisturbed: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A recorded trial again: the same bits; a record that was tampered with is found out."""
    runs = {run.data.tags["phase"]: run for run in undisturbed.trial_runs()}
    confirmed, searched = runs["confirm"], runs["search"]
    for name in (searched.info.run_id, confirmed.info.run_id, confirmed.data.tags["digest"]):
        assert replayed(undisturbed, name) == 0
        assert f"identical: {ROUNDS} evaluations" in capsys.readouterr().out
    store = tmp_path / "mlflow.db"
    shutil.copy(undisturbed.folder / "mlflow.db", store)
    with sqlite3.connect(store) as database:
        database.execute(
            "update metrics set value = value + 1e-12 where run_uuid = ? and key = ? and step = 32",
            (searched.info.run_id, "val_loss"),
        )
    assert replayed(replace(undisturbed, uri=f"sqlite:///{store}"), searched.info.run_id) == 1
    printed = capsys.readouterr().out
    assert "val_loss was" in printed
    assert printed.count("  the same\n") == ROUNDS - 1


def test_checkpoints_are_kept_on_demand(tmp_path: Path) -> None:
    """Parameters stay where the user asks for them, and nowhere else."""
    place = Place.at(tmp_path)
    place.run("--serial", "--trials", "1", "--seeds", "1", "--keep-checkpoints")
    holding = [path for path in place.trial_files() if load_artefact(path)[0]]
    assert len(holding) == 2  # one of the search, one of the confirmation
