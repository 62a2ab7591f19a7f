"""Where a trial runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Where a trial runs: no field here may change a result on the same device type."""

    device: str = "cpu"
    data_dir: Path = Path("data")
    cache_dir: Path = Path("results/artefacts")
    weights_file: Path | None = None
    threads: int | None = None  # torch threads; None = torch's own choice
    gpu_share: float = 1.0  # of a GPU's memory that a trial may take
