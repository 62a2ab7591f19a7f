"""Contract 8 on studies in this process: stopped, damaged, begun anew, replayed.

The same commands, files and stores as a user's, without the seconds that a process needs to start.
What must be a process of its own (to be killed, with Ray, beside a server): `test_processes`.
"""

from __future__ import annotations

import shutil
import signal
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from faults import expect
from faults.disk import small_disk
from faults.place import ROUNDS, SEEDS, TRIALS, Place
from faults.running import Running
from faults.strikes import IN_CONFIRMATION, IN_SEARCH, interrupted, strike, truncate
from fl_core.base.cache import load_artefact


@pytest.mark.usefixtures("interruptible")
def test_interrupted_then_extended(tmp_path: Path) -> None:
    """Ctrl-C, SIGTERM without Ray; it goes on, with more trials than it had before."""
    place = Place.at(tmp_path)
    for moment, number in ((IN_SEARCH, signal.SIGINT), (IN_CONFIRMATION, signal.SIGTERM)):
        interrupted(place, moment, number)
        expect.nothing_running(place)
    place.run_here("--trials", str(TRIALS + 2))
    expect.economical(place, lost=2)
    searched = [r for r in place.trial_runs() if r.data.tags["phase"] == "search"]
    assert len(searched) == TRIALS + 2
    expect.nothing_running(place)
    assert len({run.data.tags["digest"] for run in place.trial_runs()}) == len(place.trial_runs())
    assert f",{SEEDS},{TRIALS + 2}," in place.table().decode()


@pytest.mark.soak
def test_driver_killed(undisturbed: Place, tmp_path: Path) -> None:
    """SIGKILL in a trial: the one fault that this process would not survive."""
    place = Place.at(tmp_path)
    ended, _ = strike(place, IN_SEARCH, Running.kill, "--serial")
    assert ended.code == -signal.SIGKILL, ended
    assert "Traceback" not in ended.errors, ended
    place.run_here()
    expect.economical(place, lost=1)
    expect.same_results(place, undisturbed)


def test_disk_full(undisturbed: Place, tmp_path: Path) -> None:
    """The store lies on another disk and is told; nothing starts before there is room."""
    with small_disk(tmp_path / "disk") as disk:
        place = replace(Place.at(tmp_path), out=disk.folder / "out", cache=disk.folder / "cache")
        for moment in (IN_SEARCH, IN_CONFIRMATION):
            place.events.hold(*moment)
            place.here(fault=disk.fill).assert_refused(str(disk.folder), "No space left")
            assert not (place.out / "failures.log").exists()
            place.here().assert_refused(str(place.out), "No space left")  # nobody has made room yet
            expect.nothing_running(place)
            disk.make_room()
        place.run_here()
        expect.economical(place, lost=2)
        expect.same_results(place, undisturbed)


