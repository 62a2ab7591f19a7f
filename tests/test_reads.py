"""Every stage says which fields it reads: exactly those are in its key, and no other matters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from other_values import ALWAYS, DEFAULT, FIELDS, ONLY, SETTING, another_value
from toy import config, machine_of, write_features

from fl_core import head_stage, stages
from fl_core.base.cache import load_artefact
from fl_core.base.errors import ConfigError
from fl_core.base.machine import Machine
from fl_core.base.rng import stream
from fl_core.config.artefact import stage_artefact, stage_key
from fl_core.config.fields import is_read
from fl_core.config.methods import METHODS, SECURE
from fl_core.config.sections import DataConfig
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.data.sharding import PARTITION_READS
from fl_core.data.task import Examples
from fl_core.masks import calibration, parties
from fl_core.masks.calibration import MASK_READS, Calibration
from fl_core.masks.parties import FISHER_READS, SERVER, Parties
from fl_core.models import features
from fl_core.study.workers.largest import DECIDING, estimated_bytes

READS: dict[str, tuple[str, ...]] = {
    "partition": PARTITION_READS,
    "features": features.READS,
    "features of random weights": (*features.READS, "seed"),
    "ridge": head_stage.RIDGE_READS,
    "temperature": head_stage.TEMPERATURE_READS,
    "head": head_stage.FEDAVG_HEAD_READS,
    "mask": MASK_READS,
    "fisher": FISHER_READS,
    "inputs": stages.INPUT_READS,
    "largest": DECIDING,
}
DEFAULTS = Path(__file__).parent / "config" / "defaults.json"


@pytest.mark.parametrize("name", [name for name in FIELDS if name not in {*ALWAYS, *ONLY}])
def test_the_stages_that_read_a_field_get_a_new_key_and_no_other(name: str) -> None:
    base = DEFAULT.override(SETTING.get(name, {}))
    other = base
    for needs in ({}, SETTING["federation.alpha"], {"mask.hybrid_weight": 0.5}):
        try:
            other = base.override({**needs, name: needs.get(name, another_value(name, base))})
            break
        except ConfigError:
            continue
    if name == "mask.rule":
        other = base.override({name: "random"})
    assert other.to_flat()[name] != base.to_flat()[name]
    differ = {n for n, value in other.to_flat().items() if value != base.to_flat()[n]}
    for stage, reads in READS.items():
        new = stage_key(stage, other.only(reads)) != stage_key(stage, base.only(reads))
        assert new == any(is_read(n, reads) for n in differ), stage


@pytest.mark.parametrize("stage", READS)
def test_what_is_read_exists(stage: str) -> None:
    """A name with a mistake in it would read nothing, in silence."""
    for one in READS[stage]:
        assert any(is_read(name, (one,)) for name in FIELDS), one


def test_a_changed_default_raises_the_versions() -> None:
    """A digest says nothing of a default, so another default needs another version of all keys.

    New fields are added to the file with: python tests/test_reads.py
    """
    kept = json.loads(DEFAULTS.read_text())
    flat = DEFAULT.to_flat()
    assert {name: flat.get(name) for name in kept} == kept, "raise TRIAL_VERSION, STAGE_VERSION"
    assert flat.keys() == kept.keys(), "new fields: see the docstring"


# --- no field that is not read changes one bit --------------------------------------------------


def settings_of_the_unread(base: TrialConfig, reads: tuple[str, ...]) -> Iterator[TrialConfig]:
    """Configurations that together have another value of every field that is not read.

    Most fit into one; what its other values forbid comes in a next one.
    """
    left = [name for name in FIELDS if not is_read(name, reads) and name not in {*ALWAYS, *ONLY}]
    while left:
        current, kept = base, []
        for name in left:
            value = {name: another_value(name, current)}
            for needs in ({}, SETTING.get(name, {})):
                try:
                    changed = current.override({**needs, **value})
                except ConfigError:
                    continue
                same_reads = changed.only(reads) == base.only(reads)
                if same_reads and changed.to_flat()[name] != base.to_flat()[name]:
                    current = changed
                    break
            else:
                kept.append(name)
        if kept == left:
            assert set(left) <= CANNOT, "no other value was found"
            return
        yield current
        left = kept


#: What cannot differ while the fields that it needs are read and stay as they are.
CANNOT = {"mask.size_power", "head.means", "head.shrinkage",
          "local.keep_momentum", "mask.hybrid_weight", "mask.average", "federation.alpha",
          "local.optimiser",
          "federation.classes_per_client", "mask.rule", "federation.sharding",
          "fine_tune.strategy", "mask.preset", "mask.threshold", "data.crop",
          "data.rotation", "data.image_size", "data.scored", "data.stride",
          "head.hidden", "head.norm", "head.loss",
          "aggregate.trim", "aggregate.byzantine", "aggregate.bound", "select.reweight",
          "timing.mode", *(f"timing.{n}" for own in METHODS["timing.mode"].values() for n in own),
          *(f"aggregate.{n}" for rule in SECURE for n in METHODS["aggregate.rule"][rule]),
          *(f"local.{n}" for chooser in ("local.rule", "local.optimiser")
            for own in METHODS[chooser].values() for n in own)}  # fmt: skip
Made = dict[str, Any]


def a_head(method: str) -> Callable[[TrialConfig, Machine], Made]:
    def make(cfg: TrialConfig, machine: Machine) -> Made:
        head = head_stage.train_head(cfg, machine)
        assert head is not None
        assert method == cfg.head.method
        return {"head": head}

    return make


def some_masks(cfg: TrialConfig, machine: Machine) -> Made:
    fed, _ = stages.prepare(cfg, machine)
    assert isinstance(fed.masks, Calibration)
    asked = (SERVER,) if cfg.mask.scope == "shared" else (0, 3)
    return {str(party): fed.masks.mask(party) for party in asked}


def some_fisher(cfg: TrialConfig, machine: Machine) -> Made:
    fed, start = stages.prepare(cfg, machine)
    found = Parties(cfg, machine, fed.model, fed.train, fed.shards, start.params)
    return {str(client): found.client_fisher(client) for client in (0, 3)}


def the_inputs(cfg: TrialConfig, machine: Machine) -> Made:
    return {"partition": torch.from_numpy(stages.prepare(cfg, machine)[0].class_counts)}


MASK = {"mask.sparsity": 0.5, "mask.examples": 16, "head.method": "ridge"}
STAGES: dict[str, tuple[Callable[[TrialConfig, Machine], Made], dict[str, Value]]] = {
    "ridge": (a_head("ridge"), {"head.method": "ridge", "head.temperature": 1.0}),
    "temperature": (a_head("ridge"), {"head.method": "ridge"}),
    "head": (a_head("fedavg"), {"head.method": "fedavg", "head.rounds": 3}),
    "head with hidden units": (
        a_head("fedavg"),
        {"head.method": "fedavg", "head.rounds": 2, "head.hidden": 4, "head.norm": "layer"},
    ),
    "mask": (some_masks, {**MASK, "mask.rounds": 2, "mask.rule": "hybrid",
                          "mask.hybrid_weight": 0.5}),
    "mask of clients": (some_masks, {**MASK, "mask.scope": "per_client"}),
    "mask of scores": (some_masks, {**MASK, "mask.source": "scores"}),
    "mask of masks": (some_masks, {**MASK, "mask.source": "majority"}),
    "random mask": (some_masks, {**MASK, "mask.rule": "random"}),
    "fisher": (some_fisher, MASK),
    "inputs": (the_inputs, {"head.method": "ridge", "mask.examples": 16}),
}  # fmt: skip
#: The switch that chooses the stage is no field that it reads.
SWITCH = {"ridge": ("head.method", "head.ridge_lambda", "head.temperature"),
          "temperature": ("head.method", "head.temperature"),
          "head": ("head.method",)}  # fmt: skip


@pytest.mark.parametrize("sees", ["what it reads", "everything"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_field_that_is_not_read_changes_no_bit(
    stage: str, sees: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a stage sees the whole configuration: it reads nothing that it does not name."""
    if sees == "everything":
        for module in (head_stage, calibration, parties):
            monkeypatch.setattr(module, "stage_artefact", with_everything)
    make, values = STAGES[stage]
    kind = next(name for name in READS if name in stage)
    reads = (*READS[kind], *SWITCH.get(kind, ()))
    base = config().override(values)

    def made(cfg: TrialConfig, folder: str) -> tuple[Made, dict[str, Any]]:
        machine = machine_of(tmp_path / folder)
        write_features(machine.cache_dir)
        found = make(cfg, machine)
        return found, {p.name: load_artefact(p)[0] for p in machine.cache_dir.iterdir()}

    wanted, files = made(base, "base")
    others = list(settings_of_the_unread(base, reads))
    assert 1 <= len(others) <= 12
    for number, other in enumerate(others):
        again, same_files = made(other, str(number))
        assert again.keys() == wanted.keys()
        for name, tensor in wanted.items():
            assert torch.equal(again[name], tensor), changed_fields(base, other)
        assert same_files.keys() == files.keys(), changed_fields(base, other)


