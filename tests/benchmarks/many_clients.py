"""Time and memory of a round, and of what comes before it, with 100 to 100,000 clients.

    python tests/benchmarks/many_clients.py
    python tests/benchmarks/many_clients.py --set local.rule=scaffold
    python tests/benchmarks/many_clients.py --clients 100000 --profile

A linear head on synthetic features, five training examples a client, ten clients a round: however
many clients there are, a round is the same work, and what grows from line to line is what the loop
around it costs. Each number of clients has a process of its own, one thread, and its processor time
is told: of the set-up (the partition, then all else but the data); of a round, the median over
blocks in the first third of the rounds and in the last. Memory is resident memory: the data, what
the set-up adds to it, and what the rounds add to that. --profile: where a round's time goes.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from client_memory import resident
from torch import Tensor

from fl_core import inputs, stages
from fl_core.base.machine import Machine
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.task import Task
from fl_core.federated.rounds import fedavg
from fl_core.federated.state import Federation, State
from fl_core.models.features import extract_features
from fl_core.trial import set_up_torch

WIDTH, CLASSES, EACH, SAMPLED = 64, 10, 5, 10
MIB = 2**20
COLUMNS = ("clients", "partition s", "set-up s", "first ms", "last ms", "data MiB", "set-up MiB",
           "rounds MiB", "took part")  # fmt: skip


def synthetic(clients: int, folder: Path, *, train: bool) -> tuple[Tensor, Tensor]:
    """Features (N, 64) about the centre of their class, and labels."""
    rng = stream(0, "many clients", int(train))
    count = clients * EACH if train else 100
    labels = rng.integers(0, CLASSES, count)
    centres = stream(0, "centres").standard_normal((CLASSES, WIDTH), dtype=np.float32)
    features = rng.standard_normal((count, WIDTH), dtype=np.float32)
    features += centres[labels]
    return torch.from_numpy(features), torch.from_numpy(labels)


def __getattr__(name: str) -> Task:
    """`many_clients:of_1000`: the examples of so many clients, as `data.name` asks for them."""
    if not name.startswith("of_"):
        raise AttributeError(name)
    return Task(CLASSES, partial(synthetic, int(name.removeprefix("of_"))), inputs="features")


def config_of(clients: int, rounds: int, every: int, settings: Sequence[str]) -> TrialConfig:
    """A trial of so many rounds, without validation."""
    base = TrialConfig().override(
        {
            "data.name": f"many_clients:of_{clients}", "data.train_on": "train+val",
            "federation.clients": clients, "federation.participation": SAMPLED / clients,
            "head.method": "none", "local.steps": 2, "local.batch_size": EACH, "local.lr": 0.05,
            "rounds": rounds, "eval_every": every,
        }
    )  # fmt: skip
    given = dict(setting.split("=", 1) for setting in settings)
    return base.override({name: type(base.to_flat()[name])(v) for name, v in given.items()})


def measure(config: TrialConfig, profile: bool) -> list[float]:
    """A line of the table."""
    machine = Machine(cache_dir=Path("/nowhere"), threads=1)
    set_up_torch(machine)
    start = resident()
    labels = extract_features(config, machine).labels.numpy()  # kept in memory from here on
    loaded = resident()
    begin = time.process_time()
    inputs.partition(config, labels)
    shared = time.process_time()
    fed, state = stages.prepare(config, machine)
    ready, before = time.process_time(), resident()
    if profile:
        profiled(config, fed, state)
    per_round, last = [], time.process_time()
    took_part = 0
    for result in fedavg(config, fed, state):
        now = time.process_time()
        per_round.append(1000 * (now - last) / config.eval_every)
        took_part, last = len(result.state.selected), now
    third = len(per_round) // 3
    return [
        config.federation.clients, shared - begin, ready - shared,
        statistics.median(per_round[1:third]), statistics.median(per_round[-third:]),
        (loaded - start) / MIB, (before - loaded) / MIB, (resident() - before) / MIB,
        took_part,
    ]  # fmt: skip


def profiled(config: TrialConfig, fed: Federation, state: State) -> None:
    """Print where the time of all rounds goes."""
    with cProfile.Profile() as profile:
        for _ in fedavg(config, fed, state):
            pass
    pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def main() -> None:
    """Print the table; `--alone` prints one line of it, in this process."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3000)
    parser.add_argument("--every", type=int, default=100, help="rounds of a block")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--alone", action="store_true")
    args = parser.parse_args()
    if args.alone:
        config = config_of(args.clients[0], args.rounds, args.every, args.set)
        line = measure(config, args.profile)
        print(" ".join(f"{value:>11.6g}" for value in line))
        return
    print(" ".join(f"{name:>11}" for name in COLUMNS), flush=True)
    rest = ["--rounds", str(args.rounds), "--every", str(args.every)]
    rest += [word for setting in args.set for word in ("--set", setting)]
    rest += ["--profile"] if args.profile else []
    for clients in args.clients:
        command = [sys.executable, __file__, "--alone", "--clients", str(clients), *rest]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
