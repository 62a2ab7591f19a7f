"""Runs a whole study and says where its time and memory went (Linux).

    python tests/benchmarks/study.py [study options, e.g. --preset smoke]

Prints: seconds to the first trial's result, wall seconds, the share of (workers x wall) that
trials spent training and evaluating, and the peak memory of all its processes (PSS, which counts
shared pages once).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def descendants(root: int) -> list[int]:
    """Process ids below and including `root`."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    family, grown = {root}, True
    while grown:
        new = {child for child, parent in parents.items() if parent in family} - family
        family, grown = family | new, bool(new)
    return sorted(family)


def pss_bytes(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


def main() -> None:
    from fl_analysis.reading.store import read_study

    workers = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        uri = f"sqlite:///{folder}/mlflow.db"
        study = [sys.executable, str(ROOT / "studies/fedavg_noniid.py"), *sys.argv[1:]]
        start = time.monotonic()
        process = subprocess.Popen(
            [*study, "--out", f"{folder}/out", "--tracking-uri", uri], cwd=folder
        )
        first, peak, looked = 0.0, 0, start
        while process.poll() is None:
            if not first and list(Path(folder, "out", "trials").glob("*.safetensors")):
                first = time.monotonic() - start
            if time.monotonic() - looked > 5:  # seldom: the kernel walks all pages for it
                looked = time.monotonic()
                peak = max(peak, sum(map(pss_bytes, descendants(process.pid))))
            time.sleep(0.1)
        wall = time.monotonic() - start
        trials = read_study(uri, "fedavg_noniid").trials
    train, evaluation = trials["seconds_train"].sum(), trials["seconds_eval"].sum()
    print(f"first result after {first:.1f} s, whole study {wall:.1f} s, {len(trials)} trials")
    print(
        f"training {train:.0f} s + evaluation {evaluation:.0f} s of {workers} x {wall:.0f} s: "
        f"{(train + evaluation) / workers / wall:.0%} (training alone {train / workers / wall:.0%})"
    )
    print(f"peak memory {peak / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
