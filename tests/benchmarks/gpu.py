"""What a GPU computes, how fast and in how much memory: what no test on a CPU can tell.

    python tests/benchmarks/gpu.py --out results tests correct fast head memory
    python tests/benchmarks/gpu.py --out /tmp/x --device cpu --tiny correct fast head

Every part is a process with a time limit of its own, so that none costs another's results; each
finding is one line of `<out>/gpu.jsonl`, written at once. Images and labels are random.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fl_core.base.machine import Machine
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.task import Task
from fl_core.federated.rounds import fedavg
from fl_core.federated.state import Federation, State
from fl_core.masks.parties import SERVER
from fl_core.stages import prepare
from fl_core.study.environment import KERNELS
from fl_core.study.workers.gpu import is_out_of_memory, limit_process_memory, measure, shortened
from fl_core.study.workers.largest import estimated_bytes
from fl_core.study.workers.meters import meter_of
from fl_core.trial import run_trial, set_up_torch

#: Seconds that a part may take.
LIMITS = {"tests": 60, "correct": 60, "fast": 120, "head": 120, "memory": 150, "compile": 60}
CUDA_TESTS = (
    "tests/federated/test_memory.py::test_tensors_come_back_to_the_gpu",
    "tests/masks/test_masks.py::test_a_gpu_gives_the_same_mask_there",
    "tests/study/workers/test_gpu.py::test_a_limit_holds_and_memory_is_given_back",
    "tests/study/workers/test_gpu.py::test_the_cuda_meter",
    "tests/study/workers/test_gpu.py::test_the_whole_way_on_a_gpu",
    "tests/study/workers/test_gpu.py::test_attention_of_many_tokens_gives_the_same_bits_again",
)
MODELS = {"ViT-Ti": "vit_tiny_patch16_224", "ViT-S": "vit_small_patch16_224"}
BASE: dict[str, Any] = {
    "data.name": "gpu:random_images", "backbone.weights": "random", "federation.clients": 10,
    "federation.participation": 1.0, "rounds": 1, "eval_every": 1, "local.steps": 4,
    "local.lr": 0.01, "local.momentum": 0.9, "local.batch_size": 64, "fine_tune.strategy": "full",
    "compute.precision": "bfloat16",
}  # fmt: skip
TINY = {"backbone.image_size": 16, "backbone.patch_size": 8, "local.batch_size": 2,
        "local.steps": 2, "federation.clients": 2, "compute.precision": "float32",
        "data.val_fraction": 0.03}  # fmt: skip
SPARSE = {"fine_tune.strategy": "sparse_full", "mask.sparsity": 0.9, "mask.examples": 64}


def _images(folder: Path, *, train: bool) -> tuple[Tensor, Tensor]:
    rng, size = stream(int(train), "images"), 3000 if train else 100
    pixels = rng.integers(0, 256, (size, 3, 32, 32), dtype=np.uint8)
    return torch.from_numpy(pixels), torch.from_numpy(rng.integers(0, 100, size))


random_images = Task(100, _images)


class Bench:
    """Where the parts run and where their findings go."""

    def __init__(self, args: argparse.Namespace, scratch: Path) -> None:
        self.args, self.scratch = args, scratch
        self.machine = Machine(args.device, cache_dir=scratch / "cache", threads=1)
        self.cuda = args.device.startswith("cuda")

    def config(self, **values: Any) -> TrialConfig:
        own = {name.replace("__", "."): value for name, value in values.items()}
        return TrialConfig().override({**BASE, **own, **(TINY if self.args.tiny else {})})

    def say(self, part: str, **found: Any) -> None:
        line = json.dumps({"part": part, **found})
        print(line, flush=True)
        with (self.args.out / "gpu.jsonl").open("a") as file:
            file.write(line + "\n")

    def synchronize(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()


def a_round(config: TrialConfig, machine: Machine) -> tuple[Federation, Callable[[], Tensor]]:
    """A federation, and its first rounds without an evaluation: the parameters after them."""
    fed, state = prepare(config, machine)
    fed.val = None
    start = state.params.clone()
    return fed, lambda: list(fedavg(config, fed, State(start)))[-1].state.params


def run_tests(bench: Bench) -> None:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *CUDA_TESTS]
    done = subprocess.run(command, capture_output=True, text=True)
    bench.say("tests", exit=done.returncode, output=done.stdout[-3000:])


def correct(bench: Bench) -> None:
    """Stacked against sequential; the same bits twice and after a stop; masks of both devices."""
    small = {"backbone__image_size": 64, "backbone__name": MODELS["ViT-Ti"]}
    for size in (64, 224):  # attention takes other kernels where there are more tokens
        for precision in ("float32", "bfloat16"):
            twice(bench, {**small, "backbone__image_size": size, "compute__precision": precision})
    for execution in ("sequential", "stacked"):
        config = bench.config(**small, rounds=4, compute__execution=execution)
        whole = [r["val_loss"] for r in run_trial(config, bench.machine, bench.scratch / "whole")]
        folder = bench.scratch / f"halves {execution}"
        first = [r["val_loss"] for _, r in zip(range(2), run_trial(config, bench.machine, folder))]  # noqa: B905
        again = [r["val_loss"] for r in run_trial(config, bench.machine, folder)]
        bench.say("correct", what="resumed", execution=execution, curve=whole,
                  same_bits=whole == again and whole[:2] == first)  # fmt: skip
    masks = {}
    for device in ("cpu", bench.args.device):
        config = bench.config(**{**small, **SPARSE}, mask__rounds=2)
        machine = replace(bench.machine, device=device, cache_dir=bench.scratch / f"on {device}")
        fed, _ = prepare(config, machine)
        masks[device] = fed.masks.mask(SERVER).cpu()  # type: ignore[union-attr]
    one, other = masks.values() if bench.cuda else (*masks.values(), *masks.values())
    bench.say("correct", what="masks of the CPU and of the device", active=int(one.sum()),
              differ=int((one != other).sum()),
              jaccard=float((one & other).sum() / (one | other).sum()))  # fmt: skip


def twice(bench: Bench, values: dict[str, Any]) -> None:
    """How far apart the two executions of a round are, and whether one of them repeats itself."""
    ends = {}
    for way in ("sequential", "stacked", "stacked again"):
        config = bench.config(**values, compute__execution=way.split()[0])
        fed, run = a_round(config, bench.machine)
        start = fed.model.flat.clone()
        ends[way] = run() - start
    one, other = ends["sequential"], ends["stacked"]
    bench.say(
        "correct", what="stacked against sequential", precision=config.compute.precision,
        pixels=config.backbone.image_size, largest_difference=float((one - other).abs().max()),
        relative=float((one - other).norm() / one.norm()), largest_change=float(one.abs().max()),
        same_bits_again=torch.equal(other, ends["stacked again"]),
    )  # fmt: skip


def flops_of(config: TrialConfig, machine: Machine) -> float:
    """Floating-point operations (two a multiply-add) of one image, forward and backward."""
    from torch.utils.flop_counter import FlopCounterMode

    fed, _ = prepare(config, replace(machine, device="cpu"))
    images = fed.train.batch(torch.arange(2))
    with FlopCounterMode(display=False) as counter:
        fed.model.module(images).sum().backward()
    return counter.get_total_flops() / 2


def timed(bench: Bench, run: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each repeat, after one that warms up."""
    seconds = []
    for _ in range(repeats + 1):
        bench.synchronize()
        begin = time.perf_counter()
        run()
        bench.synchronize()
        seconds.append(time.perf_counter() - begin)
    return seconds[1:]


