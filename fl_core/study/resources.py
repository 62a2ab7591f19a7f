"""What a study runs on: device, folders, trials at a time."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fl_core.base.errors import UserError
from fl_core.base.locations import check_writable, location
from fl_core.base.machine import Machine
from fl_core.study.folder import generation
from fl_core.study.jobs import Arm, Workers
from fl_core.study.study import Space

if TYPE_CHECKING:
    from fl_core.study.workers.run_job import Places


def machine_of(args: argparse.Namespace) -> Machine:
    """Device and folders; UserError for a device that is not there."""
    import torch

    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.split(":")[0] not in ("cpu", "cuda"):
        raise UserError(f"--device {device}: must be auto, cpu or cuda")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(f"--device {device}: this machine has no usable GPU; use --device cpu")
    env = os.environ
    return Machine(
        device=device,
        data_dir=(args.data_dir or Path(env.get("FL_DATA_DIR") or "data")).resolve(),
        cache_dir=cache_of(args),
        weights_file=args.weights.resolve() if args.weights else None,
        threads=1 if device == "cpu" else None,
    )


def places_of(args: argparse.Namespace, name: str, out: Path) -> Places:
    """Where the study's trials are kept; UserError for a storage that cannot be used.

    A study that started over takes nothing from others: its trials are to be computed.
    """
    from fl_core.study.workers.run_job import Places

    cache = cache_of(args)
    own = location(args.storage) / name / "trials" if args.storage else out / "trials"
    if args.storage:
        if args.storage.startswith("memory://"):
            raise UserError("--storage memory://: ends with the process; give a folder or a bucket")
        check_writable(own)
    count = generation(out)
    if args.storage and count:
        own = own.with_name(f"trials.{count}")
    return Places(own, None if count else cache / "trials", keep=args.keep_checkpoints)


def cache_of(args: argparse.Namespace) -> Path:
    """The folder of artefacts that studies share."""
    if args.storage:
        return location(args.storage) / "artefacts"
    named = args.cache_dir or Path(os.environ.get("FL_CACHE_DIR") or "results/artefacts")
    return Path(named).resolve()


def default_precision(machine: Machine) -> str:
    """bfloat16 autocast where the hardware computes in it: GPUs, CPUs with AMX or AVX512-BF16.

    Elsewhere it is emulated and thirty times slower than float32 (LOG.md).
    """
    import torch

    if machine.device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    able: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bfloat16" if able.get("amx_bf16") or able.get("avx512_bf16") else "float32"


def workers_of(
    args: argparse.Namespace, machine: Machine, arms: Sequence[Arm], space: Space
) -> Workers:
    """Trials at a time and what each may use: one core each, or an equal share of a GPU."""
    import torch

    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    if machine.device == "cpu":
        wanted = args.workers or cores
        return Workers(wanted if args.ray_address else min(wanted, cores), 1.0, 0.0)
    share = args.gpus_per_trial or 1 / _measured_share(machine, arms, space, cores)
    slots = args.workers or max(1, int(torch.cuda.device_count() / share + 1e-9))
    return Workers(slots, min(1.0, cores / slots), share)


def shared(machine: Machine, workers: Workers) -> Machine:
    """The machine as one of several trials on a GPU may use it: memory, threads."""
    if not workers.gpus:
        return machine
    # what the allocator may not have is for the CUDA contexts of all the processes
    share = 1.0 if workers.gpus == 1 else 0.9 * workers.gpus
    return replace(machine, gpu_share=share, threads=max(1, int(workers.cpus)))


def _measured_share(machine: Machine, arms: Sequence[Arm], space: Space, cores: int) -> int:
    """How many trials of the study's largest configuration share a GPU, and why."""
    from fl_core.study.workers import gpu
    from fl_core.study.workers.largest import largest_config

    found = gpu.probe(largest_config(arms, space, device=machine.device), machine)
    count = found.trials(most=cores)
    print(gpu.explain(found, count))
    return count
