"""A thousand trials of a second: what does everything beside training and evaluation cost?

    python tests/benchmarks/thousand_trials.py --trials 1000

Runs a study of one arm (the linear head on embedded features, about a second a trial) through Ray
Tune with all cores in a process of its own, and prints: wall time, the share of (workers x wall)
that was neither training nor evaluation, the driver's memory at the tenth trial, at the last and at
its end, which loads the libraries that draw, size of the study's folder, and how long MLflow takes
for the page of runs a user opens.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from mlflow import MlflowClient

ROOT = Path(__file__).parents[2]
STEPS = ("--set", "rounds=60", "--set", "eval_every=10")


def watched(process: subprocess.Popen[bytes], trials: Path) -> list[tuple[int, float]]:
    """(ended trials, resident bytes of the driver), once a second."""
    seen: list[tuple[int, float]] = []

    def watch() -> None:
        driver = psutil.Process(process.pid)
        while process.poll() is None:
            count = sum(1 for _ in os.scandir(trials)) if trials.exists() else 0
            seen.append((count, float(driver.memory_info().rss)))
            time.sleep(1)

    threading.Thread(target=watch, daemon=True).start()
    process.wait()
    return seen


def size_of(folder: Path) -> int:
    """Bytes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Run the study, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--scheduler", default="none")
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        uri = f"sqlite:///{folder}/mlflow.db"
        command = [sys.executable, str(ROOT / "studies/fedavg_iid.py"), "--preset", "smoke",
                   "--trials", str(args.trials), "--seeds", "1", "--scheduler", args.scheduler,
                   "--out", str(folder / "out"), "--cache-dir", str(folder / "cache"),
                   "--tracking-uri", uri, *STEPS]  # fmt: skip
        started = time.monotonic()
        seen = watched(subprocess.Popen(command), folder / "out" / "trials")
        wall = time.monotonic() - started
        client = MlflowClient(uri)
        (experiment,) = (e for e in client.search_experiments() if e.name == "fedavg_iid")
        runs, token = [], ""
        while token is not None:
            page = client.search_runs([experiment.experiment_id], page_token=token)
            runs += page
            token = page.token or None
        work = sum(
            run.data.metrics.get("seconds_train", 0) + run.data.metrics.get("seconds_eval", 0)
            for run in runs
        )
        clock = time.monotonic()
        client.search_runs([experiment.experiment_id], max_results=100)
        paged = time.monotonic() - clock
        searching = [memory for count, memory in seen if 10 <= count <= args.trials]
        print(f"{len(runs)} runs, wall {wall:.0f} s, {cores} workers")
        print(f"training and evaluation {work:.0f} s, overhead {1 - work / (cores * wall):.1%}")
        print(
            f"driver's memory {searching[0] / 1e6:.0f} -> {searching[-1] / 1e6:.0f} MB in the "
            f"search, at most {max(memory for _, memory in seen) / 1e6:.0f} MB to its end"
        )
        print(f"study folder {size_of(folder / 'out') / 1e6:.1f} MB, "
              f"store {(folder / 'mlflow.db').stat().st_size / 1e6:.1f} MB, "
              f"a page of 100 runs {paged:.2f} s")  # fmt: skip


if __name__ == "__main__":
    main()
