"""Contract 9: bad input is one clear line; a configuration has one name, one value, one digest."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drawn import NEUTRAL, allowed, configurations, strategy
from hypothesis import given, settings
from hypothesis import strategies as st
from other_values import ALWAYS, FIELDS, ONLY, SETTING, another_value

from fl_core.base.digests import digest_of
from fl_core.base.errors import ConfigError, UserError
from fl_core.config.aliases import ALIASES
from fl_core.config.artefact import stage_key
from fl_core.config.fields import number, shown
from fl_core.config.mask_presets import CONVENTIONS, USUAL
from fl_core.config.method_sections import HeadLocalConfig, LocalConfig
from fl_core.config.sections import HeadConfig
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study.jobs import Arm

DEFAULT = TrialConfig()


# --- names and round trips ------------------------------------------------------------------------


@settings(max_examples=100, deadline=None, derandomize=True)
@given(configurations())
def test_flat_round_trip(flat: dict[str, Value]) -> None:
    config = TrialConfig.from_flat(flat)
    assert config.to_flat() == flat
    assert config == DEFAULT.override(flat)
    stored = TrialConfig.from_flat(json.loads(json.dumps(config.to_flat())))
    assert stored == config
    assert stored.digest() == config.digest()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(configurations(), configurations())
def test_equal_configurations_and_equal_digests_are_the_same_thing(
    one: dict[str, Value], two: dict[str, Value]
) -> None:
    a, b = TrialConfig.from_flat(one), TrialConfig.from_flat(two)
    assert (a == b) == (a.digest() == b.digest())


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.data())
def test_override_changes_the_named_fields_alone(data: st.DataObject) -> None:
    free = [name for name in FIELDS if name != "mask.preset"]  # which brings others' values
    names = data.draw(st.lists(st.sampled_from(free), unique=True, max_size=5))
    mended = allowed({**NEUTRAL, **{name: data.draw(strategy(name)) for name in names}})
    values = {name: mended[name] for name in names}
    assert DEFAULT.override(values).to_flat() == {**NEUTRAL, **values}
    assert TrialConfig() == DEFAULT


def test_the_names_are_the_dataclass_paths_in_order() -> None:
    assert list(DEFAULT.to_flat()) == list(FIELDS)
    for name, value in DEFAULT.to_flat().items():
        owner: Any = DEFAULT
        for part in name.split("."):
            owner = getattr(owner, part)
        assert owner == value


def test_missing_names_keep_their_defaults() -> None:
    assert TrialConfig.from_flat({"local.lr": 0.5}) == DEFAULT.override({"local.lr": 0.5})
    assert TrialConfig.from_flat({}) == DEFAULT


UNKNOWN = {
    "local.learnrate": "",
    "local.momentun": "local.momentum",
    "federation.client": "federation.clients",
    "lr": "local.lr",
    "learning_rate": "local.lr",
    "local.learning_rate": "local.lr",
    "server.learning-rate": "server.lr",
    "head.learning_rate": "head.local.lr",
    "optimizer.lr": "local.lr",
    "epochs": "local.steps with local.unit=epochs",
    "local.epochs": "local.steps with local.unit=epochs",
    "K": "federation.clients",
    "C": "federation.participation",
    "J": "local.steps",
    "T": "rounds",
    "R": "mask.rounds",
    "N_c": "federation.classes_per_client",
    "n_c": "federation.classes_per_client",
    "alpha": "federation.alpha",
    "num_clients": "federation.clients",
    "federation.num_clients": "federation.clients",
    "sparsity": "mask.sparsity",
    "density": "mask.sparsity (the frozen share: 1 - density)",
    "batch": "local.batch_size",
    "Batch-Size": "local.batch_size",
    "rule": (
        "local.rule or select.rule or aggregate.rule or attack.rule or personal.rule or "
        "head.local.rule or mask.rule"
    ),
    "head.lr": "head.local.lr",
    "model.name": "backbone.name",
    "dataset.name": "data.name",
    "personal.lambda": "personal.lambda_",
    "sharding": "federation.sharding",
    "local": "",
    "backbones.name": "backbone.name",
    "local.lr.x": "local.lr",
    "nothing_like_it": "",
}


@pytest.mark.parametrize("name", UNKNOWN)
@pytest.mark.parametrize("make", [DEFAULT.override, TrialConfig.from_flat])
def test_unknown_names_are_errors_with_a_suggestion(
    make: Callable[[dict[str, Value]], TrialConfig], name: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make({name: 1})
    text = str(caught.value)
    assert text.startswith(f"{name}: no such configuration field")
    if UNKNOWN[name]:
        assert text.endswith(f"; did you mean {UNKNOWN[name]}?")


def test_every_alias_names_a_field() -> None:
    for alias, field in ALIASES.items():
        assert field.partition(" ")[0] in FIELDS, alias
        assert alias not in FIELDS


def test_a_name_that_is_no_text_is_an_error_too() -> None:
    with pytest.raises(ConfigError, match=r"^3: no such configuration field"):
        DEFAULT.override({3: 1})  # type: ignore[dict-item]


# --- digests --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in {*ALWAYS, *ONLY}])
def test_the_digest_follows_every_single_field(name: str) -> None:
    base = DEFAULT.override(SETTING.get(name, {}))
    if name == "federation.sharding":  # with what the other mode needs
        other = DEFAULT.override(SETTING["federation.alpha"])
        same_alpha = {"federation.alpha": None, "federation.sharding": "iid"}
        assert other.override(same_alpha).digest() == base.digest()
    elif name == "mask.rule":
        other = DEFAULT.override({"mask.rule": "random"})
    else:
        value = another_value(name, base)
        other = base.override({name: value})
        assert other.to_flat()[name] == value
    assert other.digest() != base.digest()
    assert re.fullmatch("[0-9a-f]{16}", other.digest())


@dataclasses.dataclass(frozen=True)
class LaterLocal(LocalConfig):
    """The section `local` of a version to come: one field more, of each kind."""

    nu: float = number(0.0, 0)
    late: int | None = number(None, 1)
    early: bool = False


@dataclasses.dataclass(frozen=True)
class LaterHeadLocal(LaterLocal, HeadLocalConfig):
    """The same for the head."""


@dataclasses.dataclass(frozen=True)
class LaterHead(HeadConfig):
    """A head whose local work has the new fields, too."""

    local: LaterHeadLocal = dataclasses.field(default_factory=LaterHeadLocal)


@dataclasses.dataclass(frozen=True)
class Later(TrialConfig):
    """The configuration of a version to come."""

    local: LaterLocal = dataclasses.field(default_factory=LaterLocal)
    head: LaterHead = dataclasses.field(default_factory=LaterHead)
    extra: int = number(3, 0)


NEW_FIELDS: dict[str, Value] = {
    "local.nu": 0.5, "local.late": 2, "local.early": True, "head.local.nu": 0.5,
    "head.local.late": 2, "head.local.early": True, "extra": 4,
}  # fmt: skip


@settings(max_examples=30, deadline=None, derandomize=True)
@given(configurations())
def test_a_new_field_with_a_neutral_default_changes_no_digest(flat: dict[str, Value]) -> None:
    """Finished studies go on and old runs replay, as long as nothing asks for what is new."""
    now, later = TrialConfig.from_flat(flat), Later.from_flat(flat)
    assert later.to_flat().keys() - now.to_flat().keys() == set(NEW_FIELDS)
    assert later.digest() == now.digest()
    assert stage_key("any", later) == stage_key("any", now)
    assert Arm("a", {}, later).digest() == Arm("a", {}, now).digest()
    stored = Later.from_flat(now.to_flat())  # what a run or an artefact of before holds
    assert stored == later


@pytest.mark.parametrize("name", NEW_FIELDS)
def test_another_value_of_a_new_field_changes_it(name: str) -> None:
    later = Later().override({name: NEW_FIELDS[name]})
    assert later.to_flat()[name] == NEW_FIELDS[name]
    assert later.digest() != DEFAULT.digest()
    assert stage_key("any", later) != stage_key("any", DEFAULT)
    assert Arm("a", {}, later).digest() != Arm("a", {}, DEFAULT).digest()


def test_digests_are_the_same_in_any_process() -> None:
    code = "from fl_core.config.trial_config import TrialConfig; print(TrialConfig().digest())"
    found = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(done.stdout.strip())
    assert found == [DEFAULT.digest()] * 2


def test_the_digest_function_does_not_change_by_accident() -> None:
    """Every stored artefact is named by it."""
    value = {"b": [1, 2.5, None, True, "é"], "a": {"z": 1e-05, "y": -3}}
    assert digest_of(value) == digest_of(dict(reversed(value.items())))
    assert digest_of(value) == "10fffda3cd327135"


def test_one_number_has_one_digest() -> None:
    def digest(**values: Any) -> str:
        return DEFAULT.override({n.replace("__", "."): v for n, v in values.items()}).digest()

    assert digest(local__lr=1) == digest(local__lr=1.0) == digest(local__lr=np.float64(1))
    assert digest(rounds=7.0) == digest(rounds=7) == digest(rounds=np.int32(7))
    assert digest(local__momentum=-0.0) == digest(local__momentum=0.0)
    assert digest(local__lr=0.1) != digest(local__lr=np.float32(0.1))  # these are two numbers


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("rounds", np.int64(3), int),
        ("rounds", np.array(3), int),
        ("seed", np.uint8(3), int),
        ("local.lr", np.float32(0.5), float),
        ("local.lr", 1, float),
        ("data.flip", np.bool_(False), bool),
        ("data.name", np.str_("cifar10"), str),
    ],
)
def test_numpy_scalars_become_plain_values(name: str, value: Any, kind: type) -> None:
    stored = DEFAULT.override({name: value}).to_flat()[name]
    assert type(stored) is kind
    assert stored == value


def test_configurations_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEFAULT.rounds = 3  # type: ignore[misc]
    for spec in dataclasses.fields(DEFAULT):
        section = getattr(DEFAULT, spec.name)
        if dataclasses.is_dataclass(section):
            leaf = dataclasses.fields(section)[0].name
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(section, leaf, 3)
    assert len({DEFAULT, TrialConfig(), DEFAULT.override({"seed": 1})}) == 2


CLASSES: dict[str, Value] = {"federation.sharding": "classes"}
TALOS = {"mask.preset": "talos", "fine_tune.strategy": "sparse_full"}
BAD: list[tuple[str, dict[str, Any], str]] = [
    # field at fault, all values, what is allowed
    ("federation.classes_per_client", {**CLASSES, "federation.classes_per_client": 0},
     "[1, 1e+06]"),
    ("federation.classes_per_client", {**CLASSES, "federation.classes_per_client": 101},
     "cifar100 has 100 classes: must be in [1, 100]"),
    ("federation.classes_per_client",
     {**CLASSES, "federation.classes_per_client": 11, "data.name": "cifar10"}, "[1, 10]"),
    ("federation.classes_per_client", CLASSES, "needed by federation.sharding=classes"),
    ("federation.classes_per_client", {"federation.classes_per_client": 5},
     "only for federation.sharding=classes"),
    ("federation.alpha", {"federation.sharding": "dirichlet"},
     "needed by federation.sharding=dirichlet or dirichlet_labels"),
    ("federation.alpha", {"federation.sharding": "dirichlet_labels"},
     "needed by federation.sharding=dirichlet or dirichlet_labels"),
    ("federation.alpha", {"federation.alpha": 0.5}, "only for federation.sharding=dirichlet"),
    ("federation.alpha", {"federation.sharding": "dirichlet", "federation.alpha": 0}, "(0, 1e+06]"),
    ("federation.sharding", {"federation.sharding": "random"}, "iid or classes or dirichlet"),
    ("federation.participation", {"federation.participation": 0}, "(0, 1]"),
    ("federation.participation", {"federation.participation": 1.01}, "(0, 1]"),
    ("federation.participation", {"federation.participation": -0.1}, "(0, 1]"),
    ("federation.clients", {"federation.clients": 0}, "[1, 1e+06]"),
    ("federation.clients", {"federation.clients": 50_001}, "50000"),
    ("federation.clients", {"federation.clients": 2.5}, "whole number"),
    ("rounds", {"rounds": -1}, "[0, 1e+06]"),
    ("rounds", {"rounds": True}, "number (int)"),
    ("rounds", {"rounds": "10"}, "number (int)"),
    ("rounds", {"rounds": None}, "type int"),
    ("rounds", {"rounds": 1.5}, "whole number"),
    ("rounds", {"rounds": [1, 2]}, "number (int)"),
    ("rounds", {"rounds": np.array([1, 2])}, "number (int)"),
    ("rounds", {"rounds": math.nan}, "finite"),
    ("seed", {"seed": -1}, "[0, 1e+12]"),
    ("seed", {"seed": 10**13}, "[0, 1e+12]"),
    ("rounds", {"rounds": 10**6, "local.steps": 10**6}, "more than 10,000,000,000 in all"),
    ("head.rounds", {"head.rounds": 10**6, "head.local.steps": 10**6}, "head.local.steps=1000000"),
    ("local.batch_size", {"local.batch_size": 50_001}, "only 50000 training examples"),
    ("head.local.batch_size", {"head.local.batch_size": 10**5}, "only 50000 training examples"),
    ("local.lr", {"local.lr": 1e300}, "(0, 1e+06]"),
    ("backbone.name", {"backbone.name": "two\nlines"}, "printable"),
    ("backbone.tag", {"backbone.tag": 128 * "é"}, "at most 255 bytes"),
    ("eval_every", {"eval_every": 0}, "[1, 1e+06]"),
    ("local.lr", {"local.lr": 0}, "(0, 1e+06]"),
    ("local.lr", {"local.lr": -0.1}, "(0, 1e+06]"),
    ("local.lr", {"local.lr": math.nan}, "finite"),
    ("local.lr", {"local.lr": math.inf}, "finite"),
    ("local.lr", {"local.lr": np.float32("nan")}, "finite"),
    ("local.lr", {"local.lr": "0.1"}, "number (float)"),
    ("local.lr", {"local.lr": False}, "number (float)"),
    ("local.lr", {"local.lr": 10**400}, "(0, 1e+06]"),
    ("rounds", {"rounds": 10**5000}, "[0, 1e+06]"),
    ("local.steps", {"local.steps": 0}, "[1, 1e+06]"),
    ("local.unit", {"local.unit": "batches"}, "steps or epochs"),
    ("local.unit", {"local.unit": 3}, "steps or epochs"),
    ("local.batch_size", {"local.batch_size": 0}, "[1, 1e+06]"),
    ("local.momentum", {"local.momentum": 1}, "[0, 1)"),
    ("local.weight_decay", {"local.weight_decay": -1e-9}, "[0, 1e+06]"),
    ("local.nesterov", {"local.nesterov": True}, "local.momentum > 0"),
    ("local.nesterov",
     {"local.nesterov": True, "local.momentum": 0.9, "local.dampening": 0.1}, "dampening = 0"),
    ("local.nesterov", {"local.nesterov": 1}, "true or false"),
    ("local.keep_momentum", {"local.keep_momentum": True}, "federation.participation=1"),
    ("head.local.lr", {"head.local.lr": 0}, "(0, 1e+06]"),
    ("head.local.unit", {"head.local.unit": "batches"}, "steps or epochs"),
    ("head.local.nesterov", {"head.local.nesterov": True}, "needs head.local.momentum > 0"),
    ("head.local.keep_momentum", {"head.local.keep_momentum": True}, "always keeps it"),
    ("head.local.blend", {"head.local.blend": "fisher"}, "the server's alone"),
    ("patience", {"patience": -1}, "[0, 1e+06]"),
    ("keep", {"keep": "first"}, "last or best"),
    ("server.lr", {"server.lr": 0}, "(0, 1e+06]"),
    ("schedule.warmup", {"schedule.warmup": 1.0}, "(0, 1)"),
    ("head.ridge_lambda", {"head.ridge_lambda": 0}, "(0, 1e+06]"),
    ("head.temperature", {"head.temperature": 0}, "must be auto or in (0, 1e+06]"),
    ("head.temperature", {"head.temperature": "warm"}, "must be auto or a number"),
    ("head.temperature", {"head.temperature": None}, "needs a value"),
    ("head.temperature", {"head.temperature": True}, "must be auto or a number"),
    ("head.temperature", {"head.temperature": math.inf}, "must be finite"),
    ("fine_tune.strategy",
     {"fine_tune.strategy": "head_then_sparse_backbone"}, "needs head.method"),
    ("fine_tune.strategy", {"fine_tune.strategy": "head_then_sparse_full"}, "needs head.method"),
    ("fine_tune.strategy", {"fine_tune.strategy": "full", "mask.sparsity": 0.5}, "sparse_full"),
    ("fine_tune.strategy", {"fine_tune.strategy": "full", "mask.layers": "norm"}, "sparse_full"),
    ("fine_tune.strategy", {"fine_tune.strategy": "backbone"}, "head or full or"),
    ("mask.sparsity", {"mask.sparsity": 1.0}, "[0, 1)"),
    ("mask.sparsity", {"mask.sparsity": -0.1}, "[0, 1)"),
    ("mask.rounds", {"mask.rounds": 0}, "[1, 1e+06]"),
    ("mask.threshold", {"mask.threshold": 0.0}, "(0, 1e+30]"),
    ("mask.threshold", {"mask.threshold": 1e-6, "mask.sparsity": 0.5}, "instead of mask.sparsity"),
    ("mask.threshold", {"mask.threshold": 1e-6, "mask.rule": "random"}, "rule=least_sensitive or"),
    ("mask.granularity", {"mask.threshold": 1.0, "mask.granularity": "tensor"}, "one for all"),
    ("fine_tune.strategy", {"fine_tune.strategy": "full", "mask.threshold": 0.5}, "sparse_full"),
    ("mask.preset", {"mask.preset": "TaLoS"}, "none or talos"),
    ("mask.preset", {"mask.preset": "talos"}, "needs a strategy that trains a backbone"),
    ("mask.layers", {**TALOS, "mask.layers": "all"}, "talos is mask.layers='linear+attention+"),
    ("mask.fisher", {**TALOS, "mask.fisher": "sampled"}, "talos is mask.fisher='talos'"),
    ("mask.min_active", {**TALOS, "mask.min_active": 1}, "mask.preset=talos is mask.min_active=0"),
    ("mask.rule", {"mask.rule": "fisher"}, "least_sensitive or"),
    ("mask.rule", {"mask.rule": "low_magnitude", "mask.sparsity": 0.5}, "no magnitudes"),
    ("mask.hybrid_weight", {"mask.rule": "hybrid"}, "needed by mask.rule=hybrid"),
    ("mask.hybrid_weight", {"mask.hybrid_weight": 0.5}, "only for mask.rule=hybrid"),
    ("mask.hybrid_weight", {"mask.rule": "hybrid", "mask.hybrid_weight": 1.5}, "[0, 1]"),
    ("mask.layers", {"mask.layers": "norms"}, "must be all, or linear, attention"),
    ("mask.layers", {"mask.layers": "norm+norm"}, "joined by +"),
    ("mask.layers", {"mask.layers": ""}, "must be all"),
    ("mask.source", {"mask.source": "union", "mask.scope": "per_client"}, "mask.scope=shared"),
    ("mask.average", {"mask.average": "all"}, "only for mask.scope=per_client"),
    ("mask.examples", {"mask.examples": 0}, "[1, 1e+06]"),
    ("local.blend", {"local.blend": "mean"}, "none or fisher"),
    ("compute.precision", {"compute.precision": "float16"}, "float32 or bfloat16"),
    ("data.val_fraction", {"data.val_fraction": 1}, "(0, 1)"),
    ("data.val_fraction", {"data.val_fraction": 0}, "(0, 1)"),
    ("data.flip", {"data.flip": "yes"}, "true or false"),
    ("data.name", {"data.name": "imagenet"}, "cifar100 or cifar10"),
    ("data.rotation", {"data.rotation": 181}, "[0, 180]"),
    ("data.rotation", {"data.rotation": 15.0}, "not augmented: must be 0"),
    ("data.crop", {"data.crop": 4}, "not augmented: must be 0"),
    ("backbone.weights", {"backbone.weights": "imagenet"}, "pretrained, random or sha256:"),
    ("backbone.name", {"backbone.name": 5}, "text"),
    ("backbone.name", {"backbone.name": None}, "type str"),
    ("backbone.patch_size", {"backbone.patch_size": 0}, "[1, 64]"),
    ("stop_round", {"stop_round": 11, "rounds": 10}, "at most rounds=10"),
]  # fmt: skip


@pytest.mark.parametrize(("field", "values", "allowed"), BAD)
def test_bad_values_get_one_line(field: str, values: dict[str, Any], allowed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        DEFAULT.override(values)
    text = str(caught.value)
    assert isinstance(caught.value, UserError)
    value = values.get(field)
    value = value.item() if isinstance(value, np.generic) else value
    assert text.startswith(f"{field}={shown(value)}: ")
    assert allowed in text
    assert "\n" not in text


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_refuses_another_type(name: str) -> None:
    """No field escapes the check: none takes a list."""
    with pytest.raises(ConfigError, match=re.escape(f"{name}=[0]: ")):
        DEFAULT.override({name: [0]})  # type: ignore[dict-item]


#: Where a field's bounds can be reached: others bound it, too.
LARGE: dict[str, dict[str, Value]] = {
    "stop_round": {"rounds": 10**6},
    "select.candidates": {"federation.clients": 10**6, "federation.participation": 1e-6},
    "schedule.batch_most": {"local.batch_size": 1},
    "timing.buffer": {"federation.clients": 10**6, "federation.participation": 1.0},
}


@pytest.mark.parametrize("name", [n for n, spec in FIELDS.items() if "low" in spec.metadata])
def test_every_bound_is_kept(name: str) -> None:
    meta = FIELDS[name].metadata
    for bound, exclusive, outwards in (
        (meta["low"], meta["above"], -1), (meta["high"], meta["below"], 1)
    ):  # fmt: skip
        own: dict[str, Value] = {"data.name": "of_my:own", "rounds": 1000}  # it has any size
        values = {**own, **SETTING.get(name, {}), **LARGE.get(name, {})}
        outside = bound if exclusive else bound + outwards * max(1, abs(bound))
        with pytest.raises(ConfigError, match=re.escape(f"{name}=")):
            DEFAULT.override({**values, name: outside})
        if not exclusive:
            assert DEFAULT.override({**values, name: bound}).to_flat()[name] == bound


@pytest.mark.parametrize(
    "values",
    [
        {"federation.sharding": "classes", "federation.classes_per_client": 100},
        {"federation.sharding": "dirichlet", "federation.alpha": 1e-9},
        {"federation.sharding": "dirichlet_labels", "federation.alpha": 0.3},
        {"federation.participation": 1, "federation.clients": 50_000},
        {"local.nesterov": True, "local.momentum": 0.9},
        {"local.keep_momentum": True, "federation.clients": 1},
        {"fine_tune.strategy": "head_then_sparse_backbone", "head.method": "ridge"},
        {"fine_tune.strategy": "full", "head.method": "ridge"},
        {"fine_tune.strategy": "full", "data.crop": 4, "data.rotation": 15},
        {"fine_tune.strategy": "head", "data.flip": False},
        {"fine_tune.strategy": "sparse_full", "mask.sparsity": 0.5, "mask.rule": "high_magnitude"},
        {"mask.rule": "hybrid", "mask.hybrid_weight": 0.0, "head.method": "ridge"},
        {"mask.layers": "linear+attention+norm+conv", "fine_tune.strategy": "sparse_full"},
        {"mask.scope": "per_client", "mask.average": "all"},
        {"mask.source": "majority"},
        {"mask.threshold": 1e-6, "mask.rounds": 3, "mask.scope": "per_client"},
        {"backbone.weights": "sha256:" + "a" * 64},
    ],
)
def test_what_the_errors_allow_works(values: dict[str, Value]) -> None:
    assert DEFAULT.override(values).to_flat() == {**DEFAULT.to_flat(), **values}


def test_a_preset_brings_its_values_but_for_what_is_said_beside_it() -> None:
    """Where it stands alone, in a flat configuration and in one of its own."""
    alone = DEFAULT.override(TALOS)
    assert alone == TrialConfig.from_flat(TALOS)
    assert alone == TrialConfig.from_flat(alone.to_flat()) == alone.override({})
    assert alone.to_flat() == {
        **DEFAULT.to_flat(),
        **TALOS,
        **CONVENTIONS["talos"],
        **USUAL["talos"],
    }
    own = {"mask.rounds": 1, "mask.sparsity": 0.0, "mask.examples": 16, "mask.rule": "random"}
    assert DEFAULT.override({**TALOS, **own}).to_flat() == {**alone.to_flat(), **own}
    assert alone.override({"mask.sparsity": 0.5}).mask.rounds == 4
    later = alone.override({"mask.preset": "none", "mask.min_active": 1})
    assert (later.mask.min_active, later.mask.fisher) == (1, "talos")
