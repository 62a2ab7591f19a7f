"""What somebody who waits for a study sees, and when; and whether the time left was true.

    python tests/benchmarks/first_byte.py [study options, e.g. --preset smoke --serial]

A fresh folder and a fresh store. Prints the seconds to the first byte, to the line that says what
the study is doing, to the first result and to the end, and beside them the CPU time of the study's
own process until then, which a busy machine changes little; then the estimates of the time left
over what really was left until the last trial ended: their median, the smallest and the largest,
the last tenth of the run apart.
"""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDY = Path(__file__).parents[2] / "studies/fedavg_noniid.py"
UNITS = {"s": 1, "min": 60, "h": 3600}


def seconds(text: str) -> float:
    """The time in a line such as "about 1 h 20 min left", in seconds."""
    return sum(int(n) * UNITS[unit] for n, unit in re.findall(r"(\d+) (s|min|h)\b", text))


def cpu_seconds(pid: int) -> float:
    """User and system time of one process (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        where = ["--out", "out", "--cache-dir", "cache", "--tracking-uri", "sqlite:///mlflow.db"]
        start = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-u", str(STUDY), *sys.argv[1:], *where],
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        moments: dict[str, tuple[float, float]] = {}
        said: list[tuple[float, float]] = []
        last = 0.0
        for line in process.stdout:
            now = time.monotonic() - start
            print(f"{now:7.1f}  {line}", end="")
            happened = ["first byte"]
            happened += ["what it is doing"] if line.rstrip().endswith("...") else []
            happened += ["first result"] if "best val_accuracy" in line else []
            for name in happened:
                moments.setdefault(name, (now, cpu_seconds(process.pid)))
            if re.match(r"(search|confirm) \d", line):
                last = now
                if found := re.search(r"about (.*) left", line):
                    said.append((now, seconds(found[1])))
        process.wait()
    print(f"\nexit code {process.returncode} after {time.monotonic() - start:.1f} s")
    for name, (wall, cpu) in moments.items():
        print(f"{name}: {wall:.1f} s ({cpu:.1f} s of CPU)")
    ratios = [left / (last - now) for now, left in said if last - now > 0.1 * last]
    if ratios:
        middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
        print(f"time left, said / real: median {middle:.2f}, {low:.2f} to {high:.2f}")


if __name__ == "__main__":
    main()
