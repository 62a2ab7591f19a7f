"""What `fl_core.doctor` checks: software and hardware.

A check is a generator of findings that runs in a process of its own, so what it imports may be
missing, crash or hang. `problem` = the embedded default study cannot start; `warning` = something
else cannot, or will be slow. Nothing is downloaded.
"""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from fl_core.base import host
from fl_core.base.errors import UserError, kind_and_line
from fl_core.base.machine import Machine

DISTRIBUTION = "federated-finetuning-studies"
PYTHON = ((3, 10), (3, 14))  # from, below
WORKER_BYTES = 1e9  # a worker with torch and the embedded features
AGAIN = "set up again: make clean, then make study"


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    level: str  # ok | warning | problem
    what: str
    text: str


@dataclass(frozen=True)
class Where:
    """The places that a study would be told, and how thorough to be; None = its default."""

    out: str = "results"
    cache_dir: str | None = None
    data_dir: str | None = None
    weights: str | None = None
    tracking_uri: str | None = None
    ray_address: str | None = None
    device: str = "auto"
    quick: bool = False

    @property
    def machine(self) -> Machine:
        """Folders as a study resolves them."""
        data = self.data_dir or os.environ.get("FL_DATA_DIR") or "data"
        cache = self.cache_dir or os.environ.get("FL_CACHE_DIR") or "results/artefacts"
        weights = Path(self.weights).resolve() if self.weights else None
        return Machine("cpu", Path(data).resolve(), Path(cache).resolve(), weights)


def imported(name: str) -> ModuleType:
    """A package, or one line on why it does not work: whatever its import raises."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # a broken installation raises anything
        raise UserError(f"{name} cannot be imported ({kind_and_line(error)}); {AGAIN}") from error


# --- software -------------------------------------------------------------------------------------


def check_versions(where: Where) -> Iterator[Finding]:
    """Python and the required packages, by their metadata alone."""
    low, below = PYTHON
    name = f"{platform.python_implementation()} {platform.python_version()}"
    if low <= sys.version_info[:2] < below:
        yield Finding("ok", "Python", f"{name} in {sys.prefix}")
    else:
        allowed = f"{low[0]}.{low[1]} to {below[0]}.{below[1] - 1}"
        yield Finding("problem", "Python", f"{name}: use one of {allowed} (make PYTHON=…)")
    missing, unfit, found = [], [], []
    for package, requirement in _requirements().items():
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            missing.append(package)
            continue
        found.append(f"{package} {version}")
        if not _fits(requirement, version):
            unfit.append(f"{package} {version} ({requirement})")
    if missing:
        yield Finding("problem", "packages", f"not installed: {', '.join(missing)}; {AGAIN}")
    if unfit:
        yield Finding("warning", "packages", f"outside the tested range: {', '.join(unfit)}")
    if not missing and not unfit:
        yield Finding("ok", "packages", ", ".join(found))


def _requirements() -> dict[str, str]:
    """Package names and what pyproject.toml asks of them, without the developers' extras."""
    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:  # run from its folder, not installed: no versions
        lines = [
            "torch",
            "torchvision",
            "timm",
            "safetensors",
            "numpy",
            "ray",
            "optuna",
            "mlflow",
            "pandas",
            "matplotlib",
            "rich",
            "pyyaml",
            "psutil",
            "scipy",
            "jinja2",
            "universal-pathlib",
            "cmaes",
            "filelock",
            "cryptography",
        ]
    required = [line.strip() for line in lines if "extra ==" not in line]
    ends = [min([len(r), *(r.index(c) for c in "[<>=!~; " if c in r)]) for r in required]
    return {line[:end]: line for line, end in zip(required, ends, strict=True)}


def _fits(requirement: str, version: str) -> bool:
    """Whether a version is within a requirement; without `packaging` it is taken to be."""
    try:
        found = importlib.import_module("packaging.requirements").Requirement(requirement)
    except ImportError:
        return True
    return bool(found.specifier.contains(version, prereleases=True))