def with_everything(
    stage: str, config: TrialConfig, machine: Machine, reads: Any, make: Any, *indices: int
) -> dict[str, torch.Tensor]:
    """As `stage_artefact`, but the stage is given all fields."""
    return stage_artefact(stage, config, machine, reads, lambda _: make(config), *indices)


def changed_fields(base: TrialConfig, other: TrialConfig) -> dict[str, Value]:
    """For the message of a failure."""
    usual = base.to_flat()
    return {name: value for name, value in other.to_flat().items() if value != usual[name]}


@pytest.mark.parametrize("weights", ["random", "pretrained"])
def test_features_follow_what_they_read_alone(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(data: DataConfig, machine: Machine, *, train: bool) -> Examples:
        pixels = stream(int(train), "toy").integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
        return Examples(torch.from_numpy(pixels), torch.arange(20) % 10)

    def builds(own: Any, weights_file: Path | None = None, seed: int = 0, classes: int = 0) -> Any:
        seeds.append(seed)
        return real(
            own.__class__(**{**vars(own), "weights": "random"}), weights_file, seed, classes
        )

    real, seeds = features.build_backbone, list[int]()
    monkeypatch.setattr(features, "load_examples", load)
    monkeypatch.setattr(features, "build_backbone", builds)
    base = TrialConfig().override(
        {"backbone.name": "cnn", "backbone.image_size": 8, "backbone.weights": weights}
    )
    reads = READS["features of random weights" if weights == "random" else "features"]
    wanted = features.extract_features(base, machine_of(tmp_path / "base")).features
    for number, other in enumerate(settings_of_the_unread(base, reads)):
        machine = machine_of(tmp_path / str(number))
        assert torch.equal(features.extract_features(other, machine).features, wanted)
        assert features.features_path(other, tmp_path) == features.features_path(base, tmp_path)
    assert set(seeds) == {0}


@pytest.mark.parametrize("strategy", ["head", "sparse_full"])
def test_the_estimate_of_memory_follows_what_decides_alone(strategy: str) -> None:
    base = config(fine_tune__strategy=strategy, head__method="ridge", mask__sparsity=0.5,
                  local__momentum=0.5)  # fmt: skip
    for device in ("cpu", "cuda"):
        for other in settings_of_the_unread(base, DECIDING):
            assert estimated_bytes(other, device) == estimated_bytes(base, device)


if __name__ == "__main__":
    DEFAULTS.write_text(json.dumps(DEFAULT.to_flat(), indent=1) + "\n")
