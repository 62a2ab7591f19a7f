"""Real trials of ViT-Ti/16 on CIFAR-100 on one GPU, several at a time, within a time limit.

    python tests/benchmarks/gpu_trials.py --out o --work w --seconds 60 temperature
    python tests/benchmarks/gpu_trials.py --out o --work w --seconds 300 --budget 160 grid
    python tests/benchmarks/gpu_trials.py --out o --work w --seconds 240 --workers 6 masks

temperature: fine-tuning at 64 px from the ridge head with a temperature of 1 and with the fitted
one, the head alone and the whole model, by learning rate. grid: sharding x J at 224 px, the whole
model from the ridge head, T x J = `--budget` local steps; each arm with the same learning rates,
the best by validation, whose test accuracy alone is read. masks: sparsity x rule at 64 px, iid, the
whole model from the ridge head, each seed with a rate chosen on its own validation images.
FL_DATA_DIR and FL_WEIGHTS as for tests.

A trial whose time is over reports its last evaluation, marked as not done.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import queue
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from fl_core.base.machine import Machine
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.models.features import known_weights
from fl_core.stages import prepare
from fl_core.study.environment import KERNELS
from fl_core.trial import Trial

SHARDINGS: dict[str, dict[str, Value]] = {
    "iid": {},
    "N_c=10": {"federation.sharding": "classes", "federation.classes_per_client": 10},
    "N_c=1": {"federation.sharding": "classes", "federation.classes_per_client": 1},
}
BASE: dict[str, Value] = {"head.method": "ridge", "local.batch_size": 64}


class Job(NamedTuple):
    """One trial, or the test set under a trial that is over."""

    arm: str
    lr: float
    values: dict[str, Value]
    test: bool = False


def temperature_jobs(tiny: bool) -> Iterator[Job]:
    """The head alone and the whole model at 64 px, with and without a temperature."""
    for part, rates in {"head": (1e-3, 1e-2, 0.1, 1.0), "full": (1e-3, 3e-3, 1e-2, 3e-2)}.items():
        for lr in rates:
            for temperature in (1.0, "auto"):
                rounds = 2 if tiny else {"head": 100, "full": 50}[part]
                yield Job(f"{part}, T={temperature}", lr, {
                    **BASE, "backbone.image_size": 32 if tiny else 64,
                    "fine_tune.strategy": part, "local.lr": lr,
                    "head.temperature": temperature, "rounds": rounds, "eval_every": rounds // 2,
                    "local.momentum": 0.9 if part == "full" else 0.0,
                })  # fmt: skip


def grid_jobs(budget: int, tiny: bool) -> Iterator[Job]:
    """Sharding x J at 224 px; the middle rate of every arm first, masks and T=1 last."""
    arms: dict[str, dict[str, Value]] = {
        f"{name}, J={steps}": {**sharding, "local.steps": steps, "fine_tune.strategy": "full"}
        for name, sharding in SHARDINGS.items() for steps in (4, 16)
    }  # fmt: skip
    sparse = {"fine_tune.strategy": "head_then_sparse_backbone", "mask.sparsity": 0.9,
              "mask.rounds": 4}  # fmt: skip
    more: dict[str, dict[str, Value]] = {
        "iid, J=4, T=1": {**arms["iid, J=4"], "head.temperature": 1.0},
        "iid, J=4, sparse backbone": {**arms["iid, J=4"], **sparse},
        "N_c=10, J=4, sparse backbone": {**arms["N_c=10, J=4"], **sparse},
    }
    order = [(name, arm, lr) for lr in (2e-3, 5e-4, 8e-3) for name, arm in arms.items()]
    order += [(name, arm, lr) for lr in (2e-3, 8e-3) for name, arm in more.items()]
    for name, arm, lr in order:
        rounds = 2 if tiny else budget // int(str(arm["local.steps"]))
        yield Job(name, lr, {
            **BASE, "backbone.image_size": 32 if tiny else 224, "local.momentum": 0.9,
            "rounds": rounds, "eval_every": max(1, rounds // 2), "local.lr": lr,
            "compute.precision": "float32" if tiny else "bfloat16", **arm,
        })  # fmt: skip


def mask_jobs(tiny: bool) -> Iterator[Job]:
    """Sparsity x rule at 64 px, seed by seed; then calibration rounds at the highest sparsity."""
    rules = ("least_sensitive", "most_sensitive", "low_magnitude", "random")
    arms: dict[str, dict[str, Value]] = {"dense": {"fine_tune.strategy": "full"}}
    arms |= {
        f"{rule} {sparsity:g}": {"mask.rule": rule, "mask.sparsity": sparsity}
        for sparsity in (0.9, 0.5, 0.99) for rule in rules
    }  # fmt: skip
    arms |= {
        f"{rule} 0.9, R=4": {"mask.rule": rule, "mask.sparsity": 0.9, "mask.rounds": 4}
        for rule in rules[:2]
    }
    for seed in range(3):
        for name, arm in arms.items():
            for lr in (1e-2, 3e-2):
                rounds = 2 if tiny else 50
                yield Job(f"{name} seed {seed}", lr, {
                    **BASE, "backbone.image_size": 32 if tiny else 64, "local.momentum": 0.9,
                    "fine_tune.strategy": "sparse_full", "head.temperature": 1.0, "seed": seed,
                    "rounds": rounds, "eval_every": rounds // 2, "local.lr": lr, **arm,
                })  # fmt: skip


def run(job: Job, machine: Machine, folder: Path, deadline: float) -> dict[str, Any]:
    """The trial's last record, or its test accuracy."""
    config = TrialConfig().override(job.values)
    trial = Trial(config, machine, folder)
    found: dict[str, Any] = {"arm": job.arm, "lr": job.lr, "test": job.test}
    begin = time.monotonic()
    if job.test:
        metrics, _ = trial.test_metrics()
        return {**found, **{n: metrics[n] for n in ("test_accuracy", "test_loss")}}
    curve: list[float] = []
    for record in trial.records():
        curve.append(record.get("val_accuracy", float("nan")))
        kept = ("round", "local_steps", "val_accuracy", "val_loss", "train_loss", "done",
                "diverged", "images_per_second", "client_drift")  # fmt: skip
        found |= {name: record[name] for name in kept if name in record}
        if time.time() > deadline:
            break
    return {**found, "curve": curve, "seconds": time.monotonic() - begin}