def peak_flops(bench: Bench) -> float:
    """Operations a second of a large bfloat16 matrix product on random data."""
    size = 8192 if bench.cuda else 512
    one = torch.from_numpy(stream(0, "peak").standard_normal((size, size), np.float32))
    one = one.to(bench.args.device, torch.bfloat16)
    return 2.0 * size**3 / float(np.median(timed(bench, lambda: one @ one, 10)))


def fast(bench: Bench) -> None:
    """Rounds of ten clients x 4 steps x 64 images at 224 px: plain torch and ours, both ways."""
    from vit_round import plain

    peak = peak_flops(bench)
    bench.say("fast", what="bfloat16 matrix product", tflops=peak / 1e12)
    for title, backbone in MODELS.items():
        flops = flops_of(bench.config(backbone__name=backbone), bench.machine)
        for precision in ("bfloat16", "float32"):
            for way in ("plain torch", "sequential", "stacked", "sequential, any kernels",
                        "stacked, any kernels"):  # fmt: skip
                if "any" in way and precision == "float32":
                    continue
                set_up_torch(bench.machine)
                if way == "plain torch" or "any" in way:
                    torch.use_deterministic_algorithms(False)
                config = bench.config(
                    backbone__name=backbone, compute__precision=precision,
                    compute__execution="stacked" if "stacked" in way else "sequential",
                )  # fmt: skip
                try:
                    fed, run = a_round(config, bench.machine)
                    if way == "plain torch":
                        images = fed.train.preprocess(fed.train.pixels)  # type: ignore[attr-defined]
                        run = plain(fed.shards, images, fed.train.labels, config)  # type: ignore
                    seconds = timed(bench, run, 2)
                except torch.OutOfMemoryError as error:
                    bench.say("fast", model=title, precision=precision, way=way, error=str(error))
                    continue
                count = config.federation.clients * config.local.steps * config.local.batch_size
                rate = count / min(seconds)
                bench.say("fast", model=title, precision=precision, way=way,
                          seconds=min(seconds), images_per_second=rate,
                          gflop_an_image=flops / 1e9,
                          share_of_peak=rate * flops / peak)  # fmt: skip
                del fed, run
                release(bench)


