"""Does this checkout compute what another one computed? Every number, to the last bit.

    python tests/golden/same_numbers.py 10dce81            # against a commit of this repository
    python tests/golden/same_numbers.py 10dce81 --tables   # and the tables of all smoke studies

Both checkouts run here, one after the other, with this interpreter: bits may differ between
machines, so none are stored. Compared are all metrics of every record of the trials below, less
what tells of the machine, and the `table.csv` of every study (`--preset smoke --serial`) in the
columns that both have. A field that has got another name since stands in FORMERLY. What needs
images is left out without FL_DATA_DIR. Exit code 1 where something differs.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import importlib
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
OF_THE_MACHINE = ("seconds_", "images_per_second", "peak_memory_bytes")
#: Today's name of a field -> its name in older checkouts.
FORMERLY: dict[str, str] = {
    "head.local.steps": "head.steps",
    "head.local.lr": "head.lr",
    "head.local.momentum": "head.momentum",
    "head.local.weight_decay": "head.weight_decay",
    "head.local.batch_size": "head.batch_size",
    "compute.precision": "fine_tune.precision",
    "compute.execution": "fine_tune.execution",
    "keep": "fine_tune.keep",
    "patience": "fine_tune.patience",
}

BASE = {"rounds": 6, "eval_every": 2, "local.lr": 0.1}
N_C = {"federation.sharding": "classes", "federation.classes_per_client": 5}
MASK = {"head.method": "ridge", "mask.sparsity": 0.8, "mask.rounds": 2, "mask.examples": 64}
IMAGES = {
    "backbone.weights": "random", "backbone.image_size": 32, "backbone.patch_size": 8,
    "federation.clients": 10, "federation.participation": 0.3, "local.steps": 2,
    "local.batch_size": 8, "rounds": 3, "eval_every": 3, "data.val_fraction": 0.01,
    "data.flip": True, "data.crop": 4,
}  # fmt: skip
TRIALS: dict[str, dict[str, Any]] = {
    "iid": {},
    "one class, sequential": {
        **N_C, "federation.classes_per_client": 1, "local.steps": 16, "server.lr": 0.7,
        "compute.execution": "sequential",
    },
    "five classes": N_C,
    "dirichlet": {"federation.sharding": "dirichlet", "federation.alpha": 0.1},
    "epochs with padding": {
        "federation.clients": 30, "federation.sharding": "dirichlet", "federation.alpha": 0.3,
        "local.unit": "epochs", "local.steps": 2, "local.batch_size": 100,
    },
    "all of SGD": {
        **N_C, "local.momentum": 0.9, "local.nesterov": True, "local.weight_decay": 1e-3,
        "schedule.name": "cosine", "keep": "best",
    },
    "warm-up, dampening, patience": {
        "schedule.name": "warmup_cosine", "local.momentum": 0.5, "local.dampening": 0.2,
        "patience": 1, "rounds": 12,
    },
    "shared mask, least sensitive": {**MASK, **N_C, "mask.rule": "least_sensitive"},
    "shared mask, low magnitude": {**MASK, "mask.rule": "low_magnitude", "local.momentum": 0.9},
    "shared mask of clients' scores": {
        **MASK, "mask.rule": "most_sensitive", "mask.source": "scores", "federation.clients": 10,
        "federation.participation": 0.5, "mask.granularity": "tensor",
    },
    "own masks, senders": {**MASK, **N_C, "mask.rule": "least_sensitive",
                           "mask.scope": "per_client", "local.momentum": 0.9},
    "own masks, all": {**MASK, **N_C, "mask.rule": "hybrid", "mask.hybrid_weight": 0.5,
                       "mask.scope": "per_client", "mask.average": "all",
                       "compute.execution": "sequential"},
    "own masks, random": {**MASK, "mask.rule": "random", "mask.scope": "per_client"},
    "blending": {**N_C, "local.blend": "fisher", "mask.examples": 64, "federation.clients": 20,
                 "federation.participation": 0.3},
    "blending under own masks": {**MASK, **N_C, "local.blend": "fisher", "federation.clients": 20,
                                 "federation.participation": 0.3, "mask.scope": "per_client"},
    "centralised, kept momentum": {
        "federation.clients": 1, "federation.participation": 1.0, "local.momentum": 0.9,
        "local.keep_momentum": True, "local.steps": 30, "local.weight_decay": 1e-4,
    },
    "centralised, kept momentum, mask": {
        **MASK, "mask.rule": "high_magnitude", "mask.sparsity": 0.95, "federation.clients": 1,
        "federation.participation": 1.0, "local.momentum": 0.9, "local.keep_momentum": True,
    },
    "ridge head": {"head.method": "ridge", "head.ridge_lambda": 0.1, **N_C},
    "fedavg head": {"head.method": "fedavg", "head.rounds": 5, "head.local.lr": 0.2,
                    "head.local.momentum": 0.9, "head.local.weight_decay": 1e-4, **N_C},
    "train on everything": {"data.train_on": "train+val"},
    "diverged": {"local.lr": 1e6, "local.weight_decay": 0.1, "rounds": 50},
    "transformer at 32 px": {**IMAGES, "fine_tune.strategy": "full", "local.momentum": 0.9},
    "transformer at 32 px, stacked, sparse": {
        **IMAGES, "fine_tune.strategy": "sparse_full", "mask.sparsity": 0.5, "mask.examples": 16,
        "compute.execution": "stacked", "federation.participation": 0.2,
    },
}  # fmt: skip


def record(target: Path) -> None:
    """Run all trials of the checkout in the current folder; write their records."""
    config_of, machine_of = _found("TrialConfig"), _found("Machine")
    run_trial = _found("run_trial")
    known = config_of().to_flat()
    images = os.environ.get("FL_DATA_DIR")
    found = {}
    with tempfile.TemporaryDirectory() as cache:
        machine = machine_of(data_dir=Path(images or "data"), cache_dir=Path(cache), threads=1)
        for name, values in TRIALS.items():
            if "backbone.weights" in values and not images:
                print(f"left out (no FL_DATA_DIR): {name}", file=sys.stderr)
                continue
            named = {
                field if field in known else FORMERLY[field]: value
                for field, value in {**BASE, **values}.items()
            }
            records = run_trial(config_of().override(named), machine, Path(cache) / "trials")
            found[name] = [_bits(one) for one in records]
    target.write_text(json.dumps(found, indent=1))


def _found(name: str) -> Any:
    """A public name, wherever the checkout keeps it."""
    for module in ("fl_core", "fl_core.config.trial_config", "fl_core.base.machine",
                   "fl_core.trial", "fl_core.config"):  # fmt: skip
        with contextlib.suppress(ImportError, AttributeError):
            return getattr(importlib.import_module(module), name)
    raise SystemExit(f"{name}: not found in this checkout")


def _bits(record: dict[str, Any]) -> dict[str, str]:
    return {
        name: float(value).hex() if not math.isnan(float(value)) else "nan"
        for name, value in record.items()
        if isinstance(value, (int, float)) and not name.startswith(OF_THE_MACHINE)
    }


#: Runs a study's file. A search names its random streams by the arm's digest, and a digest changes
#: with TRIAL_VERSION and with what it hashes: here the arms are numbered as they come instead.
STUDY = """
import importlib, runpy, sys
for name in ("fl_core.study.search.search", "fl_core.search"):
    try:
        search = importlib.import_module(name)
        break
    except ModuleNotFoundError:
        pass
