"""Every field of the configuration, with another value for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from fl_core.config.fields import Section
from fl_core.config.methods import METHODS
from fl_core.config.trial_config import TrialConfig, Value

DEFAULT = TrialConfig()
Spec = dataclasses.Field[Any]


def fields(section: Section = DEFAULT, path: str = "") -> dict[str, Spec]:
    """Every dotted name with its dataclass field."""
    named: dict[str, Spec] = {}
    for spec in dataclasses.fields(section):
        value = getattr(section, spec.name)
        if isinstance(value, Section):
            named |= fields(value, f"{path}{spec.name}.")
        else:
            named[path + spec.name] = spec
    return named


FIELDS = fields()
#: What a task of text needs, whatever its name.
TEXT: dict[str, Value] = {
    "backbone.name": "char_lstm", "backbone.weights": "random", "fine_tune.strategy": "full",
}  # fmt: skip
#: Fields that are only allowed beside other values, with a setting in which they can change.
SETTING: dict[str, dict[str, Value]] = {
    "federation.sharding": {},
    "federation.classes_per_client": {
        "federation.sharding": "classes", "federation.classes_per_client": 5
    },
    "federation.alpha": {"federation.sharding": "dirichlet", "federation.alpha": 0.5},
    "data.path": {"data.name": "features", "data.path": __file__},
    "data.image_size": {"data.name": "folder", "data.path": str(Path(__file__).parent / "config")},
    "data.scored": {"data.name": "toy:letters"},  # a task of one's own: nothing else is needed
    "data.stride": {"data.name": "toy:letters"},
    "data.crop": {"fine_tune.strategy": "full"},
    "data.rotation": {"fine_tune.strategy": "full"},
    "local.nesterov": {"local.momentum": 0.9},
    "head.local.nesterov": {"head.local.momentum": 0.9},
    "local.keep_momentum": {"federation.participation": 1.0},
    "fine_tune.strategy": {"head.method": "ridge"},
    "mask.preset": {"fine_tune.strategy": "sparse_full"},
    "mask.threshold": {},
    "mask.schedule": {"mask.sparsity": 0.5},
    "mask.sparsity_end": {"mask.sparsity": 0.5, "mask.schedule": "linear"},
    "mask.recalibrate": {"mask.sparsity": 0.5},
    "mask.size_power": {"mask.scope": "per_client"},
    "mask.hybrid_weight": {"mask.rule": "hybrid", "mask.hybrid_weight": 0.25},
    "mask.average": {"mask.scope": "per_client"},
    "head.norm": {"head.hidden": 8},
    "timing.day": {"timing.window": 0.5},
    "head.shrinkage": {"head.method": "cof"},
    "head.means": {"head.method": "cof"},
    "schedule.warmup": {"schedule.name": "warmup_cosine"},
    "schedule.step_size": {"schedule.name": "step"},
    "schedule.gamma": {"schedule.name": "step"},
    "schedule.switch": {"schedule.steps": "post_local"},
    "schedule.interval": {"schedule.steps": "adacomm"},
    "schedule.shrink": {"schedule.steps": "adacomm"},
    "schedule.batch_most": {"schedule.batch": "noise_scale"},
    "schedule.smoothing": {"schedule.batch": "noise_scale"},
    "select.gamma": {"select.rule": "dirichlet"},
    "select.candidates": {"select.rule": "power_of_choice"},
    "select.examples": {"select.rule": "power_of_choice", "select.candidates": 10},
    "select.presence": {"select.rule": "availability"},
    "server.momentum": {"server.optimiser": "momentum"},
    "server.beta1": {"server.optimiser": "adam"},
    "server.beta2": {"server.optimiser": "yogi"},
    "server.tau": {"server.optimiser": "adagrad"},
    "server.bias_correction": {"server.optimiser": "adam"},
    "aggregate.trim": {"aggregate.rule": "trimmed_mean", "federation.participation": 0.5},
    "aggregate.bound": {"aggregate.rule": "norm_bound"},
    "aggregate.byzantine": {"aggregate.rule": "krum", "federation.participation": 1.0,
                            "federation.clients": 3000},
    "aggregate.noise": {"aggregate.rule": "secure_zero_sum"},
    "aggregate.clip": {"aggregate.rule": "secure"},
    "aggregate.bits": {"aggregate.rule": "secure"},
    "aggregate.modulus_bits": {"aggregate.rule": "secure"},
    "aggregate.threshold": {"aggregate.rule": "secure"},
    "attack.share": {"attack.rule": "label_flip"},
    "attack.scale": {"attack.rule": "sign_flip"},
    "timing.grouping": {"timing.mode": "superclients"},
    "timing.chain": {"timing.mode": "superclients"},
    "timing.examples": {"timing.mode": "superclients"},
    "timing.pretraining": {"timing.mode": "superclients"},
    "timing.buffer": {"timing.mode": "buffered"},
    "timing.staleness": {"timing.mode": "buffered", "timing.buffer": 2},
    "timing.mixing": {"timing.mode": "buffered", "timing.buffer": 1},
    "personal.lambda_": {"personal.rule": "ditto"},
    "personal.steps": {"personal.rule": "ditto"},
    # together with others they may be refused
    "local.rule": {}, "local.blend": {}, "head.local.rule": {}, "schedule.name": {},
    "mask.rule": {}, "mask.source": {}, "personal.rule": {}, "stop_round": {},
    "select.rule": {}, "select.reweight": {}, "schedule.batch": {}, "timing.mode": {},
    "rounds": {"head.method": "ridge"},
}  # fmt: skip
# a method's own fields: its name alone
for chooser in ("local.rule", "local.optimiser", "local.lr_scaling"):
    for choice, own in METHODS[chooser].items():
        for name in own:
            for head in ("", "head."):
                SETTING.setdefault(f"{head}local.{name}", {head + chooser: choice})
#: A single choice so far: there is no other value.
ONLY = {name for name, spec in FIELDS.items() if len(spec.metadata.get("choices", "two")) == 1}
#: A table of clients' devices.
DEVICES = str(Path(__file__).parent / "federated" / "timing" / "devices.csv")
#: Fields that a head shares with the main stage, but may not set.
ALWAYS: dict[str, Value] = {"head.local.keep_momentum": False, "head.local.blend": "none"}


def another_value(name: str, config: TrialConfig) -> Value:
    """A value of the field that is allowed and not the one it has."""
    spec, old = FIELDS[name], config.to_flat()[name]
    if name == "backbone.weights":
        return "random"
    if name == "mask.layers":
        return "head"
    if name == "local.optimiser":
        return "adamw"  # which masks take
    if spec.metadata.get("path"):
        return DEVICES
    if name == "timing.deadline":
        return 1000.0  # which somebody can meet
    if name == "timing.buffer":
        return 2  # of few in flight
    if name == "attack.share":
        return 0.5  # of few clients somebody
    if name == "select.candidates":
        return 10  # not fewer than a round has, nor more than there are
    if name == "aggregate.threshold":
        return 0.75
    if "choices" in spec.metadata:
        return next(choice for choice in spec.metadata["choices"] if choice != old)
    if isinstance(old, bool):
        return not old
    if "word" in spec.metadata:
        return 0.25
    if isinstance(old, str):
        return old + "x"
    if str(spec.type).startswith("int"):
        return 9 if old is None else old + 1 if old < spec.metadata["high"] else old - 1
    return old / 2 if old else spec.metadata["low"] + 0.25