def release(bench: Bench) -> None:
    if bench.cuda:
        torch.cuda.empty_cache()


def head(bench: Bench) -> None:
    """A round of a linear head on features, and the share of it that kernels fill."""
    here = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, str(here / "head_round.py"), "--device", bench.args.device],
        capture_output=True, text=True,
    )  # fmt: skip
    bench.say("head", output=done.stdout, error=done.stderr[-300:])
    set_up_torch(bench.machine)
    cases = {
        "head": bench.config(fine_tune__strategy="head", compute__precision="float32",
                             backbone__image_size=32, rounds=50, eval_every=50),
        "ViT-Ti": bench.config(rounds=2, eval_every=2),
        "ViT-Ti, sequential": bench.config(rounds=1, compute__execution="sequential"),
    }  # fmt: skip
    for title, config in cases.items():
        _, run = a_round(config, bench.machine)
        (seconds,) = timed(bench, run, 1)
        bench.say("head", what=f"kernels of {title}", seconds_a_round=seconds / config.rounds,
                  **kernels(bench, run, seconds))  # fmt: skip


def kernels(bench: Bench, run: Callable[[], object], seconds: float) -> dict[str, Any]:
    """The share of a run that kernels fill, and those that take most of it."""
    from torch.profiler import ProfilerActivity, profile

    activity = ProfilerActivity.CUDA if bench.cuda else ProfilerActivity.CPU
    with profile(activities=[activity]) as profiled:
        run()
        bench.synchronize()
    name = "self_device_time_total" if bench.cuda else "self_cpu_time_total"
    rows = [(getattr(one, name) / 1e6, one.key[:60]) for one in profiled.key_averages()]
    total = sum(spent for spent, _ in rows)
    most = [f"{spent / total:.0%} {key}" for spent, key in sorted(rows, reverse=True)[:8]]
    return {"kernel_share": total / seconds, "most": most}


