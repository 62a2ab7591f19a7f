"""SIGKILL of a study's whole process group at random moments, the first second of a fresh store
included: does each series end in the table of an undisturbed run?

    python tests/benchmarks/random_kills.py FOLDER --kills 50

A series is one study in a new folder with no store: started, killed, started again ..., until a run
comes to its end by itself. Prints a line a series, and exits with 1 if any table differs.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from faults.place import Place
from faults.running import Ended

WORDS = ("--preset", "smoke", "--serial", "--trials", "3", "--seeds", "1")


@dataclass(frozen=True)
class Series:
    """How often a study was killed before it came to its end, at which seconds, and what of it."""

    kills: tuple[float, ...]
    ended: Ended
    same: bool

    @property
    def good(self) -> bool:
        return self.ended.code == 0 and self.same and "Traceback" not in self.ended.errors


def undisturbed(folder: Path) -> tuple[bytes, float]:
    """The table of a run that nobody kills, and the seconds that it took."""
    place = _new(folder)
    before = time.monotonic()
    place.run()
    return place.table(), time.monotonic() - before


def series(folder: Path, table: bytes, longest: float, most: int, rng: random.Random) -> Series:
    """Kill a study at most so often, each time after at most so many seconds."""
    place, kills = _new(folder), []
    while True:
        with place.start() as study:
            if len(kills) == most:
                ended = study.end()
                break
            # half of the strikes within the start, where the store is set up
            after = rng.uniform(0, longest if rng.random() < 0.5 else longest / 2)
            with suppress(AssertionError):  # still running: that is what we wait for
                ended = study.end(after)
                break
            os.killpg(study.process.pid, signal.SIGKILL)
            study.process.wait()
            kills.append(after)
    same = ended.code == 0 and place.table() == table
    return Series(tuple(kills), ended, same)


def _new(folder: Path) -> Place:
    """Without a store: making it is a part of what is killed."""
    folder.mkdir(parents=True)
    return Place.of(folder, options=WORDS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    table, seconds = undisturbed(args.folder / "undisturbed")
    print(f"undisturbed: {seconds:.0f} s", flush=True)
    left, bad, number = args.kills, 0, 0
    while left > 0:
        found = series(args.folder / f"series{number}", table, seconds, min(left, 8), rng)
        moments = " ".join(f"{moment:.1f}" for moment in found.kills)
        print(f"series {number}: {'the same table' if found.good else found.ended}; {moments}")
        sys.stdout.flush()
        bad += not found.good
        left -= len(found.kills)
        number += 1
    print(f"{args.kills - left} kills in {number} series, {bad} of them with another end")
    raise SystemExit(bool(bad))


if __name__ == "__main__":
    main()