def check_torchvision(where: Where) -> Iterator[Finding]:
    """A torchvision that matches torch, and timm upon it."""
    torch, torchvision = imported("torch"), imported("torchvision")
    try:
        torch.ops.torchvision.nms  # noqa: B018  asking is enough
    except (AttributeError, RuntimeError):
        pair = f"torch {torch.__version__} and torchvision {torchvision.__version__}"
        raise UserError(f"{pair} do not belong together (no operator nms); {AGAIN}") from None
    timm = imported("timm")
    versions = f"torchvision {torchvision.__version__}, timm {timm.__version__}"
    yield Finding("ok", "images", f"{versions} load and match torch {torch.__version__}")


def check_tables(where: Where) -> Iterator[Finding]:
    """What the final tables and figures need."""
    for name in ("pandas", "matplotlib", "fl_analysis.final_tables", "fl_analysis.figures"):
        imported(name)
    yield Finding("ok", "tables", "pandas and matplotlib load")


# --- hardware -------------------------------------------------------------------------------------


def check_machine(where: Where) -> Iterator[Finding]:
    """Cores and RAM that this process may use."""
    cores, quota, memory = host.cores(), host.core_quota(), host.available_memory()
    if quota is not None and quota < cores - 0.5:
        wise = max(1, int(quota))
        text = f"{cores} visible, but time for {quota:.3g}: use --workers {wise}"
        yield Finding("warning", "CPU cores", text)
        cores = wise
    else:
        yield Finding("ok", "CPU cores", f"{cores} for this process of {os.cpu_count()}")
    fit = int(memory / WORKER_BYTES) - 1  # one for the driver
    free = f"{host.readable(memory)} available"
    if fit < 1:
        yield Finding("warning", "RAM", f"{free}: one worker wants about 2 GiB; end other programs")
    elif fit < cores:
        text = f"{free} for {cores} workers of about 1 GiB: use --workers {fit}"
        yield Finding("warning", "RAM", text)
    else:
        yield Finding("ok", "RAM", free)


def check_device(where: Where) -> Iterator[Finding]:
    """torch, and the GPUs that it sees; a kernel is run on each."""
    torch = imported("torch")
    resources = imported("fl_core.study.resources")
    wanted = where.device.partition(":")[0]
    version = f"torch {torch.__version__}"
    if not torch.cuda.is_available():
        yield from _no_gpu(torch, version, wanted)
    for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        device = f"cuda:{number}"
        try:
            assert float(torch.ones(8, device=device).sum()) == 8
            free, total = torch.cuda.mem_get_info(number)
        except (RuntimeError, AssertionError) as error:
            text = f"torch cannot compute on it ({kind_and_line(error)}); use --device cpu"
            yield Finding("warning" if wanted == "cpu" else "problem", device, text)
            continue
        memory = f"{host.readable(free)} of {host.readable(total)} free"
        text = f"{torch.cuda.get_device_name(number)}, {memory}"
        if free < total / 2:
            text += ": another process uses it (nvidia-smi)"
        yield Finding("warning" if free < total / 2 else "ok", device, text)
    if torch.cuda.is_available():
        resources.device_of(where.device)  # as a study refuses it
    has_gpu = wanted != "cpu" and torch.cuda.is_available()
    precision = resources.default_precision(Machine("cuda" if has_gpu else "cpu"))
    fast = "" if precision == "bfloat16" else " (bfloat16 is not fast here)"
    yield Finding("ok", "precision", f"{precision} for fine-tuning on images{fast}")


def _no_gpu(torch: Any, version: str, wanted: str) -> Iterator[Finding]:
    """Why there is none, as far as it can be told."""
    listed = _nvidia_smi()
    if wanted == "cuda":
        yield Finding("problem", "GPU", f"--device cuda, but {version} sees none; use --device cpu")
    elif not listed:
        yield Finding("ok", "GPU", f"none: {version} computes on the CPU")
    elif os.environ.get("CUDA_VISIBLE_DEVICES", "set") in ("", "-1", "NoDevFiles"):
        yield Finding("ok", "GPU", f"hidden by CUDA_VISIBLE_DEVICES: {version} uses the CPU")
    else:
        why = "its driver is too old for it" if torch.version.cuda else "it is a build without CUDA"
        yield Finding("warning", "GPU", f"{listed}: not used, {version} does not see it ({why}?)")


def _nvidia_smi() -> str:
    """The GPUs' names as the driver lists them; nothing without a driver."""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return ", ".join(done.stdout.split("\n")).strip(", ")
