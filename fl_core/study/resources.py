"""What a study runs on: device and folders."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fl_core.base.errors import UserError
from fl_core.base.files import absolute, check_room
from fl_core.base.locations import check_writable, location
from fl_core.base.machine import Machine
from fl_core.study.folder import generation, search_name

if TYPE_CHECKING:
    from fl_core.study.trial_files import Places

MOST_WORKERS = 10_000


def machine_of(args: argparse.Namespace) -> Machine:
    """Device and folders; UserError for a device that is not there, for more workers than any
    cluster has.
    """
    device, env = device_of(args.device), os.environ
    if (args.workers or 0) > MOST_WORKERS:
        raise UserError(f"--workers {args.workers}: must be at most {MOST_WORKERS}")
    number = device.partition(":")[2]
    if number.strip("0") and not (args.serial or args.replay):
        raise UserError(
            f"--device {device}: Ray gives every trial a GPU, and there it is the only one; give "
            f"CUDA_VISIBLE_DEVICES={number} and --device cuda, or --serial"
        )
    return Machine(
        device=device,
        data_dir=absolute("--data-dir", args.data_dir or Path(env.get("FL_DATA_DIR") or "data")),
        cache_dir=cache_of(args),
        weights_file=absolute("--weights", args.weights) if args.weights else None,
        threads=1 if device == "cpu" else None,
    )


def device_of(wanted: str) -> str:
    """The device of `--device`; UserError for one that is not there."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted == "auto":
        return "cuda" if count else "cpu"
    if wanted.startswith("cuda") and not count:
        raise UserError(f"--device {wanted}: this machine has no usable GPU; use --device cpu")
    if int(wanted.partition(":")[2] or 0) >= max(count, 1):
        there = "cuda:0 alone" if count == 1 else f"cuda:0 to cuda:{count - 1}"
        raise UserError(f"--device {wanted}: is not there; this machine has {there}")
    return wanted


def places_of(args: argparse.Namespace, name: str, out: Path) -> Places:
    """Where the study's trials are kept.

    A study that started over takes nothing from others: its trials are to be computed. In a storage
    each search has a folder of its own: two that run the same trial at once would disturb each
    other, and no lock reaches every kind of storage.
    """
    from fl_core.study.trial_files import Places

    cache, storage = cache_of(args), storage_of(args)
    own, count = out / "trials", generation(out)
    if storage:
        mark = search_name(out) or count
        own = storage / name / (f"trials.{mark}" if mark else "trials")
    return Places(own, None if count else cache / "trials", keep=args.keep_checkpoints)


def out_of(args: argparse.Namespace, name: str) -> Path:
    """The study's folder."""
    return absolute("--out", args.out or Path("results") / name)


def check_folders(args: argparse.Namespace, name: str, out: Path) -> None:
    """UserError for a folder that cannot be written."""
    storage = storage_of(args)
    folders = {"--out": out} if storage else {"--out": out, "--cache-dir": cache_of(args)}
    for option, folder in folders.items():
        try:
            check_room(folder)
        except OSError as error:
            line = f"{option} {folder}: cannot be written ({error.strerror})"
            raise UserError(line) from error
    if storage:  # the last: its folder is made
        check_writable(storage / name)


def storage_of(args: argparse.Namespace) -> Path | None:
    """What all nodes share; UserError for what cannot be opened or would not last."""
    if not args.storage:
        return None
    if args.storage.startswith("memory://"):
        raise UserError("--storage memory://: ends with the process; give a folder or a bucket")
    return location(args.storage)


def cache_of(args: argparse.Namespace) -> Path:
    """The folder of artefacts that studies share."""
    storage = storage_of(args)
    if storage:
        return storage / "artefacts"
    named = args.cache_dir or Path(os.environ.get("FL_CACHE_DIR") or "results/artefacts")
    return absolute("--cache-dir", Path(named))


def default_precision(machine: Machine) -> str:
    """bfloat16 autocast where the hardware computes in it: GPUs, CPUs with AMX or AVX512-BF16.

    Elsewhere it is emulated and thirty times slower than float32 (LOG.md).
    """
    import torch

    if machine.device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    able: Mapping[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return "bfloat16" if able.get("amx_bf16") or able.get("avx512_bf16") else "float32"
