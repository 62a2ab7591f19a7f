"""How many trials run at a time, and what each may use."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

import torch

from fl_core.base.machine import Machine
from fl_core.study.jobs import Arm, Workers
from fl_core.study.plan import Space
from fl_core.study.workers import gpu
from fl_core.study.workers.largest import largest_config


def workers_of(
    args: argparse.Namespace, machine: Machine, arms: Sequence[Arm], space: Space
) -> Workers:
    """Trials at a time and what each may use: one core each, or an equal share of a GPU."""
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
    found = gpu.probe(largest_config(arms, space, device=machine.device), machine)
    count = found.trials(most=cores)
    print(gpu.explain(found, count))
    return count
