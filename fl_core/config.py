"""The configuration of one trial: frozen, validated, hashable (layer 0).

`TrialConfig` holds everything a result depends on, and nothing else; its dotted names
(`local.lr`) are at once the search-space keys, the MLflow parameters and the table columns.
`Machine` holds what must NOT change a result: where data and artefacts lie, which device.
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from fl_core.fields import ConfigError, Section, UserError, choice, number, refuse

Value = str | int | float | bool | None

__all__ = ["ConfigError", "Machine", "TrialConfig", "UserError", "Value", "digest_of"]

#: Part of every digest: raise it when the same configuration would give other numbers.
TRIAL_VERSION = 1


@dataclass(frozen=True)
class DataConfig(Section):
    """The data set, its validation split and the augmentation of training images."""

    prefix: ClassVar[str] = "data."
    name: str = choice("cifar100", "cifar100", "cifar10")
    val_fraction: float = number(0.1, 0, 1, above=True, below=True)
    split_seed: int = number(0, 0)  # the split is fixed: it does not follow the trial's seed
    train_on: str = choice("train", "train", "train+val")
    flip: bool = True
    crop: int = number(0, 0, 16)  # padding in pixels of a random crop; 0 = off
    rotation: float = number(0.0, 0, 180)  # degrees, uniform in [-rotation, rotation]


@dataclass(frozen=True)
class BackboneConfig(Section):
    """A timm classifier without its head. `weights`: pretrained, random, or sha256:<hex>."""

    prefix: ClassVar[str] = "backbone."
    name: str = "vit_tiny_patch16_224"
    tag: str = "augreg_in21k_ft_in1k"  # timm's name of the pre-trained weights
    weights: str = "pretrained"
    image_size: int = number(224, 8, 1024)
    patch_size: int | None = number(None, 1, 64)  # None = the model's own

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights not in ("pretrained", "random") and not self.weights.startswith("sha256:"):
            raise refuse("backbone.weights", self.weights, "must be pretrained, random or sha256:…")


@dataclass(frozen=True)
class FederationConfig(Section):
    """K clients, the fraction C sampled each round, and how the examples are spread."""

    prefix: ClassVar[str] = "federation."
    clients: int = number(100, 1)
    participation: float = number(0.1, 0, 1, above=True)
    sharding: str = choice("iid", "iid", "classes", "dirichlet")
    classes_per_client: int | None = number(None, 1)  # N_c, for sharding=classes
    alpha: float | None = number(None, 0, above=True)  # for sharding=dirichlet


@dataclass(frozen=True)
class LocalConfig(Section):
    """One client's work in one round: J steps (or epochs) of SGD with momentum."""

    prefix: ClassVar[str] = "local."
    steps: int = number(4, 1)
    unit: str = choice("steps", "steps", "epochs")
    lr: float = number(0.1, 0, above=True)
    momentum: float = number(0.0, 0, 1, below=True)
    dampening: float = number(0.0, 0, 1)
    nesterov: bool = False
    weight_decay: float = number(0.0, 0)
    batch_size: int = number(64, 1)
    keep_momentum: bool = False  # momentum survives the round: one client only (centralised)


@dataclass(frozen=True)
class ScheduleConfig(Section):
    """Learning-rate factor over the run's progress in [0, 1]; see fl_core.client.lr_factor."""

    prefix: ClassVar[str] = "schedule."
    name: str = choice("constant", "constant", "cosine", "step", "warmup_cosine")
    warmup: float = number(0.1, 0, 1, above=True, below=True)  # share of the run, warmup_cosine
    step_size: float = number(0.34, 0, 1, above=True)  # share of the run between drops, step
    gamma: float = number(0.1, 0, 1, above=True)  # factor of each drop, step


@dataclass(frozen=True)
class ServerConfig(Section):
    """w <- w + lr * (weighted mean of the clients' parameters - w)."""

    prefix: ClassVar[str] = "server."
    lr: float = number(1.0, 0, above=True)


@dataclass(frozen=True)
class HeadConfig(Section):
    """How the classifier on the frozen features is obtained before fine-tuning."""

    prefix: ClassVar[str] = "head."
    method: str = choice("none", "none", "ridge", "fedavg")
    ridge_lambda: float = number(1.0, 0, above=True)  # added to the diagonal of X^T X / n
    rounds: int = number(50, 1)  # for method=fedavg; the rest of its settings is `local`
    lr: float = number(0.1, 0, above=True)


