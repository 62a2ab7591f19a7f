"""Eight studies that log into one SQLite store at once: is every record there, and no failure?

    python tests/benchmarks/store_writers.py [seconds=600] [writers=8]

Runs twice, half the time each: every process its own experiment, then all in one. A writer logs
trials as fast as its queue takes them (a study does one in seconds); afterwards every trial,
record and value that was handed to a tracker is looked up in the database.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RECORDS, AHEAD = 4, 8  # records a trial; trials that a writer may be ahead of the store


def value(writer: int, trial: int, record: int) -> float:
    """A number that no other record has."""
    return writer + trial / 1e4 + record / 1e7


def write(uri: str, experiment: str, writer: int, seconds: float, gate: Any, out: Path) -> None:
    """One study: trials until the time is over; notes how many, and what close() said."""
    from fl_core.study import environment

    environment.before_mlflow()
    from fl_core.config.trial_config import TrialConfig
    from fl_core.study.jobs import Arm, Job
    from fl_core.study.tracking.tracker import Tracker

    arm = Arm("iid", {}, TrialConfig())
    gate.wait()  # all open the fresh store at once
    began = time.monotonic()
    tracker = Tracker(uri, experiment)
    tracker.open(f"study{writer}", {"study": experiment, "preset": "p", "arms": "[{}]"}, [arm])
    opened = time.monotonic() - began
    end, trial = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        job = Job("search", 0, trial, arm.config.override({"seed": trial}), {"seed": trial})
        tracker.job_started(job)
        for record in range(RECORDS):
            tracker.job_record(job, {"local_steps": record, "score": value(writer, trial, record)})
        tracker.job_ended(job, "finished", "")
        trial += 1
        while tracker._writer.waiting() > AHEAD * (RECORDS + 2) and time.monotonic() < end:
            time.sleep(0.05)
    began = time.monotonic()
    warning = tracker.close("FINISHED")
    note = {"trials": trial, "warning": warning, "open": opened, "drain": time.monotonic() - began}
    (out / f"{writer}.json").write_text(json.dumps(note))


def missing(database: Path, writers: int, counts: list[int]) -> list[str]:
    """What was written and is not in the store exactly once."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        ended = db.execute(
            "SELECT d.value, n.value, r.run_uuid, r.status FROM runs r"
            " JOIN tags k ON k.run_uuid = r.run_uuid AND k.key = 'kind' AND k.value = 'trial'"
            " JOIN tags d ON d.run_uuid = r.run_uuid AND d.key = 'study_digest'"
            " JOIN tags n ON n.run_uuid = r.run_uuid AND n.key = 'number'"
        ).fetchall()
        scores: dict[str, list[tuple[int, float]]] = {}
        for run, step, number in db.execute(
            "SELECT run_uuid, step, value FROM metrics WHERE key = 'score' ORDER BY step"
        ):
            scores.setdefault(run, []).append((step, number))
    wanted = {
        (f"study{w}", str(t)): [(r, value(w, t, r)) for r in range(RECORDS)]
        for w in range(writers)
        for t in range(counts[w])
    }
    faults = [] if len(ended) == len(wanted) else [f"{len(ended)} runs for {len(wanted)} trials"]
    for study, number, run, status in ended:
        found = scores.get(run, [])
        if status != "FINISHED" or found != wanted.pop((study, number), None):
            faults.append(f"{study} #{number}: {status} {found}")
    return faults + [f"{key}: not there" for key in wanted]


def measure(folder: Path, seconds: float, writers: int, shared: bool) -> dict[str, Any]:
    """Run the writers on a fresh store; what they wrote, and what is wrong with it."""
    context = multiprocessing.get_context("forkserver")
    # imports once, not once a process
    context.set_forkserver_preload(
        ["fl_core.study.tracking.tracker", "mlflow.store.tracking.sqlalchemy_store"]
    )
    gate, uri = context.Barrier(writers), f"sqlite:///{folder}/mlflow.db"
    names = ["all" if shared else f"study{w}" for w in range(writers)]
    processes = [
        context.Process(target=write, args=(uri, names[w], w, seconds, gate, folder))
        for w in range(writers)
    ]
    started = time.perf_counter()
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    codes = [process.exitcode for process in processes if process.exitcode]
    if codes:
        return {"faults": [f"exit codes {codes}"], "trials": 0, "warnings": []}
    notes = [json.loads((folder / f"{w}.json").read_text()) for w in range(writers)]
    counts = [note["trials"] for note in notes]
    return {
        "trials": sum(counts),
        "fewest": min(counts),
        "records": sum(counts) * RECORDS,
        "warnings": [note["warning"] for note in notes if note["warning"]],
        "faults": missing(folder / "mlflow.db", writers, counts),
        "megabytes": round((folder / "mlflow.db").stat().st_size / 1e6, 1),
        "longest_open": round(max(note["open"] for note in notes), 1),
        "longest_drain": round(max(note["drain"] for note in notes), 1),
        "seconds": round(time.perf_counter() - started, 1),
    }


def main() -> None:
    """Print what each variant wrote and lost; exit code 1 if anything is missing."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    writers = int(sys.argv[2]) if len(sys.argv) > 2 else 8
    faulty = False
    for shared in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            found = measure(Path(folder), seconds / 2, writers, shared)
        print("one experiment" if shared else "own experiments", json.dumps(found), flush=True)
        faulty |= bool(found["faults"] or found["warnings"])
    raise SystemExit(int(faulty))


if __name__ == "__main__":
    main()
