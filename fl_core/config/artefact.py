"""The artefact of a stage: stored once, under the configuration fields that the stage reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from fl_core.base.cache import cached
from fl_core.base.digests import digest_of
from fl_core.base.machine import Machine
from fl_core.config.trial_config import TrialConfig

#: Part of every stage's key; raised like TRIAL_VERSION.
STAGE_VERSION = 5


def stage_key(stage: str, read: TrialConfig, version: int = STAGE_VERSION) -> str:
    """Names a stage's artefact by the fields that it reads (`TrialConfig.only`)."""
    return digest_of({"stage": stage, "version": version, **read.identity()})


def stage_artefact(
    stage: str,
    config: TrialConfig,
    machine: Machine,
    reads: Sequence[str],
    make: Callable[[TrialConfig], dict[str, Tensor]],
    *indices: int,
) -> dict[str, Tensor]:
    """A stage's tensors, stored under the hash of the fields that it says it reads.

    `make` is given a configuration in which all others have their defaults: what it does not name,
    it cannot read.
    """
    read = config.only(reads)
    name = "-".join([stage, stage_key(stage, read), *map(str, indices)])
    path = machine.cache_dir / f"{name}.safetensors"
    return cached(path, lambda: (make(read), {"config": read.to_flat()}))[0]