@pytest.mark.usefixtures("interruptible")
def test_damaged_files(undisturbed: Place, tmp_path: Path) -> None:
    """Damage is noticed and made good; only what was damaged is computed again."""
    place = Place.at(tmp_path)
    in_third = ("round", 2 * ROUNDS + ROUNDS // 2)  # the first whose head comes from a file
    interrupted(place, in_third)
    finished = place.events.all("ended")[0].digest
    running = place.events.rounds()[-1][0]
    for digest in (finished, running):
        truncate(place.out / "trials" / f"{digest}.safetensors")
    truncate(place.cache / "trials" / f"{finished}.safetensors")
    (head,) = place.cache.glob("ridge-*.safetensors")
    truncate(head)
    with (place.out / "optuna.journal").open("a") as journal:
        journal.write('{"op_code": 4, "worker_id": "cut o')
    ended = place.run_here()
    assert f"{head.name}: cannot be read" in ended.errors
    assert "rebuilding it" in ended.errors
    expect.economical(place, lost=ROUNDS // 2, again=frozenset([finished]))
    # the trial's results are in the journal and the store: its own file may stay as it is
    expect.same_results(place, undisturbed, place.out / "trials" / f"{finished}.safetensors")


def test_damaged_store(undisturbed: Place, tmp_path: Path) -> None:
    """One line that names the file; a new store is filled with what was in it."""
    place = Place.at(tmp_path)
    shutil.copytree(undisturbed.out, place.out)
    whole = (undisturbed.folder / "mlflow.db").read_bytes()
    damage = {"half.db": whole[: len(whole) // 2], "text.db": b"not a database\n" * 1000}
    for name, damaged in damage.items():  # each its own: MLflow keeps a file open
        (tmp_path / name).write_bytes(damaged)
        store = replace(place, uri=f"sqlite:///{tmp_path / name}")
        store.here().assert_refused(str(tmp_path / name))
    place.run_here()
    assert not place.events.rounds()
    assert place.table() == undisturbed.table()
    expect.whole_store(place.runs())


def test_nothing_is_computed_twice_until_fresh(undisturbed: Place, tmp_path: Path) -> None:
    """Another folder takes all from the cache, and its runs in the store are its own; --fresh
    computes all, beside what was there.
    """
    place = replace(Place.at(tmp_path), cache=undisturbed.cache)
    first = replace(place, out=tmp_path / "first")
    shutil.copytree(undisturbed.out, first.out)
    first.run_here()
    result = place.run_here().result
    assert not place.events.rounds()
    assert first.table() == place.table() == undisturbed.table()
    expect.tidy(place)
    before = place.table()
    assert result is not None
    assert result.table.to_csv(index=False).encode() == place.table()
    assert result.best == "iid, J=4"
    assert result.best_config is not None
    assert result.best_config.local.lr == place.frame()["local.lr"][0]
    assert (result.folder, result.figures) == (place.out, [])
    assert "test accuracy" in repr(result)
    assert f"{100 * place.frame()['test_accuracy_mean'][0]:.1f}" in result._repr_html_()
    place.run_here("--fresh")
    expect.every_round_once(place)
    assert place.table() == before
    aside = replace(place, out=tmp_path / "out.1")
    assert aside.table() == before
    assert len(aside.trial_files()) == len(place.trial_files())
    studies = [run for run in place.runs() if run.data.tags["kind"] == "study"]
    assert len(studies) == 3
    assert len(place.trial_runs()) == 3 * (TRIALS + SEEDS)


def test_what_was_deleted_in_the_store_is_logged_again(undisturbed: Place, tmp_path: Path) -> None:
    """What lies in the study's folder counts: of the study's run, an arm's, a trial's."""
    place = Place.at(tmp_path)
    shutil.copytree(undisturbed.out, place.out)
    shutil.copy(undisturbed.folder / "mlflow.db", tmp_path / "mlflow.db")
    client = MlflowClient(place.uri)
    for kind in ("study", "arm", "trial"):
        run = next(run for run in place.runs() if run.data.tags["kind"] == kind)
        client.delete_run(run.info.run_id)
        if kind != "study":  # the arm's run and the trial's, together
            continue
        place.run_here()
        expect.same_results(place, undisturbed)
    place.run_here()
    assert not place.events.rounds()
    expect.same_results(place, undisturbed)


@pytest.mark.soak
def test_searches_of_another_way_are_told_apart(undisturbed: Place, tmp_path: Path) -> None:
    """In one store, and in one folder: no trial of the one enters the other's table."""
    place = Place.at(tmp_path)
    shutil.copytree(undisturbed.cache, place.cache)
    shutil.copytree(undisturbed.out, place.out)
    place.run_here("--trials", "2")
    assert f",{SEEDS},{TRIALS}," in place.table().decode()  # what is in the folder stays in it
    other = replace(place, out=tmp_path / "other")
    for there in (other, place):
        there.run_here("--trials", "2", "--searcher", "random")
        assert f",{SEEDS},2," in there.table().decode()
        assert "searcher random" in (there.out / "table.md").read_text()
    place.run_here()
    assert place.table() == undisturbed.table()
    assert "searcher tpe" in (place.out / "table.md").read_text()


def test_replay(undisturbed: Place, tmp_path: Path) -> None:
    """A recorded trial again: the same bits; a record that was tampered with is found out."""
    runs = {run.data.tags["phase"]: run for run in undisturbed.trial_runs()}
    confirmed, searched = runs["confirm"], runs["search"]
    for name in (searched.info.run_id, confirmed.info.run_id, confirmed.data.tags["digest"]):
        ended = undisturbed.here("--replay", name)
        assert ended.code == 0, ended
        assert f"identical: {ROUNDS} evaluations" in ended.printed
    store = tmp_path / "mlflow.db"
    shutil.copy(undisturbed.folder / "mlflow.db", store)
    with sqlite3.connect(store) as database:
        database.execute(
            "update metrics set value = value + 1e-12 where run_uuid = ? and key = ? and step = 32",
            (searched.info.run_id, "val_loss"),
        )
    tampered = replace(undisturbed, uri=f"sqlite:///{store}")
    ended = tampered.here("--replay", searched.info.run_id)
    assert ended.code == 1
    assert "val_loss was" in ended.printed
    assert ended.printed.count("  the same\n") == ROUNDS - 1


def test_checkpoints_are_kept_on_demand(tmp_path: Path) -> None:
    """Parameters stay where the user asks for them, and nowhere else."""
    place = Place.at(tmp_path)
    place.run_here("--trials", "1", "--seeds", "1", "--keep-checkpoints")
    holding = [path for path in place.trial_files() if load_artefact(path)[0]]
    assert len(holding) == 2  # one of the search, one of the confirmation