@dataclass(frozen=True)
class FineTuneConfig(Section):
    """Which parts train in the main stage; `head` runs on cached features."""

    prefix: ClassVar[str] = "fine_tune."
    trainable: str = choice("head", "head", "backbone", "full")
    execution: str = choice("auto", "auto", "sequential", "stacked")
    precision: str = choice("float32", "float32", "bfloat16")
    keep: str = choice("last", "last", "best")  # parameters that count at the end
    patience: int = number(0, 0)  # evaluations without a better one before stopping; 0 = off


@dataclass(frozen=True)
class TrialConfig(Section):
    """Everything the result of one trial depends on.

    >>> cfg = TrialConfig().override({"local.lr": 0.05, "federation.clients": 10})
    >>> cfg.local.lr, cfg.to_flat()["federation.clients"]
    (0.05, 10)
    """

    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    federation: FederationConfig = field(default_factory=FederationConfig)
    local: LocalConfig = field(default_factory=LocalConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    fine_tune: FineTuneConfig = field(default_factory=FineTuneConfig)
    rounds: int = number(100, 1)
    eval_every: int = number(5, 1)
    seed: int = number(0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        fed, local = self.federation, self.local
        for mode, name in (("classes", "classes_per_client"), ("dirichlet", "alpha")):
            value = getattr(fed, name)
            if (fed.sharding == mode) != (value is not None):
                need = "needed by" if value is None else "only for"
                raise refuse(f"federation.{name}", value, f"{need} federation.sharding={mode}")
        classes = {"cifar100": 100, "cifar10": 10}[self.data.name]
        if fed.classes_per_client is not None and fed.classes_per_client > classes:
            allowed = f"{self.data.name} has {classes} classes: must be in [1, {classes}]"
            raise refuse("federation.classes_per_client", fed.classes_per_client, allowed)
        if fed.clients > 50_000:
            raise refuse("federation.clients", fed.clients, "CIFAR has only 50000 training images")
        if local.nesterov and (local.momentum == 0 or local.dampening != 0):
            raise refuse("local.nesterov", True, "needs local.momentum > 0 and local.dampening = 0")
        if self.fine_tune.trainable == "backbone" and self.head.method == "none":
            needs = "needs head.method=ridge or fedavg: behind a head of zeros nothing learns"
            raise refuse("fine_tune.trainable", "backbone", needs)
        if local.keep_momentum and fed.clients > 1:
            raise refuse("local.keep_momentum", True, "only for federation.clients=1 (centralised)")

    def override(self, values: Mapping[str, Value]) -> TrialConfig:
        """A copy with the named fields replaced; unknown names are a ConfigError."""
        return TrialConfig.from_flat({**self.to_flat(), **values})

    @classmethod
    def from_flat(cls, flat: Mapping[str, Value]) -> TrialConfig:
        """The inverse of `to_flat`; missing names keep their defaults, unknown ones are errors."""
        known = cls().to_flat()
        for name in flat.keys() - known.keys():
            leaves = [full for full in known if full.endswith(f".{name}")]
            close = leaves or difflib.get_close_matches(str(name), known, n=1)
            hint = f"; did you mean {' or '.join(close)}?" if close else ""
            raise ConfigError(f"{name}: no such configuration field{hint}")
        top: dict[str, Any] = {}
        nested: dict[str, dict[str, Value]] = {}
        for name, value in flat.items():
            section, _, leaf = name.rpartition(".")
            (nested.setdefault(section, {}) if section else top)[leaf] = value
        sections = {spec.name: spec.default_factory for spec in dataclasses.fields(cls)}
        for section, fields in nested.items():
            top[section] = sections[section](**fields)  # type: ignore[operator]
        return cls(**top)

    def to_flat(self) -> dict[str, Value]:
        """Dotted names to plain values, in declaration order."""
        flat: dict[str, Value] = {}
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, dict):
                flat.update({f"{name}.{leaf}": item for leaf, item in value.items()})
            else:
                flat[name] = value
        return flat

    def digest(self) -> str:
        """16 hex digits that name this configuration (and the code's TRIAL_VERSION)."""
        return digest_of({"version": TRIAL_VERSION, **self.to_flat()})


@dataclass(frozen=True)
class Machine:
    """Where a trial runs: no field here may change a result on the same device type."""

    device: str = "cpu"
    data_dir: Path = Path("data")
    cache_dir: Path = Path("results/artefacts")
    weights_file: Path | None = None
    threads: int | None = None  # torch threads; None = torch's own choice


def digest_of(value: object) -> str:
    """16 hex digits of the canonical JSON of `value`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
