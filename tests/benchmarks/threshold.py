"""Seconds to pick the lowest tenth of 21.6 million scores: ours, and what libraries offer.

    python tests/benchmarks/threshold.py

As many scores as a ViT-S/16 has parameters, in the shape of a diagonal Fisher (squared normals
of very different scales), or with --zeros a share of exact zeros. `lowest` returns the mask, ties
broken by an order (drawn before); of the others only the k-th lowest score is timed. All take
turns in one process, so that a noisy machine is noisy to all of them; median and minimum over the
repeats.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import cache

import numpy as np
import torch

from fl_core.base.rng import stream
from fl_core.masks.lowest import lowest


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=21_600_000)
    parser.add_argument("--active", type=float, default=0.1, help="share that stays active")
    parser.add_argument("--zeros", type=float, default=0.0, help="share of scores that are zero")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rng = stream(0, "scores")
    numbers = rng.standard_normal(args.size, np.float32) ** 2
    numbers *= np.exp(3 * rng.standard_normal(args.size, np.float32))
    numbers[rng.random(args.size, np.float32) < args.zeros] = 0
    scores, count = torch.from_numpy(numbers), round(args.active * args.size)
    order = cache(lambda: rng.random(args.size, np.float32))

    ways: dict[str, Callable[[], object]] = {
        "lowest": lambda: lowest(numbers, count, order),
        "np.partition": lambda: np.partition(numbers, count - 1)[count - 1],
        "torch.kthvalue": lambda: scores.kthvalue(count).values.item(),
        "torch.topk": lambda: scores.topk(count, largest=False, sorted=False).values.max().item(),
        "torch.sort": lambda: scores.sort().values[count - 1].item(),
    }
    assert len({way() for name, way in ways.items() if name != "lowest"}) == 1
    mask = torch.from_numpy(lowest(numbers, count, order))
    assert int(mask.sum()) == count
    assert scores[mask].max() == ways["torch.kthvalue"]()
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(args.repeats):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    versions = f"torch {torch.__version__}, numpy {np.__version__}"
    print(f"{args.size:,} scores, {count:,} active, {args.threads} thread(s), {versions}: seconds")
    ours = statistics.median(times["lowest"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:>14}  median {median:6.3f}  min {min(values):6.3f}  x{median / ours:.2f}")


if __name__ == "__main__":
    main()