def worker(todo: Any, done: Any, machine: Machine, folder: Path, deadline: float) -> None:
    """Take jobs until there is None."""
    for job in iter(todo.get, None):
        if time.time() > deadline and not job.test:
            done.put({"arm": job.arm, "lr": job.lr, "test": False, "error": "no time left"})
            continue
        try:
            done.put(run(job, machine, folder, deadline))
        except Exception as error:
            done.put({"arm": job.arm, "lr": job.lr, "test": job.test, "error": repr(error)[:300]})


def study(jobs: list[Job], args: argparse.Namespace, machine: Machine) -> list[dict[str, Any]]:
    """Every job's result, written as it comes; of each arm the best's test accuracy."""
    context = multiprocessing.get_context("spawn")
    todo, done = context.Queue(), context.Queue()
    given = (todo, done, machine, args.work / "trials", time.time() + args.seconds)
    workers = [context.Process(target=worker, args=given, daemon=True) for _ in range(args.workers)]
    for one in workers:
        one.start()
    left = {job.arm: [one for one in jobs if one.arm == job.arm] for job in jobs}
    for job in jobs:
        todo.put(job)
    results: list[dict[str, Any]] = []
    waiting = len(jobs)
    while waiting and time.time() < given[-1] + args.grace:
        try:
            found = done.get(timeout=1)
        except queue.Empty:
            continue
        waiting -= 1
        results.append(found)
        line = json.dumps({"study": args.study, "budget": args.budget, **found})
        print(line, flush=True)
        with (args.out / "trials.jsonl").open("a") as file:
            file.write(line + "\n")
        own = [r for r in results if r["arm"] == found["arm"] and not r["test"]]
        if not found["test"] and len(own) == len(left[found["arm"]]):
            scored = [r for r in own if r.get("val_accuracy", -1) >= 0]
            if scored:
                best = max(scored, key=lambda r: r["val_accuracy"])["lr"]
                todo.put(next(j for j in left[found["arm"]] if j.lr == best)._replace(test=True))
                waiting += 1
    for one in workers:
        one.kill()
    return results


def table(results: list[dict[str, Any]]) -> str:
    """Arms by learning rate: validation accuracy in percent; test accuracy of the best."""
    rates = sorted({r["lr"] for r in results})
    lines = ["| arm | " + " | ".join(f"lr {lr:g}" for lr in rates) + " | test of the best |",
             "|---" * (len(rates) + 2) + "|"]  # fmt: skip
    for arm in dict.fromkeys(r["arm"] for r in results):
        own = {r["lr"]: r for r in results if r["arm"] == arm and not r["test"]}
        cells = []
        for lr in rates:
            value = own.get(lr, {}).get("val_accuracy")
            mark = "" if own.get(lr, {}).get("done") else "*"
            cells.append("" if value is None else f"{100 * value:.1f}{mark}")
        tests = [r["test_accuracy"] for r in results if r["arm"] == arm and "test_accuracy" in r]
        cells.append(f"{100 * tests[0]:.1f}" if tests else "")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run one study."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("study", choices=("temperature", "grid", "masks"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="features, masks, checkpoints")
    parser.add_argument("--seconds", type=float, required=True, help="no trial goes on after that")
    parser.add_argument("--grace", type=float, default=15, help="seconds for what is under way")
    parser.add_argument("--budget", type=int, default=160, help="T x J of the grid")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a dry run: few rounds, small images")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    weights = Path(os.environ["FL_WEIGHTS"])
    BASE["backbone.weights"] = known_weights(weights)
    folder = args.work / "cache"
    machine = Machine(args.device, Path(os.environ["FL_DATA_DIR"]), folder, weights, threads=1)
    makers = {
        "temperature": temperature_jobs,
        "grid": partial(grid_jobs, args.budget),
        "masks": mask_jobs,
    }
    jobs = list(makers[args.study](args.tiny))
    jobs = jobs[::5] if args.tiny else jobs
    prepare(TrialConfig().override(jobs[0].values), machine)  # features once, for all
    print(table(study(jobs, args, machine)), flush=True)


if __name__ == "__main__":
    os.environ.update({**KERNELS, **os.environ})
    main()
