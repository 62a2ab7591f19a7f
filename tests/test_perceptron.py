"""Trials of a classifier with hidden units: masks, checkpoints, both executions, a head first."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from reference import looped_fisher, relative_error
from toy import config, plain

from fl_core import stages
from fl_core.base.machine import Machine
from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.trial_config import Value
from fl_core.data.sources import FeatureSource
from fl_core.inputs import build_classifier, feature_federation
from fl_core.masks import fisher as scores
from fl_core.models.heads import Perceptron, build_head
from fl_core.study.workers.largest import describe, estimated_bytes
from fl_core.trial import run_trial

UNITS: dict[str, Value] = {"head.hidden": 6, "head.norm": "layer"}
MASKED: dict[str, dict[str, Value]] = {
    "dense": {},
    "least sensitive": {"mask.sparsity": 0.6, "mask.rounds": 2, "mask.examples": 30},
    "by magnitude, of each client": {
        "mask.sparsity": 0.6, "mask.rule": "low_magnitude", "mask.scope": "per_client",
    },
    "normalisation alone": {"mask.layers": "norm", "mask.examples": 30},
}  # fmt: skip


@pytest.mark.parametrize("masks", MASKED)
def test_resume_is_exact_and_frozen_entries_stay(
    masks: str, machine: Machine, tmp_path: Path
) -> None:
    cfg = config(**{**UNITS, **MASKED[masks]}, rounds=4, eval_every=2, local__batch_size=16)  # type: ignore[arg-type]
    whole = list(run_trial(cfg, machine, tmp_path / "whole"))
    killed = run_trial(cfg, machine, tmp_path / "killed")
    next(killed)
    killed.close()
    again = list(run_trial(cfg, machine, tmp_path / "killed"))
    assert plain(again) == plain(whole)
    one = list(run_trial(cfg.override({"compute.execution": "sequential"}), machine))
    assert one[-1]["val_loss"] == pytest.approx(whole[-1]["val_loss"], rel=1e-4)
    assert one[-1]["bytes_up"] == whole[-1]["bytes_up"]
    fed, start = stages.prepare(cfg, machine)
    if fed.masks is None:
        return
    active = fed.masks(0).mask
    count = int(active.sum())
    assert 0 < count < len(active)
    if masks == "normalisation alone":
        assert count == 2 * 6
    named = fed.model.layout.views(start.params)
    assert set(named) == {
        f"{layer}.{part}" for layer in ("hidden", "norm", "head") for part in ("weight", "bias")
    }


def test_a_head_that_is_learnt_first_is_where_the_backbone_begins(machine: Machine) -> None:
    """On features by FedAvg, then in front of images, frozen, with the same logits."""
    cfg = config(**UNITS, head__method="fedavg", head__rounds=2)  # type: ignore[arg-type]
    head = stages.train_head(cfg, machine)
    assert head is not None
    model = FlatModule(build_head(cfg.head, 16, 100, cfg.seed))
    assert not torch.equal(head, model.flat)
    assert torch.equal(feature_federation(cfg, machine).model.flat, model.flat)
    values = {"backbone.name": "cnn", "backbone.weights": "random", "backbone.image_size": 8}
    whole = cfg.override({**values, "fine_tune.strategy": "head_then_sparse_backbone"})
    wide = FlatModule(build_head(whole.head, 512, 100, seed=5))
    classifier, _ = build_classifier(whole, machine, wide.flat)
    assert isinstance(classifier.head, Perceptron)
    images = torch.zeros(2, 3, 8, 8)
    wanted = wide.module(classifier.backbone(images))
    assert torch.equal(classifier(images), wanted)
    assert not any(p.requires_grad for p in classifier.head.parameters())


@pytest.mark.parametrize("kind", ["sampled", "talos", "empirical"])
def test_fisher_information_is_that_of_a_loop(kind: str) -> None:
    """By the fast route, which knows LayerNorm."""
    rng = stream(0, "perceptron")
    inputs = torch.from_numpy(rng.standard_normal((9, 5))).float()
    source = FeatureSource(inputs, torch.from_numpy(rng.integers(0, 4, 9)))
    model = FlatModule(build_head(config(**UNITS).head, 5, 4, seed=0))  # type: ignore[arg-type]
    model.flat += 0.3 * torch.from_numpy(rng.standard_normal(model.layout.size)).float()
    chosen = torch.arange(9).numpy()
    found, right = (
        compute(model, source, chosen, kind, *size, stream(0, "labels"))
        for compute, size in ((scores.fisher, (4,)), (looped_fisher, ()))
    )
    assert relative_error(found, right) < 1e-4


def test_the_estimate_of_memory_grows_with_the_hidden_layer() -> None:
    sizes = [estimated_bytes(config(head__hidden=n)) for n in (0, 256, 1024)]
    assert sizes == sorted(set(sizes))
    assert "64 hidden units" in describe(config(head__hidden=64))