def memory(bench: Bench) -> None:
    """What `--gpus-per-trial auto` measures against a trial's real peak, and limits around it."""
    for title, backbone in MODELS.items():
        for kind, values in {"dense": {}, "sparse": SPARSE}.items():
            config = bench.config(
                backbone__name=backbone, **{n.replace(".", "__"): v for n, v in values.items()},
                rounds=2, eval_every=2,
            )  # fmt: skip
            found = measure(shortened(config), bench.machine, meter_of(bench.args.device))
            release(bench)
            meter = meter_of(bench.args.device)
            meter.start()
            again = bench.machine
            list(run_trial(config, again))
            real = meter.read()
            outcomes = dict(_limited(bench, config, found.peak_bytes, real.total))
            bench.say("memory", model=title, kind=kind, reason=found.reason,
                      ranked=estimated_bytes(config), measured=found.peak_bytes,
                      context=found.context_bytes, real=real.peak, **outcomes)  # fmt: skip


def _limited(
    bench: Bench, config: TrialConfig, peak: float, total: float
) -> Iterator[tuple[str, str]]:
    """Whether a trial runs when it may take this many times what was measured."""
    for factor in (0.9, 1.0, 1.1):
        release(bench)
        limit_process_memory(min(1.0, factor * peak / total), bench.args.device)
        try:
            list(run_trial(config, bench.machine))
            yield f"at {factor}", "runs"
        except Exception as error:
            yield f"at {factor}", "out of memory" if is_out_of_memory(error) else repr(error)[:200]
        finally:
            limit_process_memory(1.0, bench.args.device)


def compiled(bench: Bench) -> None:
    """What torch.compile and CUDA graphs give a plain ViT-Ti step, beside eager: is it worth it?"""
    config = bench.config()
    fed, _ = a_round(config, bench.machine)
    chosen = torch.arange(config.local.batch_size, device=bench.args.device)
    module, images = fed.model.module, fed.train.batch(chosen)

    def step(model: Callable[[Tensor], Tensor]) -> Callable[[], None]:
        def run() -> None:
            with torch.autocast(bench.args.device, torch.bfloat16):
                loss = model(images).float().logsumexp(1).mean()
            loss.backward()

        return run

    ways: dict[str, Callable[[], Callable[[], None]]] = {
        "eager": lambda: step(module),
        "CUDA graph": lambda: graphed(step(module)),
        "torch.compile": lambda: step(torch.compile(module)),
    }
    for name, make in ways.items():
        begin = time.perf_counter()
        try:
            run = make()
            timed(bench, run, 1)
            first = time.perf_counter() - begin
            best = min(timed(bench, run, 20))
        except Exception as error:  # whatever a compiler raises
            bench.say("compile", way=name, error=repr(error)[:300])
            continue
        bench.say("compile", way=name, first=first, milliseconds=1000 * best,
                  images_per_second=len(images) / best)  # fmt: skip


def graphed(run: Callable[[], None]) -> Callable[[], None]:
    """The same step recorded once and replayed."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


PARTS: dict[str, Callable[[Bench], None]] = {
    "tests": run_tests, "correct": correct, "fast": fast, "head": head, "memory": memory,
    "compile": compiled,
}  # fmt: skip


def main() -> None:
    """Run the parts one after the other, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a dry run on tiny images")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(args, Path(scratch))
        if args.inside:
            set_up_torch(bench.machine)
            PARTS[args.parts[0]](bench)
            return
        for part in args.parts:
            command = [sys.executable, *sys.argv[:1], part, "--inside", "--out", str(args.out),
                       "--device", args.device, *(["--tiny"] if args.tiny else [])]  # fmt: skip
            begin = time.monotonic()
            try:
                rc: int | str = subprocess.run(command, timeout=LIMITS[part]).returncode
            except subprocess.TimeoutExpired:
                rc = "out of time"
            bench.say(part, exit=rc, seconds=time.monotonic() - begin)


if __name__ == "__main__":
    import os

    os.environ.update({**KERNELS, **os.environ})
    main()
