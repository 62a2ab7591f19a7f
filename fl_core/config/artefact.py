"""The artefact of a stage: stored once, under the configuration fields that the stage reads."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fl_core.base.cache import cached
from fl_core.base.digests import digest_of
from fl_core.base.machine import Machine
from fl_core.config.trial_config import TrialConfig

STAGE_VERSION = 3  # part of every stage's key


def stage_artefact(
    stage: str,
    config: TrialConfig,
    machine: Machine,
    ignored: tuple[str, ...],
    make: Callable[[], dict[str, Tensor]],
    *indices: int,
) -> dict[str, Tensor]:
    """A stage's tensors, stored under the hash of the fields that it does not ignore."""
    fields = {n: v for n, v in config.to_flat().items() if not n.startswith(ignored)}
    key = digest_of({"stage": stage, "version": STAGE_VERSION, **fields})
    name = "-".join([stage, key, *map(str, indices)])
    path = machine.cache_dir / f"{name}.safetensors"
    return cached(path, lambda: (make(), {"config": fields}))[0]
