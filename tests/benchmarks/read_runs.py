"""How long a study of many runs takes to read: `read_study` and `final_table` in a fresh process.

    python tests/benchmarks/read_runs.py                  # 10,000 trial runs
    python tests/benchmarks/read_runs.py --studies 5      # four more studies of that size beside it
    python tests/benchmarks/read_runs.py --tables         # as text too, of every study
    python tests/benchmarks/read_runs.py --client         # all through MLflow's client

Prints one line of JSON: seconds (whole process, imports included), cpu_seconds (what it would take
alone on the machine), peak_mib, calls of MLflow's API by name, runs. The goal: under 20 s and 1 GiB
for 10,000 runs, and no call per run.

Runs have 50 parameters, 25 metrics and 12 tags each, like the tracker's. The store is
made by MLflow itself; rows are inserted in bulk, since the client needs a minute a thousand runs:
tests/analysis/test_many_runs.py compares the two.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "analysis"))

from bulk_store import Run, write_bulk  # noqa: E402

SEEDS, FINALISTS, CLOCK = 5, 3, 1_700_000_000_000
SPACE: dict[str, Any] = {
    "local.lr": {"low": 1e-3, "high": 1.0, "log": True},
    "local.momentum": {"low": 0.0, "high": 0.95, "log": False},
    "local.weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
    "local.batch_size": {"choices": [32, 64, 128]},
    "head.method": {"choices": ["none", "ridge"]},
    "head.ridge_lambda": {"low": 1e-3, "high": 1e2, "log": True},
}
PARAMS = {
    **{"data.name": "cifar100", "data.train_on": "train", "backbone.name": "vit_tiny_patch16_224"},
    **{"backbone.tag": "augreg_in21k_ft_in1k", "backbone.weights": "pretrained"},
    **{"backbone.image_size": "224", "federation.clients": "100", "federation.alpha": "None"},
    **{"federation.participation": "0.1", "local.unit": "steps", "local.lr": "0.1"},
    **{"local.momentum": "0.0", "local.weight_decay": "0.0", "local.batch_size": "64"},
    **{"head.method": "none", "head.ridge_lambda": "1.0", "fine_tune.strategy": "head"},
    **{"rounds": "100", "eval_every": "5", "seed": "0"},
}
COUNT = 50  # parameters; what is missing is filled up
METRICS = (
    *("score", "val_accuracy", "val_loss", "train_loss", "client_drift", "client_drift_active"),
    *("round", "local_steps", "bytes_up", "bytes_down", "bytes_up_round", "bytes_down_round"),
    *("seconds_train", "seconds_eval", "seconds_overhead", "images_per_second"),
    *("peak_memory_bytes", "client_accuracy_worst", "client_accuracy_best", "messages_up"),
    *("client_accuracy_std", "messages_down", "bytes_up_dense", "bytes_down_dense", "mask_excess"),
)


def arms(count: int = 15) -> list[dict[str, Any]]:
    """N_c x J."""
    shards = (None, 50, 10, 5, 1)
    made = [
        {"federation.sharding": "classes" if n else "iid", "federation.classes_per_client": n,
         "local.steps": j} for n in shards for j in (4, 8, 16)
    ]  # fmt: skip
    return made[:count]


def study_runs(trials: int, name: str = "many", count: int = 15) -> Iterator[Run]:
    """A study of `trials` trial runs, confirmation runs among them, one a millisecond."""
    for place, run in enumerate(_study_runs(trials, name, count)):
        yield replace(run, start=CLOCK + place)


def _study_runs(trials: int, name: str, count: int) -> Iterator[Run]:
    rng = random.Random(name)
    settings, confirmed = arms(count), FINALISTS * SEEDS
    budget = trials // count - confirmed
    tags: dict[str, Any] = {"kind": "study", "study": name, "preset": "embedded", "space": SPACE}
    tags |= {"arms": settings, "seeds": list(range(1, SEEDS + 1)), "trials": budget}
    tags |= {"finalists": FINALISTS, "objectives": [], "git_commit": "0" * 7, "device": "cpu"}
    text = {k: v if isinstance(v, str) else json.dumps(v) for k, v in tags.items()}
    yield Run("study", None, 0, {**text, "study_digest": name})
    for number, setting in enumerate(settings):
        fixed = {**PARAMS, **{k: str(v) for k, v in setting.items()}}
        fixed |= {f"filler.field_{i}": str(i / 7) for i in range(COUNT - len(fixed))}
        own = {"arm": json.dumps(setting), "arm_name": f"arm {number}", "study_digest": name}
        own |= {"arm_digest": f"{number:016x}"}
        yield Run(f"arm{number}", "study", 0, {"kind": "arm", **own}, fixed)
        made = [_trial(rng, number, t, own, fixed) for t in range(budget)]
        yield from made
        best = sorted(made, key=lambda r: -r.metrics["score"])[:FINALISTS]
        for rank, finalist in enumerate(best):
            for seed in range(1, SEEDS + 1):
                yield _confirmation(rng, finalist, f"{number}.{rank}.{seed}", seed)


def _trial(
    rng: random.Random, arm: int, number: int, own: dict[str, str], fixed: dict[str, str]
) -> Run:
    chosen: dict[str, Any] = {
        "local.lr": 10 ** rng.uniform(-3, 0),
        "local.momentum": rng.uniform(0, 0.95),
        "local.weight_decay": 10 ** rng.uniform(-6, -2),
        "local.batch_size": rng.choice([32, 64, 128]),
        "head.method": rng.choice(["none", "ridge"]),
    }
    if chosen["head.method"] == "ridge":
        chosen["head.ridge_lambda"] = 10 ** rng.uniform(-3, 2)
    tags = {"kind": "trial", "phase": "search", "status": "finished", "number": str(number), **own}
    tags |= {"digest": f"{rng.getrandbits(64):016x}", "chosen": json.dumps(chosen)}
    params = {**fixed, **{k: str(v) for k, v in chosen.items()}}
    metrics = {name: rng.random() for name in METRICS}
    return Run(f"t{arm}.{number}", f"arm{arm}", 0, tags, params, metrics)


def _confirmation(rng: random.Random, trial: Run, key: str, seed: int) -> Run:
    tags = {**trial.tags, "phase": "confirm", "number": str(seed), "digest": f"c{key}"}
    noisy = {name: rng.random() for name in METRICS}
    metrics = {**noisy, "score": trial.metrics["score"] - rng.random() / 50}
    metrics |= {"test_accuracy": metrics["score"] - 0.01, "test_loss": 1.0}
    params = {**trial.params, "seed": str(seed)}
    return Run(f"c{key}", trial.parent, 0, tags, params, metrics)


#: The measured process: what a user's command does, with MLflow's calls counted.
CODE = """
import collections, json, resource, sys, time
started = time.perf_counter()
import mlflow
calls = collections.Counter()
for name in ("search_runs", "get_run", "get_metric_history", "search_experiments"):
    def counted(self, *args, _name=name, _plain=getattr(mlflow.MlflowClient, name), **kwargs):
        calls[_name] += 1
        return _plain(self, *args, **kwargs)
    setattr(mlflow.MlflowClient, name, counted)
