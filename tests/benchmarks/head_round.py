"""Milliseconds per round of head training: a naive loop, our sequential one, our stacked one.

    python tests/benchmarks/head_round.py --threads 1

K = 100, C = 0.1, J = 4, batch 64, 384 -> 100 on random features; --hidden puts a layer of so many
units between. The three take turns in one process, so that a noisy machine is noisy to all of them;
median and minimum over the repeats.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial

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
from fl_core.models.heads import build_head
from fl_core.trial import set_up_torch

CLASSES = 100


def naive(config: TrialConfig, fed: Federation, rounds: int) -> nn.Module:
    """What one writes first: a copy of the model and an optimiser per client, in turn."""
    local, features, labels = config.local, fed.train.features, fed.train.labels  # type: ignore[attr-defined]
    server = build_head(config.head, features.shape[1], CLASSES, seed=0)
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
    return server


def ways_of(
    base: TrialConfig, fed: Federation, prefix: str, device: str
) -> dict[str, Callable[[], object]]:
    """What is timed for one model, by name."""
    start = State(fed.model.flat.clone())
    configs = [base.override({"compute.execution": way}) for way in ("sequential", "stacked")]
    ours = {
        prefix + config.compute.execution: partial(lambda c: list(fedavg(c, fed, start)), config)
        for config in configs
    }
    if device != "cpu":
        return ours
    return {f"{prefix}naive": lambda: naive(base, fed, base.rounds), **ours}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of one timing")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--width", type=int, default=384, help="of the features")
    parser.add_argument("--hidden", type=int, nargs="*", default=[0], help="units; 0: linear")
    parser.add_argument("--norm", choices=("none", "layer"), default="none")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    set_up_torch(Machine(args.device, threads=args.threads))  # as a trial does
    rng = stream(0, "features")
    features = torch.from_numpy(rng.standard_normal((45_000, args.width), dtype=np.float32))
    labels = torch.from_numpy(rng.integers(0, CLASSES, 45_000))
    source = FeatureSource(features.to(args.device), labels.to(args.device))
    shards = np.array_split(rng.permutation(45_000), 100)
    pace = {"local.momentum": args.momentum, "rounds": args.rounds, "eval_every": args.rounds}
    ways: dict[str, Callable[[], object]] = {}
    for hidden in args.hidden:
        own = {"head.hidden": hidden, "head.norm": args.norm if hidden else "none"}
        base = TrialConfig().override({**pace, **own})
        model = FlatModule(build_head(base.head, args.width, CLASSES, seed=0).to(args.device))
        fed = Federation(model, source, None, shards, np.ones((100, CLASSES)))
        ways |= ways_of(base, fed, f"{hidden} " if len(args.hidden) > 1 else "", args.device)
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
        print(f"{name:>16}  median {median:8.2f}  min {min(values):8.2f}  x{first / median:.2f}")


if __name__ == "__main__":
    main()
