"""The studies of gradient masks as a user runs them: on embedded features, and on real images."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from faults.here import run_here
from faults.place import Place

from fl_core import inputs
from fl_core.base.machine import Machine
from fl_core.config.sections import DataConfig
from fl_core.data.task import Examples
from fl_core.data.tasks import load_examples
from studies import load_study

ONCE = ("--preset", "smoke", "--trials", "1", "--seeds", "1", "--no-neighbours")


def masks_csv(place: Place) -> list[pd.DataFrame]:
    """The table by layer of every confirmation run, as MLflow keeps it."""
    return [pd.read_csv(path) for path in sorted(place.folder.glob("mlartifacts/**/masks.csv"))]


@pytest.mark.soak
def test_overlap_of_client_masks(tmp_path: Path) -> None:
    """iid and N_c=10, least sensitive and random, s=0.5: chance is 1/3, random masks stay there."""
    place = Place.at(tmp_path, "mask_overlap", (*ONCE, "--seeds", "2"))
    place.run_here(figures=True)
    table = place.frame().set_index(["federation.sharding", "mask.rule"])
    assert len(table) == 4
    runs = [r for r in place.runs() if r.data.tags.get("phase") == "confirm"]
    assert len(runs) == 8
    for run in runs:
        metrics = run.data.metrics
        assert metrics["mask_active"] == 19_300 / 2
        assert metrics["mask_expected"] == pytest.approx(1 / 3, abs=1e-3)
        assert metrics["mask_excess"] == pytest.approx(
            metrics["mask_jaccard"] - metrics["mask_expected"]
        )
        if run.data.params["mask.rule"] == "random":
            assert abs(metrics["mask_excess"]) < 0.01
        else:
            assert metrics["mask_excess"] > 0.03
    assert len(masks_csv(place)) == 8
    for layers in masks_csv(place):
        assert list(layers["layer"]) == ["weight", "bias", "overall"]
    text = (place.out / "table.md").read_text()
    assert "chance" in text
    assert (place.out / "figures" / "overlap_sharding.png").exists()


def test_sparse_clients_send_what_they_train(tmp_path: Path) -> None:
    place = Place.at(tmp_path, "sparse_fedavg", (*ONCE, "--set", "head.rounds=20"))
    place.run_here()
    runs = [r for r in place.runs() if r.data.tags.get("phase") == "confirm"]
    assert len(runs) == 6
    for run in runs:
        active = run.data.metrics.get("mask_active", 19_300)
        share = 1 - float(run.data.params["mask.sparsity"])
        assert abs(active - share * 19_300) <= 2  # the guard may add an entry a tensor
        messages = 16 * 10
        head = 20 * 10 * (16 + 4 * 19_300)  # its rounds, clients, messages
        assert run.data.metrics["bytes_up_head"] == head
        assert run.data.metrics["bytes_up"] == head + messages * (16 + 4 * active)
    assert all(r.data.metrics["test_accuracy"] > 0.5 for r in runs)


@pytest.fixture
def few_test_images(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A tenth of the test set: a transformer on all takes longer than the rest of the test."""

    def load(data: DataConfig, machine: Machine, *, train: bool) -> Examples:
        images, labels, _ = load_examples(data, machine, train=train)
        return Examples(images, labels) if train else Examples(images[:1000], labels[:1000])

    monkeypatch.setattr(inputs, "load_examples", load)
    yield
    inputs.forget_inputs()  # which are kept from call to call


@pytest.mark.soak
@pytest.mark.usefixtures("few_test_images")
def test_a_real_transformer_on_real_images(tmp_path: Path, cifar_dir: Path) -> None:
    """The vit-tiny preset cut to a round of two clients; without a head it needs no features."""
    weights = os.environ.get("FL_WEIGHTS")
    if not weights:
        pytest.skip("FL_WEIGHTS names no weights")
    place = Place.at(tmp_path, "calibration_rules", ())
    values = {
        "head.method": "none", "fine_tune.strategy": "sparse_full", "mask.sparsity": 0.9,
        "mask.rounds": 2, "mask.examples": 16, "mask.layers": "linear+attention+norm+conv",
        "local.steps": 2, "local.batch_size": 8, "local.momentum": 0.9, "local.lr": 0.01,
        "federation.participation": 0.02, "data.val_fraction": 0.01, "backbone.image_size": 32,
        "rounds": 1,
    }  # fmt: skip
    argv = ["--serial", "--preset", "vit-tiny", "--weights", weights, "--data-dir", str(cifar_dir)]
    argv += [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    study = load_study(place.file)
    few = replace(
        study.presets["vit-tiny"],
        arms=[{"mask.preset": "talos", "mask.scope": "shared"}, {"mask.scope": "per_client"}],
        budget=4, eval_steps=2, trials=1,
    )  # fmt: skip
    study = replace(study, presets={"vit-tiny": few})
    run_here(study, [*place.where(), *argv], tmp_path, place.events).assert_good()
    assert list(place.frame()["mask.scope"]) == ["shared", "per_client"]
    talos, *_ = [r for r in place.runs() if r.data.params.get("mask.preset") == "talos"]
    assert (talos.data.params["mask.fisher"], talos.data.params["mask.examples"]) == ("talos", "16")
    layers = masks_csv(place)
    assert len(layers) == 2
    for frame in layers:
        overall = frame.set_index("layer").loc["overall"]
        assert overall["active_share"] == pytest.approx(0.1, abs=1e-3)  # the guard adds a few
        assert not frame["layer"].str.contains("pos_embed|cls_token|head").any()  # out of scope
        assert frame["layer"].str.startswith("backbone.").sum() == len(frame) - 1
    collapsed = [bool((frame["active_share"] == 0).any()) for frame in layers]
    assert sorted(collapsed) == [False, True]  # the guard's doing, which TaLoS has not
    own = [frame for frame in layers if frame["jaccard"].notna().any()]
    assert len(own) == 1  # the clients' own masks, two of them
    assert own[0].set_index("layer").loc["overall", "excess"] > 0.05


def test_what_is_below_a_threshold_is_counted(tmp_path: Path) -> None:
    """Nobody asked for a number of entries: it differs by sharding and seed, and is told."""
    place = Place.at(tmp_path, "sensitivity_threshold", (*ONCE, "--seeds", "2"))
    place.run_here()
    table = place.frame()
    assert list(table["mask.threshold"].notna()) == [False, True] * 2
    runs = [r for r in place.runs() if r.data.tags.get("phase") == "confirm"]
    counts = {r.data.metrics["mask_active"] for r in runs if "mask_active" in r.data.metrics}
    assert len(counts) == 4  # two shardings, two seeds
    assert all(0.3 < count / 19_300 < 0.6 for count in counts)
    text = (place.out / "table.md").read_text()
    assert "trainable least_sensitive" in text
    assert "active [%]" in text
