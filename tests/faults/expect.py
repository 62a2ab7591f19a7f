"""What must hold of a study after any fault: contract 8, in assertions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mlflow.entities import Run

from faults.place import ALL_ROUNDS, SEEDS, TRIALS, Place
from fl_core.base.cache import load_artefact


def same_results(place: Place, reference: Place, damaged: Path | None = None) -> None:
    """The table of the undisturbed study to the byte, and a store that tells the truth.

    `damaged`: a file of `tidy` that need not be readable.
    """
    assert place.table() == reference.table()
    whole_store(place.runs())
    tidy(place, damaged)


def economical(place: Place, lost: int, again: frozenset[str] = frozenset()) -> None:
    """At most `lost` rounds were begun twice, and none of a trial that was known to have ended.

    `again`: digests of trials that may be run again.
    """
    events = place.events
    ended: set[str] = set()
    for event in events.all("round", "ended"):
        if event.kind == "ended":
            ended.add(event.digest)
        else:
            assert event.digest not in ended - again, f"{event} of a trial that had ended"
    rounds = [event for event in events.rounds() if event[0] not in again]
    repeated = {event: times for event, times in Counter(rounds).items() if times > 1}
    assert sum(repeated.values()) - len(repeated) <= lost, repeated


def whole_store(runs: list[Run], trials: int = TRIALS, seeds: int = SEEDS) -> None:
    """One study, one arm, every trial once, all of them finished."""
    kinds = Counter(run.data.tags["kind"] for run in runs)
    assert kinds == {"study": 1, "arm": 1, "trial": trials + seeds}
    keys = sorted(
        (run.data.tags["phase"], int(run.data.tags["number"]))
        for run in runs
        if run.data.tags["kind"] == "trial"
    )
    wanted = [("confirm", 1 + n) for n in range(seeds)] + [("search", n) for n in range(trials)]
    assert keys == wanted
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert {run.data.tags.get("status", "finished") for run in runs} == {"finished"}


def nothing_running(place: Place) -> None:
    """A study that was stopped, but could still tell its store, says so of every run."""
    states = {run.info.run_name: run.info.status for run in place.runs()}
    assert "RUNNING" not in states.values(), states
    assert not [run for run in place.trial_runs() if run.data.tags.get("status") == "failed"]
    assert not (place.out / "failures.log").exists()


def tidy(place: Place, damaged: Path | None = None) -> None:
    """One small file for each trial, never more than two of a running one."""
    files = place.trial_files()
    assert len(files) == TRIALS + SEEDS, files
    for path in files:
        assert path == damaged or not load_artefact(path)[0], f"{path} holds parameters"
    assert max((event.files for event in place.events.all("saving")), default=1) <= 2


def every_round_once(place: Place) -> None:
    """An undisturbed study."""
    rounds = place.events.rounds()
    assert len(rounds) == len(set(rounds)) == ALL_ROUNDS