stream, arms = search.stream, {}
def numbered(seed, purpose, *indices):
    return stream(seed, f"sampler-{arms.setdefault(purpose, len(arms))}", *indices)
search.stream = numbered
sys.argv = sys.argv[1:]
sys.path.insert(0, "studies")
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def tables(target: Path) -> None:
    """The table of every study of the checkout in the current folder, at the smoke preset."""
    found = {}
    for study in sorted(Path("studies").glob("[!_]*.py")):
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-c", STUDY, str(study), "--preset", "smoke", "--serial"]
            command += ["--out", out, "--cache-dir", f"{out}/cache"]
            command += ["--tracking-uri", f"sqlite:///{out}/m.db"]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            with (Path(out) / "table.csv").open() as file:
                found[study.stem] = list(csv.DictReader(file))
    target.write_text(json.dumps(found, indent=1))


def compared(mine: Any, theirs: Any, where: str = "") -> list[str]:
    """Where two results differ; names that one of them lacks are told apart."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        lines = [line for name in theirs if name in mine
                 for line in compared(mine[name], theirs[name], f"{where}/{name}")]  # fmt: skip
        missing = sorted(theirs.keys() - mine.keys())
        return lines + [f"{where}/{name}: is no longer there" for name in missing]
    if isinstance(mine, list) and isinstance(theirs, list):
        if len(mine) != len(theirs):
            return [f"{where}: {len(theirs)} entries, now {len(mine)}"]
        return [line for n, (a, b) in enumerate(zip(mine, theirs, strict=True))
                for line in compared(a, b, f"{where}/{n}")]  # fmt: skip
    return [] if mine == theirs else [f"{where}: was {theirs}, is {mine}"]


def run(checkout: Path, what: str, target: Path) -> Any:
    """This script's part `what`, with the code of another folder."""
    env = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).resolve()), f"--{what}-to", str(target)]
    subprocess.run(command, cwd=checkout, env=env, check=True)
    return json.loads(target.read_text())


def main() -> int:
    """Compare this checkout with another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit", nargs="?", help="what to compare with")
    parser.add_argument("--tables", action="store_true", help="the smoke studies' tables, too")
    parser.add_argument("--stored", type=Path, help="keep the other checkout's results here")
    parser.add_argument("--record-to", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tables-to", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.record_to or args.tables_to:
        sys.path.insert(0, os.getcwd())
        (record if args.record_to else tables)(args.record_to or args.tables_to)
        return 0
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        stored = args.stored or Path(scratch)
        stored.mkdir(exist_ok=True, parents=True)
        for what in ("record", "tables") if args.tables else ("record",):
            other = stored / f"{args.commit}-{what}.json"
            if not other.exists():
                tree = Path(scratch) / "other"
                git = ["git", "-C", str(ROOT), "worktree"]
                subprocess.run([*git, "add", "--detach", "-f", str(tree), args.commit], check=True)
                try:
                    run(tree, what, other)
                finally:
                    subprocess.run([*git, "remove", "--force", str(tree)], check=True)
            mine = run(ROOT, what, Path(scratch) / "mine.json")
            theirs = json.loads(other.read_text())
            lines += compared(mine, theirs)
            print(f"{what}: {len(theirs)} compared")
    print("\n".join(lines) or "the same, to the last bit")
    return 1 if lines else 0


if __name__ == "__main__":
    raise SystemExit(main())
