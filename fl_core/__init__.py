"""Hyper-parameter studies of federated fine-tuning: the compact core (see README.md).

The names below are all that a study, a user's own method or a notebook needs. Each is imported
when it is first asked for, so that `import fl_core` alone costs nothing.

>>> from fl_core import TrialConfig
>>> TrialConfig().override({"local.lr": 0.05}).local.lr
0.05

A study's file ends with `main(STUDY)`, its command line. In a notebook

    result = main(STUDY, ["--preset", "smoke", "--serial"])

is a call: `result.table` and `result.pairs` are pandas frames, `result.figures` files, and a
mistake raises UserError.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fl_core.base.errors import UserError
    from fl_core.base.machine import Machine
    from fl_core.config.method_sections import LocalConfig, ServerConfig
    from fl_core.config.sections import BackboneConfig
    from fl_core.config.trial_config import TrialConfig, Value
    from fl_core.config.vocabulary import FISHER_RULES
    from fl_core.data.sharding import (
        shard_by_classes,
        shard_dirichlet,
        shard_dirichlet_labels,
        shard_iid,
    )
    from fl_core.data.task import Task
    from fl_core.federated.rule import LocalRule, Visit
    from fl_core.masks.fisher import fisher
    from fl_core.masks.rules import Scoring
    from fl_core.masks.select import calibrate_mask
    from fl_core.optim.optimiser import Optimiser
    from fl_core.optim.sparse_sgdm import SparseSGDM
    from fl_core.study.arms import DENSE, each, grid, rules, shardings
    from fl_core.study.command import main
    from fl_core.study.presets import (
        FIFTY_STEPS,
        HEAD,
        MLP,
        ONE_MACHINE,
        PAPER,
        PAPER_FULL,
        PAPER_SPARSE,
        PROBE_FINE_TUNING,
        PROBE_HEAD,
        VIT_TINY,
        VIT_TINY_SPARSE,
        Preset,
        embedded,
        paper,
        smoke,
        sparse_backbone,
        vit_tiny,
    )
    from fl_core.study.result import Result
    from fl_core.study.settled import arm_of
    from fl_core.study.study import Study
    from fl_core.trial import run_trial

__version__ = "0.1.0"

#: Public name -> the module that has it. The same names stand above, for type checkers.
_HOMES = {
    name: module
    for module, names in {
        "base.errors": "UserError",
        "base.machine": "Machine",
        "config.method_sections": "LocalConfig ServerConfig",
        "config.sections": "BackboneConfig",
        "config.trial_config": "TrialConfig Value",
        "config.vocabulary": "FISHER_RULES",
        "data.sharding": "shard_by_classes shard_dirichlet shard_dirichlet_labels shard_iid",
        "data.task": "Task",
        "federated.rule": "LocalRule Visit",
        "masks.fisher": "fisher",
        "masks.rules": "Scoring",
        "masks.select": "calibrate_mask",
        "optim.optimiser": "Optimiser",
        "optim.sparse_sgdm": "SparseSGDM",
        "study.arms": "DENSE each grid rules shardings",
        "study.command": "main",
        "study.presets": "FIFTY_STEPS HEAD MLP ONE_MACHINE PAPER PAPER_FULL PAPER_SPARSE "
        "PROBE_FINE_TUNING PROBE_HEAD VIT_TINY VIT_TINY_SPARSE Preset embedded paper smoke "
        "sparse_backbone vit_tiny",
        "study.result": "Result",
        "study.settled": "arm_of",
        "study.study": "Study",
        "trial": "run_trial",
    }.items()
    for name in names.split()
}


def __getattr__(name: str) -> Any:
    """PEP 562: a public name, from the module that has it."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fl_core' has no attribute {name!r}")
    return getattr(importlib.import_module(f"fl_core.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
