"""Milliseconds per round of head training: a naive loop, our sequential one, our stacked one.

    python tests/benchmarks/head_round.py --threads 1

K = 100, C = 0.1, J = 4, batch 64, 384 -> 100 on random features. The three take turns in one
process, so that a noisy machine is noisy to all of them; median and minimum over the repeats.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from fl_core.base.machine import Machine
from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import FeatureSource
from fl_core.federated.rounds import fedavg
from fl_core.federated.state import Federation, State
from fl_core.trial import set_up_torch

WIDTH, CLASSES = 384, 100


def naive(config: TrialConfig, fed: Federation, rounds: int) -> torch.Tensor:
    """What one writes first: a copy of the model and an optimiser per client, in turn."""
    local, features, labels = config.local, fed.train.features, fed.train.labels  # type: ignore[attr-defined]
    server = nn.Linear(WIDTH, CLASSES)
    nn.init.zeros_(server.weight)
    nn.init.zeros_(server.bias)
    rng = np.random.default_rng(0)
    for _ in range(rounds):
        sampled = rng.choice(
            len(fed.shards), round(config.federation.participation * len(fed.shards)), replace=False
        )
        total = sum(len(fed.shards[client]) for client in sampled)
        mean = {name: torch.zeros_like(value) for name, value in server.state_dict().items()}
        for client in sampled:
            model = copy.deepcopy(server)
            optimiser = torch.optim.SGD(model.parameters(), local.lr, local.momentum)
            order = torch.from_numpy(rng.permutation(fed.shards[client]))
            for indices in order.split(local.batch_size)[: local.steps]:
                optimiser.zero_grad()
                F.cross_entropy(model(features[indices]), labels[indices]).backward()
                optimiser.step()
            for name, value in model.state_dict().items():
                mean[name] += value * (len(fed.shards[client]) / total)
        server.load_state_dict(mean)
    return server.weight.detach()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of one timing")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    set_up_torch(Machine(args.device, threads=args.threads))  # as a trial does
    rng = stream(0, "features")
    features = torch.from_numpy(rng.standard_normal((45_000, WIDTH), dtype=np.float32))
    labels = torch.from_numpy(rng.integers(0, CLASSES, 45_000))
    source = FeatureSource(features.to(args.device), labels.to(args.device))
    shards = np.array_split(rng.permutation(45_000), 100)
    model = nn.Linear(WIDTH, CLASSES).to(args.device)
    fed = Federation(FlatModule(model), source, None, shards, np.ones((100, CLASSES)))
    base = TrialConfig().override(
        {"local.momentum": args.momentum, "rounds": args.rounds, "eval_every": args.rounds}
    )

    def ours(execution: str) -> Callable[[], object]:
        config = base.override({"compute.execution": execution})
        start = torch.zeros(fed.model.layout.size, device=args.device)
        return lambda: list(fedavg(config, fed, State(start)))

    ways: dict[str, Callable[[], object]] = {
        "sequential": ours("sequential"),
        "stacked": ours("stacked"),
    }
    if args.device == "cpu":
        ways = {"naive": lambda: naive(base, fed, args.rounds), **ways}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(args.repeats + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            if repeat:  # the first is a warm-up
                times[name].append(1000 * (time.perf_counter() - start) / args.rounds)
    print(f"{args.device}, {args.threads} thread(s), torch {torch.__version__}: ms per round")
    first = statistics.median(next(iter(times.values())))
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:>12}  median {median:8.2f}  min {min(values):8.2f}  x{first / median:.2f}")


if __name__ == "__main__":
    main()
