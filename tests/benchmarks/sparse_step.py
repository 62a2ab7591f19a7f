"""Milliseconds of one masked step against torch's fused dense one, on one flat vector.

    python tests/benchmarks/sparse_step.py [--sparsities 0 0.5 0.9 0.99] [--clock thread]

SGD with momentum 0.9 and weight decay 1e-4 on float32 (21.6 M: a ViT-S). Masks are random, or
clustered in runs of 64 active entries. "naive" is what one writes first: a dense step of
torch.optim.SGD on the masked gradient, and the frozen weights put back. All take turns in one
process, so that a noisy machine is noisy to all of them; median and minimum over the repeats, each
with its ratio to the fused step. --clock thread counts the thread's own time: for a machine that
others use as well.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from fl_core.config.method_sections import LocalConfig
from fl_core.optim.sgdm import Active, sgdm_step

LR, RUN = 0.01, 64
RULE = LocalConfig(momentum=0.9, weight_decay=1e-4)


def dense(size: int, grad: Tensor, fused: bool) -> torch.optim.SGD:
    """torch's own optimiser on a vector of its own."""
    parameter = torch.zeros(size, device=grad.device, requires_grad=True)
    parameter.grad = grad
    return torch.optim.SGD([parameter], LR, 0.9, weight_decay=1e-4, fused=fused)


def naive(optimiser: torch.optim.SGD, grad: Tensor, mask: Tensor) -> Callable[[], object]:
    """Mask the gradient, step densely, put the frozen weights back."""
    (parameter,) = optimiser.param_groups[0]["params"]

    def step() -> None:
        parameter.grad = grad * mask
        before = parameter.detach().clone()
        optimiser.step()
        parameter.data = torch.where(mask, parameter.data, before)

    return step


def ours(params: Tensor, grad: Tensor, active: Active | None) -> Callable[[], object]:
    """`sgdm_step` with a velocity of its own."""
    velocity = sgdm_step(params, grad, None, RULE, LR, active, keep_grad=True)
    return lambda: sgdm_step(params, grad, velocity, RULE, LR, active, keep_grad=True)


def ways_of(mask: Tensor, params: Tensor, grad: Tensor) -> dict[str, Callable[[], object]]:
    """Our two forms, the one that Active.of chooses marked, and the naive step."""
    chosen = "index" if Active.of(mask).index is not None else "masked"
    forms = {"masked": Active(mask, None), "index": Active(mask, mask.nonzero().squeeze(1))}
    ways = {
        f"{name}{' *' if name == chosen else ''}": ours(params, grad, active)
        for name, active in forms.items()
    }
    return {**ways, "naive": naive(dense(len(mask), grad, False), grad, mask)}


def masks_of(size: int, sparsity: float, device: str) -> dict[str, Tensor]:
    """A random mask and one in runs, of about this sparsity."""
    generator = torch.Generator().manual_seed(0)
    runs = torch.rand(-(-size // RUN), generator=generator) >= sparsity
    masks = {
        "random": torch.rand(size, generator=generator) >= sparsity,
        "clustered": runs.repeat_interleave(RUN)[:size],
    }
    return {name: mask.to(device) for name, mask in masks.items()}


def timed(
    ways: dict[str, Callable[[], object]], args: argparse.Namespace
) -> dict[str, list[float]]:
    """Milliseconds of each way in turn; the first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    clock = time.thread_time if args.clock == "thread" else time.perf_counter
    for repeat in range(args.repeats + 1):
        for name, way in ways.items():
            start = clock()
            way()
            if args.device == "cuda":
                torch.cuda.synchronize()
            if repeat:
                times[name].append(1000 * (clock() - start))
    return times


def show(times: dict[str, list[float]]) -> None:
    """Print medians and minima beside those of the first way."""
    first = next(iter(times.values()))
    for name, values in times.items():
        median, least = statistics.median(values), min(values)
        ratios = f"x{median / statistics.median(first):.2f} (min x{least / min(first):.2f})"
        print(f"{name:>12}  median {median:8.2f}  min {least:8.2f}  {ratios}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=21_600_000)
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0, 0.5, 0.9, 0.99])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=("wall", "thread"), default="wall")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    params = torch.randn(args.size, device=args.device)
    grad = 0.01 * torch.randn(args.size, device=args.device)
    fused = {"torch fused": dense(args.size, grad, True).step}
    plain = dense(args.size, grad, False).step
    print(f"{args.device}, {args.threads} thread(s), torch {torch.__version__}; * = Active.of")
    print("no mask")
    show(timed({**fused, "torch": plain, "ours": ours(params, grad, None)}, args))
    for sparsity in args.sparsities:
        for kind, mask in masks_of(args.size, sparsity, args.device).items():
            print(f"sparsity {sparsity}, {kind}")
            show(timed({**fused, **ways_of(mask, params, grad)}, args))


if __name__ == "__main__":
    main()
