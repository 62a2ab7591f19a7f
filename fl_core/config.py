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
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

Value = str | int | float | bool | None

#: Part of every digest: raise it when the same configuration would give other numbers.
TRIAL_VERSION = 1


class UserError(Exception):
    """A mistake of the user or a broken environment: shown as one line, exit code 2."""


class ConfigError(UserError):
    """A configuration field with a value that is not allowed."""


def _number(
    default: float | int | None,
    low: float,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> Any:
    """A field within [low, high]; `above` / `below` make an end exclusive."""
    return field(
        default=default, metadata={"low": low, "high": high, "above": above, "below": below}
    )


def _choice(default: str, *allowed: str) -> Any:
    return field(default=default, metadata={"choices": allowed})


def _fail(name: str, value: object, allowed: str) -> ConfigError:
    return ConfigError(f"{name}={value!r}: {allowed}")


def _checked(name: str, value: object, spec: dataclasses.Field[Any]) -> object:
    """`value` in the field's own type, or a ConfigError that names field, value and bounds."""
    kinds = str(spec.type).split(" | ")
    if value is None:
        if "None" in kinds:
            return None
        raise _fail(name, value, f"needs a value of type {kinds[0]}")
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    kind = kinds[0]
    if kind == "bool":
        if not isinstance(value, bool):
            raise _fail(name, value, "must be true or false")
        return value
    if kind == "str":
        choices = spec.metadata.get("choices")
        if not isinstance(value, str) or (choices and value not in choices):
            raise _fail(name, value, "must be " + (" or ".join(choices) if choices else "text"))
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _fail(name, value, f"must be a number ({kind})")
    if isinstance(value, float) and not math.isfinite(value):
        raise _fail(name, value, "must be finite")
    if kind == "int" and value != int(value):
        raise _fail(name, value, "must be a whole number")
    low, high = spec.metadata["low"], spec.metadata["high"]
    above, below = spec.metadata["above"], spec.metadata["below"]
    if value < low or value > high or (above and value == low) or (below and value == high):
        left, right = "(" if above else "[", ")" if below or math.isinf(high) else "]"
        raise _fail(name, value, f"must be in {left}{low:g}, {high:g}{right}")
    try:
        return int(value) if kind == "int" else float(value) + 0.0  # no -0.0: one digest for both
    except OverflowError as error:
        raise _fail(name, value, "is too large") from error


class _Section:
    """A group of fields; checks each one's type and bounds on construction."""

    prefix: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, spec.name)
            if not isinstance(value, _Section):
                checked = _checked(self.prefix + spec.name, value, spec)
                object.__setattr__(self, spec.name, checked)


@dataclass(frozen=True)
class DataConfig(_Section):
    """The data set, its validation split and the augmentation of training images."""

    prefix: ClassVar[str] = "data."
    name: str = _choice("cifar100", "cifar100", "cifar10")
    val_fraction: float = _number(0.1, 0, 1, above=True, below=True)
    split_seed: int = _number(0, 0)  # the split is fixed: it does not follow the trial's seed
    train_on: str = _choice("train", "train", "train+val")
    flip: bool = True
    crop: int = _number(0, 0, 16)  # padding in pixels of a random crop; 0 = off
    rotation: float = _number(0.0, 0, 180)  # degrees, uniform in [-rotation, rotation]


@dataclass(frozen=True)
class BackboneConfig(_Section):
    """A timm classifier without its head. `weights`: pretrained, random, or sha256:<hex>."""

    prefix: ClassVar[str] = "backbone."
    name: str = "vit_tiny_patch16_224"
    tag: str = "augreg_in21k_ft_in1k"  # timm's name of the pre-trained weights
    weights: str = "pretrained"
    image_size: int = _number(224, 8, 1024)
    patch_size: int | None = _number(None, 1, 64)  # None = the model's own

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weights not in ("pretrained", "random") and not self.weights.startswith("sha256:"):
            raise _fail("backbone.weights", self.weights, "must be pretrained, random or sha256:…")


@dataclass(frozen=True)
class FederationConfig(_Section):
    """K clients, the fraction C sampled each round, and how the examples are spread."""

    prefix: ClassVar[str] = "federation."
    clients: int = _number(100, 1)
    participation: float = _number(0.1, 0, 1, above=True)
    sharding: str = _choice("iid", "iid", "classes", "dirichlet")
    classes_per_client: int | None = _number(None, 1)  # N_c, for sharding=classes
    alpha: float | None = _number(None, 0, above=True)  # for sharding=dirichlet


