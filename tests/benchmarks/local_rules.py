"""Processor milliseconds of a round with each local rule, and their ratio to plain FedAvg's.

    python tests/benchmarks/local_rules.py --hidden 0      # linear head
    python tests/benchmarks/local_rules.py --hidden 128    # MLP head

K = 100, C = 0.1, J = 4, batch 64, 384 -> 100 on random features. All rules take turns in one
process, from a state in which every client has been there and every past model exists; medians of
the repeats, and of the ratios within a repeat. SCAFFOLD's option 1 goes over all of a client's
examples in every round, so that it is no matter of the rule's own arithmetic.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from fl_core.base.machine import Machine
from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.sections import HeadConfig
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.data.sources import FeatureSource
from fl_core.federated.rounds import fedavg
from fl_core.federated.state import Federation, State
from fl_core.models.heads import build_head
from fl_core.trial import set_up_torch

WIDTH, CLASSES, WARM = 384, 100, 40
RULES: dict[str, dict[str, Value]] = {
    "plain": {},
    "plain again": {},
    "prox": {"local.rule": "prox"},
    "scaffold/1": {"local.rule": "scaffold", "local.option": 1},
    "scaffold/2": {"local.rule": "scaffold"},
    "dyn": {"local.rule": "dyn"},
    "ghbm": {"local.rule": "ghbm"},
    "hbm": {"local.rule": "hbm"},
    "cm": {"local.rule": "cm"},
    "server slowmo": {"server.optimiser": "slowmo"},
    "server nesterov": {"server.optimiser": "nesterov"},
}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=20, help="rounds of one timing")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    set_up_torch(Machine("cpu", threads=1))  # as a trial does
    rng = stream(0, "features")
    features = torch.from_numpy(rng.standard_normal((45_000, WIDTH), dtype=np.float32))
    source = FeatureSource(features, torch.from_numpy(rng.integers(0, CLASSES, 45_000)))
    shards = np.array_split(rng.permutation(45_000), 100)
    model = build_head(HeadConfig(method="fedavg", hidden=args.hidden), WIDTH, CLASSES, seed=0)
    fed = Federation(FlatModule(model), source, None, shards, np.ones((100, CLASSES)))
    total = WARM + args.rounds
    base = TrialConfig().override(
        {"local.momentum": 0.0, "local.lr": 0.01, "rounds": total, "eval_every": WARM}
    )
    starts = {}
    for name, values in RULES.items():
        config = base.override(values)
        warmed = next(fedavg(config, fed, State(fed.model.flat.clone())))
        starts[name] = config, warmed.state
    times: dict[str, list[float]] = {name: [] for name in RULES}
    for repeat in range(args.repeats + 1):
        for name, (config, state) in starts.items():
            before = time.process_time()
            list(fedavg(config, fed, state))
            if repeat:  # the first is a warm-up
                times[name].append(1000 * (time.process_time() - before) / args.rounds)
    print(f"hidden {args.hidden}, 1 thread, torch {torch.__version__}: ms per round")
    for name, values in times.items():
        ratio = statistics.median(a / b for a, b in zip(values, times["plain"], strict=True))
        print(f"{name:>16}  median {statistics.median(values):7.2f}  ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