imported = time.perf_counter()
from fl_analysis.reading import sqlite_runs, store
from fl_analysis.tables import final as tables, render
uri, text, *names = sys.argv[1:]
if text == "client":
    sqlite_runs.readable = lambda uri: False
total = 0
for name in names:
    runs = store.read_study(uri, name)
    read = time.perf_counter()
    table = tables.final_table(runs)
    if text == "tables":
        render.markdown(name, tables.blocks(runs)), tables.table_csv(runs)
    total += len(runs.trials)
    assert table["test_accuracy_mean"].notna().all()
ended = time.perf_counter()
print(json.dumps({
    "seconds": round(ended - started, 2), "cpu_seconds": round(time.process_time(), 2),
    "import_mlflow": round(imported - started, 2),
    "read": round(read - imported, 2), "table": round(ended - read, 2),
    "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    "calls": calls, "runs": total,
}))
"""


def measure(uri: str, names: Sequence[str], text: str = "frame") -> dict[str, Any]:
    """Time, memory and calls of a fresh process that reads these studies.

    `text`: "tables" makes them as text too, "client" never reads the file directly.
    """
    done = subprocess.run(
        [sys.executable, "-c", CODE, uri, text, *names],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout))


def main() -> None:
    """Builds the store, measures, prints."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000, help="trial runs of each study")
    parser.add_argument("--studies", type=int, default=1)
    parser.add_argument("--tables", action="store_true", help="all studies, tables as text too")
    parser.add_argument("--client", action="store_true", help="all through MLflow's client")
    parser.add_argument("--keep", type=Path, help="a folder for the store, used again if it exists")
    args = parser.parse_args()
    names = [f"many{i}" for i in range(args.studies)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "mlflow.db"
        if not file.exists():
            for name in names:
                write_bulk(file, name, study_runs(args.runs, name))
        text = "tables" if args.tables else "client" if args.client else "frame"
        found = measure(f"sqlite:///{file}", names if args.tables else names[:1], text)
        print(json.dumps(found))


if __name__ == "__main__":
    main()
