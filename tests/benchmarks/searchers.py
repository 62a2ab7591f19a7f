"""Which searcher and scheduler find good hyper-parameters with the same number of local steps?

    python tests/benchmarks/searchers.py --repeats 5 --trials 8

One arm of studies/fedavg_noniid.py (`--arm`) on the embedded features: each combination searches
until it has spent the local steps of `--trials` full trials, `--repeats` times with
another seed of search and data. Printed: the best validation accuracy of a trial that ran to its
end (what a study could choose), after a quarter, a half and all of the budget: median, least and
most over the repeats. One process without Ray, so the result does not depend on the machine.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from fl_core.base.machine import Machine  # noqa: E402
from fl_core.study.jobs import SCORE, TIME  # noqa: E402
from fl_core.study.plan import Plan  # noqa: E402
from fl_core.study.resolved import resolve  # noqa: E402
from fl_core.study.search.search import Search  # noqa: E402
from fl_core.study.trial_files import Places  # noqa: E402
from fl_core.study.workers.run_job import run_job  # noqa: E402
from fl_studies.fedavg_noniid import STUDY  # noqa: E402

COMBINATIONS = (
    *(("tpe", "asha"), ("random", "asha"), ("nsga2", "asha")),
    *(("tpe", "median"), ("tpe", "none"), ("random", "none")),
)
SHARES = (0.25, 0.5, 1.0)


def race(
    searcher: str, scheduler: str, seed: int, trials: int, cache: Path, name: str
) -> list[float]:
    """The best finished score after each share of the budget; 0 before any trial has finished."""
    preset = STUDY.presets["embedded"]
    study = resolve(STUDY, preset, {"seed": seed})
    (arm,) = (a for a in study.arms if a.name == name)
    budget, spent, best = trials * preset.budget, 0, 0.0
    points: list[tuple[int, float]] = []
    plan = Plan(10**6, seed, searcher, scheduler, preset.eval_steps)
    machine = Machine(cache_dir=cache, threads=1)
    with tempfile.TemporaryDirectory() as folder:
        search = Search([arm], study.space, plan, Path(folder, "j"))
        while spent < budget:
            job = search.next_job()
            assert job is not None
            for record in run_job(job, machine, Places(Path(folder))):
                if search.report(job, record):
                    break
            search.end(job, record)
            spent += int(record[TIME])
            if record["finished"] and spent <= budget:
                best = max(best, record[SCORE])
            points.append((spent, best))
    return [max((b for s, b in points if s <= share * budget), default=0.0) for share in SHARES]


def main() -> None:
    """Run every combination, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--trials", type=int, default=8, help="the budget, in full trials")
    parser.add_argument("--arm", default="N_c=5, J=4", help="its name in the study's table")
    args = parser.parse_args()
    print("searcher  scheduler " + "".join(f"  after {s:4.0%}: median [range]" for s in SHARES))
    with tempfile.TemporaryDirectory() as cache:
        for searcher, scheduler in COMBINATIONS:
            runs = [
                race(searcher, scheduler, seed, args.trials, Path(cache), args.arm)
                for seed in range(args.repeats)
            ]
            cells = [
                f"  {statistics.median(at):.4f} [{min(at):.4f}, {max(at):.4f}]"
                for at in zip(*runs, strict=True)
            ]
            print(f"{searcher:9} {scheduler:10}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
