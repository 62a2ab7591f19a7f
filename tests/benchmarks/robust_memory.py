"""Memory and time of every aggregate: m updates and about one chunk, whatever the model's size.

    python tests/benchmarks/robust_memory.py [--size 20000000] [--clients 10]

Updates are made before the measurement starts, as rows of their own; what is shown is the highest
memory above them (of which the start and the target, both float64, are 2 x 8 bytes a parameter),
each aggregate in a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time

import torch

from fl_core.base.host import keep_freed_memory
from fl_core.config.methods import METHODS
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates import held
from fl_core.federated.aggregates.table import aggregate
from fl_core.federated.update import Update


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(rule: str, size: int, clients: int) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    generator = torch.Generator().manual_seed(0)
    rows = [torch.randn(size, generator=generator) for _ in range(clients)]
    loss = torch.ones(())
    updates = [Update(k, 0, 1, 1, {"params": row}, {}, loss, 1) for k, row in enumerate(rows)]
    start = torch.zeros(size).double()
    config = TrialConfig().override({"aggregate.rule": rule})
    before, began = peak(), time.perf_counter()
    aggregate(updates, start, config)
    seconds, above = time.perf_counter() - began, peak() - before
    chunks = (above - 8 * size) / (8 * held.CHUNK)  # less the target
    mib = f"{above / 2**20:5.0f} MiB above {clients} updates of {4 * size / 2**20:.0f} MiB"
    print(f"{rule:17} {mib}; less the target {chunks:5.1f} chunks; {seconds:6.2f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=20_000_000)
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--rule")
    args = parser.parse_args()
    if args.rule:
        measure(args.rule, args.size, args.clients)
        return
    sizes = ["--size", str(args.size), "--clients", str(args.clients)]
    for rule in METHODS["aggregate.rule"]:
        subprocess.run([sys.executable, __file__, "--rule", rule, *sizes], check=True)


if __name__ == "__main__":
    main()
