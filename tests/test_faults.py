"""Contract 8, on real processes: whatever breaks, the same command goes on to the same results.

A matrix of faults, each in the search and in the confirmation. The studies tell what they do
(`faults/hook`) and wait at the moment that a test names, so that a fault strikes there and not
somewhere near it. What Ray has no part in runs with `--serial`, which starts sooner.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from faults import expect
from faults.disk import small_disk
from faults.place import ROOT, ROUNDS, SEEDS, STUDY, TRIALS, Place
from faults.running import Ended, Running
from faults.server import Server

from fl_core import command
from fl_core.cache import load_artefact

pytestmark = pytest.mark.slow

Moment = tuple[str, int]  # the how manieth different event of a kind (Events.hold)
IN_SEARCH: Moment = ("round", ROUNDS + ROUNDS // 2)
CONFIRMATION_BEGINS: Moment = ("round", TRIALS * ROUNDS + 1)
IN_CONFIRMATION: Moment = ("round", (TRIALS + 1) * ROUNDS + ROUNDS // 2)


def strike(
    place: Place, moment: Moment, fault: Callable[[Running], object], *options: str,
    within: float = 60.0,
) -> Ended:  # fmt: skip
    """Run the study up to a moment, break something there; how it ends, within some seconds."""
    place.events.hold(*moment)
    with place.start(*options) as study:
        study.wait_held()
        fault(study)
        place.events.release()
        ended = study.end(within)
        study.assert_gone(within=30)
    return ended


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
    place = Place.at(tmp_path)
    moments: list[Moment] = [
        ("round", 1),  # before there is any checkpoint
        ("saving", ROUNDS + ROUNDS // 2),  # half-way through a trial; its next file is not renamed
        ("ended", 3),  # a trial has ended, and nobody noted it
        CONFIRMATION_BEGINS,
        IN_CONFIRMATION,
    ]
    for moment in moments:
        ended = strike(place, moment, Running.kill)
        assert ended.code == -signal.SIGKILL, ended
        assert "Traceback" not in ended.errors, ended
    place.run("--serial")
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
        study.assert_gone(within=30)
    assert ended.code == 0, ended
    assert "Traceback" not in ended.errors, ended
    expect.economical(place, lost=2)
    expect.same_results(place, undisturbed)
    assert not list(place.scratch.iterdir()), "temporary files are left"


def test_raylet_killed(undisturbed: Place, tmp_path: Path) -> None:
    """Ray itself is gone (the kernel's choice when memory ends): one line, soon."""
    place = Place.at(tmp_path)
    for moment in (IN_SEARCH, IN_CONFIRMATION):
        ended = strike(place, moment, lambda study: study.named("raylet").kill(), within=30)
        ended.assert_refused("Ray", "the same command goes on from here")
        expect.nothing_running(place)
    assert not list(place.scratch.iterdir()), "temporary files are left"
    place.run("--serial")
    expect.economical(place, lost=2)
    expect.same_results(place, undisturbed)


@pytest.mark.parametrize("how", [["--serial"], []], ids=["serial", "ray"])
def test_interrupted(how: list[str], undisturbed: Place, tmp_path: Path) -> None:
    """Ctrl-C ends it cleanly; it goes on, and it can be extended."""
    place = Place.at(tmp_path)
    for moment in (IN_SEARCH, IN_CONFIRMATION):
        ended = strike(place, moment, Running.interrupt, *how, within=15)
        assert ended.code == 130, ended
        assert "the same command goes on from here" in ended.errors
        assert "Traceback" not in ended.errors
        expect.nothing_running(place)
        assert not list(place.scratch.iterdir()), "temporary files are left"
    place.run("--serial")
    expect.economical(place, lost=2)
    expect.same_results(place, undisturbed)
    if how:
        before = place.events.mark()
        place.run("--serial", "--trials", str(TRIALS + 2))
        expect.economical(place, lost=2)
        assert len(place.events.rounds(before)) >= 2 * ROUNDS
        chosen_anew = len(place.events.rounds(before)) > 2 * ROUNDS
        expect.whole_store(place.runs(), TRIALS + 2, SEEDS * (2 if chosen_anew else 1))


@pytest.mark.parametrize("how", ["serial", "ray"])
def test_disk_full(how: str, undisturbed: Place, tmp_path: Path) -> None:
    """The store lies on another disk or, with Ray, on the full one."""
    options = ["--serial"] if how == "serial" else []
    with small_disk(tmp_path / "disk") as disk:
        place = replace(Place.at(tmp_path), out=disk.folder / "out", cache=disk.folder / "cache")
        if how == "ray":
            place = replace(place, uri=f"sqlite:///{disk.folder}/mlflow.db")
        for moment in (IN_SEARCH, IN_CONFIRMATION):
            ended = strike(place, moment, lambda _: disk.fill(), *options)
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


def truncate(path: Path) -> None:
    """As a file system leaves a file whose last blocks never reached the disk."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


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
    expect.same_results(place, undisturbed)


def test_damaged_store(undisturbed: Place, tmp_path: Path) -> None:
    """One line that names the file; a new store is filled with what was in it."""
    place = Place.at(tmp_path)
    strike(place, IN_SEARCH, Running.interrupt, "--serial")
    store = tmp_path / "mlflow.db"
    whole = store.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"not a database\n" * 1000):
        store.write_bytes(damaged)
        with place.start("--serial") as study:
            study.end().assert_refused(str(store))
    store.unlink()
    place.run("--serial")
    expect.economical(place, lost=1)
    expect.same_results(place, undisturbed)


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


def replayed(place: Place, run: str) -> int:
    """The exit code of --replay; in this process, as nothing is broken here."""
    name, *options = STUDY
    module = ModuleType(name)
    exec(compile((ROOT / f"studies/{name}.py").read_text(), name, "exec"), module.__dict__)
    with pytest.raises(SystemExit) as ended:
        command.main(module.STUDY, [*options, *place.where(), "--replay", run])
    return int(str(ended.value.code))


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