@dataclass(frozen=True)
class LocalConfig(_Section):
    """One client's work in one round: J steps (or epochs) of SGD with momentum."""

    prefix: ClassVar[str] = "local."
    steps: int = _number(4, 1)
    unit: str = _choice("steps", "steps", "epochs")
    lr: float = _number(0.1, 0, above=True)
    momentum: float = _number(0.0, 0, 1, below=True)
    dampening: float = _number(0.0, 0, 1)
    nesterov: bool = False
    weight_decay: float = _number(0.0, 0)
    batch_size: int = _number(64, 1)
    keep_momentum: bool = False  # momentum survives the round: one client only (centralised)


@dataclass(frozen=True)
class ScheduleConfig(_Section):
    """Learning-rate factor over the run's progress in [0, 1]; see fl_core.client.lr_factor."""

    prefix: ClassVar[str] = "schedule."
    name: str = _choice("constant", "constant", "cosine", "step", "warmup_cosine")
    warmup: float = _number(0.1, 0, 1, above=True, below=True)  # share of the run, warmup_cosine
    step_size: float = _number(0.34, 0, 1, above=True)  # share of the run between drops, step
    gamma: float = _number(0.1, 0, 1, above=True)  # factor of each drop, step


@dataclass(frozen=True)
class ServerConfig(_Section):
    """w <- w + lr * (weighted mean of the clients' parameters - w)."""

    prefix: ClassVar[str] = "server."
    lr: float = _number(1.0, 0, above=True)


@dataclass(frozen=True)
class HeadConfig(_Section):
    """How the classifier on the frozen features is obtained before fine-tuning."""

    prefix: ClassVar[str] = "head."
    method: str = _choice("none", "none", "ridge", "fedavg")
    ridge_lambda: float = _number(1.0, 0, above=True)  # added to the diagonal of X^T X / n
    rounds: int = _number(50, 1)  # for method=fedavg; the rest of its settings is `local`
    lr: float = _number(0.1, 0, above=True)


@dataclass(frozen=True)
class FineTuneConfig(_Section):
    """Which parts train in the main stage; `head` runs on cached features."""

    prefix: ClassVar[str] = "fine_tune."
    trainable: str = _choice("head", "head", "backbone", "full")
    execution: str = _choice("auto", "auto", "sequential", "stacked")
    precision: str = _choice("float32", "float32", "bfloat16")
    keep: str = _choice("last", "last", "best")  # parameters that count at the end
    patience: int = _number(0, 0)  # evaluations without a better one before stopping; 0 = off


@dataclass(frozen=True)
class TrialConfig(_Section):
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
    rounds: int = _number(100, 1)
    eval_every: int = _number(5, 1)
    seed: int = _number(0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        fed, local = self.federation, self.local
        for mode, name in (("classes", "classes_per_client"), ("dirichlet", "alpha")):
            value = getattr(fed, name)
            if (fed.sharding == mode) != (value is not None):
                need = "needed by" if value is None else "only for"
                raise _fail(f"federation.{name}", value, f"{need} federation.sharding={mode}")
        classes = {"cifar100": 100, "cifar10": 10}[self.data.name]
        if fed.classes_per_client is not None and fed.classes_per_client > classes:
            allowed = f"{self.data.name} has {classes} classes: must be in [1, {classes}]"
            raise _fail("federation.classes_per_client", fed.classes_per_client, allowed)
        if fed.clients > 50_000:
            raise _fail("federation.clients", fed.clients, "CIFAR has only 50000 training images")
        if local.nesterov and (local.momentum == 0 or local.dampening != 0):
            raise _fail("local.nesterov", True, "needs local.momentum > 0 and local.dampening = 0")
        if self.fine_tune.trainable == "backbone" and self.head.method == "none":
            needs = "needs head.method=ridge or fedavg: behind a head of zeros nothing learns"
            raise _fail("fine_tune.trainable", "backbone", needs)
        if local.keep_momentum and fed.clients > 1:
            raise _fail("local.keep_momentum", True, "only for federation.clients=1 (centralised)")

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
