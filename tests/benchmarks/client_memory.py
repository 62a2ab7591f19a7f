r"""Memory and checkpoints of SCAFFOLD on ViT-Ti with 100 clients, each of which keeps 5.4 M floats.

    python tests/benchmarks/client_memory.py --rounds 30
    python tests/benchmarks/client_memory.py --rounds 6 --blend fisher \
        --backbone vit_small_patch16_224

2.2 GB of control variates once most clients took part, one checkpoint after every round. Prints
the highest resident memory of this process, what the clients keep, and the bytes and seconds of
each checkpoint; then goes on from the last one as after a kill. Exit code 1 where a checkpoint
wrote more than what changed since the last, or more than 4 GiB were resident. Random images and
random weights, one local step on 4 images: the work does not matter here. With --blend instead
of SCAFFOLD: each client keeps its parameters, and its Fisher information lies in the cache (for
ViT-S 86 MB each, 17 GB of disk for 100 clients).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fl_core import checkpoint, inputs, trial
from fl_core.base.machine import Machine
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.task import Examples
from fl_core.federated import memory, memory_entry
from fl_core.federated.account import peak_memory_bytes

GIB, MB = 2**30, 1e6
ALLOWED = 4 * GIB


class Meter:
    """Calls of a function: how long each took, and the paths that they wrote."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self.seconds: list[float] = []
        self.paths: list[Path] = []
        self._call = call

    def __call__(self, path: Path, *args: Any) -> Any:
        begin = time.perf_counter()
        result = self._call(path, *args)
        self.seconds.append(time.perf_counter() - begin)
        self.paths.append(path)
        return result


def random_images(count: int) -> Examples:
    """As CIFAR-100 has them."""
    rng = stream(0, "images")
    pixels = torch.from_numpy(rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8))
    return Examples(pixels, torch.from_numpy(rng.integers(0, 100, count)))


def resident() -> int:
    """Bytes of this process in memory now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--limit-mib", type=int, default=memory.LIMIT // 2**20)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--blend", choices=["none", "fisher", "fisher_all"], default="none")
    parser.add_argument("--backbone", default="vit_tiny_patch16_224")
    args = parser.parse_args()
    memory.LIMIT = args.limit_mib * 2**20
    config = TrialConfig().override(
        {
            "backbone.weights": "random", "backbone.image_size": 32, "backbone.patch_size": 8,
            "federation.clients": args.clients, "federation.participation": 0.1,
            "rounds": args.rounds, "eval_every": 1, "local.steps": 1,
            "local.rule": "scaffold" if args.blend == "none" else "plain",
            "local.blend": args.blend, "mask.examples": 4, "mask.batch_size": 4,
            "backbone.name": args.backbone, "local.batch_size": 4, "local.lr": 0.01,
            "fine_tune.strategy": "sparse_full",  # dense, and a head that tells the backbone apart
            "data.train_on": "train+val",  # nothing to validate on: rounds and checkpoints alone
        }
    )  # fmt: skip
    images = random_images(50_000)
    inputs.load_examples = lambda *_, **__: images  # type: ignore[assignment]
    checkpoints, files = Meter(trial.save_trial), Meter(memory_entry.save_artefact)
    trial.save_trial, memory_entry.save_artefact = checkpoints, files  # type: ignore[assignment]
    with tempfile.TemporaryDirectory(prefix="fl-benchmark-") as text:
        folder = Path(text)
        machine = Machine(device=args.device, cache_dir=folder / "cache", threads=1)
        print(f"{args.device}, torch {torch.__version__}, limit {args.limit_mib} MiB")
        wrong = run(config, machine, folder / "trials", checkpoints, files)
        again(config, machine, folder / "trials")
        peak = peak_memory_bytes(torch.device("cpu"))
        print(f"highest resident memory {peak / GIB:.2f} GiB of {ALLOWED / GIB:.0f} allowed")
    return int(wrong or peak > ALLOWED)


def run(
    config: TrialConfig, machine: Machine, folder: Path, checkpoints: Meter, files: Meter
) -> bool:
    """Every round with its checkpoint; whether one wrote anything but what changed."""
    path = checkpoint.trial_path(folder, config)
    own = checkpoint.clients_path(path)
    per_round = round(config.federation.participation * config.federation.clients)
    begin, before, wrong = time.perf_counter(), set[str](), False
    print(f"{'round':>5} {'clients':>7} {'on disk MB':>10} {'written':>7} {'MB':>7} "
          f"{'seconds':>7} {'resident MB':>11}")  # fmt: skip
    for done, record in enumerate(trial.run_trial(config, machine, folder)):
        sizes = {path.name: path.stat().st_size for path in own.iterdir()}
        written = [path.name for path in files.paths]
        files.paths.clear()
        # this round's clients, once each: the others' files are those that were there before
        right = [name.split("-")[1] for name in written] == [str(done)] * per_round
        right &= len({name.split("-")[0] for name in written}) == per_round
        right &= sizes.keys() - before == set(written)
        wrong |= not right
        before = set(sizes)
        print(f"{record['round']:>5} {len(sizes):>7} {sum(sizes.values()) / MB:>10.0f} "
              f"{len(written):>7} {sum(sizes[name] for name in written) / MB:>7.0f} "
              f"{checkpoints.seconds[-1]:>7.2f} {resident() / MB:>11.0f}"
              f"{'' if right else '  NOT what changed'}")  # fmt: skip
    print(f"{time.perf_counter() - begin:.0f} s in all, {sum(checkpoints.seconds):.1f} s in "
          f"{len(checkpoints.seconds)} checkpoints, {sum(files.seconds):.1f} s of the clients' "
          f"files, {record['seconds_train']:.0f} s training")  # fmt: skip
    print(f"with each checkpoint {path.stat().st_size / MB:.0f} MB of the server's own")
    return wrong


def again(config: TrialConfig, machine: Machine, folder: Path) -> None:
    """Read the last checkpoint, as after a kill."""
    begin = time.perf_counter()
    _, state = checkpoint.resume_trial(checkpoint.trial_path(folder, config), machine.device)
    assert state is not None
    print(f"{time.perf_counter() - begin:.1f} s to read and check {len(state.clients)} clients")


if __name__ == "__main__":
    sys.exit(main())
