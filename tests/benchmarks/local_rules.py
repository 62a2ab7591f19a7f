"""Processor milliseconds of a round with each local rule, and their ratio to plain FedAvg's.

    python tests/benchmarks/local_rules.py          # half a minute of processor time

K = 100, C = 0.1, J = 4, batch 64, 384 -> 100 on random features; a linear head, and one with a
hidden layer. All rules take turns in one process, from a state in which every client has been
there and every past model exists. Of each: milliseconds (median), and the ratio to plain FedAvg,
once as the median of the ratios within a turn, once of the shortest turns (what a busy machine
disturbs least). "plain again" tells how far to trust the rest. SCAFFOLD's option 1 goes over all of
a client's examples in every round: no matter of the rule's own arithmetic.
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

WIDTH, CLASSES, EXAMPLES = 384, 100, 45_000
WARM = 10  # rounds in which everybody has been there: clients take turns
HEADS = {"linear": (0, "none"), "128, layer norm": (128, "layer")}
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
    """Print a table for each head."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds of one timing")
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    set_up_torch(Machine("cpu", threads=1))  # as a trial does
    print(f"1 thread, torch {torch.__version__}")
    for head in HEADS:
        times = timed(head, args.rounds, args.repeats)
        print(f"\n{head:>16}  ms/round  ratio (median)  ratio (shortest)")
        for name, own in times.items():
            ratio = statistics.median(a / b for a, b in zip(own, times["plain"], strict=True))
            shortest = min(own) / min(times["plain"])
            print(f"{name:>16}  {statistics.median(own):8.2f}  {ratio:14.2f}  {shortest:16.2f}")


def timed(head: str, rounds: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds of a round, by rule and repeat."""
    fed = federation(head)
    base = TrialConfig().override(
        {
            "select.rule": "cyclic",
            "local.momentum": 0.0,
            "local.lr": 0.01,
            "rounds": WARM + rounds,
            "eval_every": WARM,
        }
    )
    starts = {}
    for name, values in RULES.items():
        config = base.override(values)
        starts[name] = config, next(fedavg(config, fed, State(fed.model.flat.clone()))).state
    times: dict[str, list[float]] = {name: [] for name in RULES}
    for repeat in range(repeats + 1):
        for name, (config, state) in starts.items():
            before = time.process_time()
            list(fedavg(config, fed, state))
            if repeat:  # the first is a warm-up
                times[name].append(1000 * (time.process_time() - before) / rounds)
    return times


def federation(head: str) -> Federation:
    """A hundred clients with random features."""
    hidden, norm = HEADS[head]
    rng = stream(0, "features")
    features = torch.from_numpy(rng.standard_normal((EXAMPLES, WIDTH), dtype=np.float32))
    source = FeatureSource(features, torch.from_numpy(rng.integers(0, CLASSES, EXAMPLES)))
    shards = np.array_split(rng.permutation(EXAMPLES), 100)
    section = HeadConfig(method="fedavg", hidden=hidden, norm=norm)
    model = FlatModule(build_head(section, WIDTH, CLASSES, seed=0))
    return Federation(model, source, None, shards, np.ones((100, CLASSES)))


if __name__ == "__main__":
    main()
