"""Every model of timm builds or is one line, those that a user's file registers too."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import _registry as registry

from fl_core.base.errors import UserError
from fl_core.config.sections import BackboneConfig
from fl_core.models.backbone import build_backbone
from fl_core.models.weights import file_sha256

#: A small model of each family of architectures, and the width of its features; or why not.
SAMPLE: dict[str, int | str] = {
    "test_vit": 64,  # position embeddings
    "test_vit3": 96,  # pooled by attention
    "test_vit_relpos": 96,
    "test_convnext": 64,
    "test_nfnet": 192,  # no norms at all
    "test_mambaout": 256,  # four times its num_features
    "test_efficientnet_gn": 256,  # of timm's own name
    "test_efficientnet": "has batch statistics (bn1)",
    "test_resnet_gn": "cannot be built (num_channels (16) must be divisible by",
    "test_resnet_gn_gn": "timm has no such model (",
    "test_vit.r160_in1k": "timm has no such model (",  # a tag has its own field
}


def config(**values: Any) -> BackboneConfig:
    return BackboneConfig(**{"weights": "random", "image_size": 32, "tag": "", **values})


def complaint(config: BackboneConfig, path: Path | None = None) -> str:
    with pytest.raises(UserError) as caught:
        build_backbone(config, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_model_builds_or_is_one_line(name: str) -> None:
    wanted = SAMPLE[name]
    if isinstance(wanted, str):
        assert complaint(config(name=name)).startswith(f"backbone.name={name!r}: {wanted}")
        return
    model, features, preprocess = build_backbone(config(name=name))
    assert features == wanted
    assert preprocess.size == 32
    with torch.no_grad():
        assert model(torch.zeros(2, 3, 32, 32)).shape == (2, wanted)


@pytest.mark.soak
def test_every_small_model_of_timm() -> None:
    """Some minutes: each name of timm's whose weights fit a small machine, at 32 px."""
    families = {timm.models.model_entrypoint(name).__module__: name for name in timm.list_models()}
    names = {*families.values(), *timm.list_models("*_tiny*")}
    for name in sorted(names):
        with torch.device("meta"):
            size = sum(p.numel() for p in timm.create_model(name, num_classes=0).parameters())
        if size > 40e6:
            continue
        try:
            model, features, _ = build_backbone(config(name=name))
        except UserError:
            continue
        with torch.no_grad():
            assert model(torch.zeros(1, 3, 32, 32)).shape == (1, features)


def test_images_that_a_model_does_not_take() -> None:
    text = complaint(config(name="crossvit_tiny_240"))
    assert text.startswith("backbone.name='crossvit_tiny_240': does not take images of 32 px (")


def test_weights_that_timm_does_not_have() -> None:
    """Before anything is asked of the network."""
    text = complaint(config(name="test_vit", weights="pretrained", tag="dino"))
    assert text == "backbone.tag='dino': the weights of test_vit are r160_in1k"


# --- registered by the user -----------------------------------------------------------------------

MINE = """
import timm
import torch
from timm.models import build_model_with_cfg, register_model
from timm.models.convnext import ConvNeXt
from timm.models.vision_transformer import VisionTransformer
from torch import nn

SMALL = {"depths": (1, 1, 1, 1), "dims": (4, 4, 8, 24)}


@register_model
def my_convnext(pretrained=False, **options):
    return build_model_with_cfg(ConvNeXt, "my_convnext", pretrained, **{**SMALL, **options})


@register_model
def my_vit(pretrained=False, **options):
    size = {"patch_size": 4, "embed_dim": 12, "depth": 1, "num_heads": 2}
    return build_model_with_cfg(VisionTransformer, "my_vit", pretrained, **{**size, **options})


@register_model
def my_plain(*, num_classes, **options):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 7), nn.ReLU())


@register_model
def my_map(**options):
    return nn.Conv2d(3, 4, 3)


@register_model
def my_norm(**options):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten())
"""


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A user's file, and timm's registry without its models before and after."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "my_timm.py").write_text(MINE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        for table in ("_model_entrypoints", "_model_to_module"):
            patch.setattr(registry, table, dict(getattr(registry, table)))
        yield
    del sys.modules["my_timm"]


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(("name", "width"), [("my_convnext", 24), ("my_vit", 12), ("my_plain", 7)])
def test_a_registered_model_is_timms(name: str, width: int) -> None:
    """Without pretrained_cfg, told the resolution where it takes one."""
    one, features, preprocess = build_backbone(config(name=f"my_timm:{name}"), seed=1)
    assert features == width
    assert preprocess.size == 32
    with torch.no_grad():
        assert one(torch.zeros(2, 3, 32, 32)).shape == (2, width)
    again, _, _ = build_backbone(config(name=f"my_timm:{name}"), seed=1)
    other, _, _ = build_backbone(config(name=f"my_timm:{name}"), seed=2)
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True)]
    assert all(same)
    same = [torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True)]
    assert not all(same)


@pytest.mark.usefixtures("mine")
@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("my_map", {}, "gives (1, 4, 30, 30) of an image, not (1, features)"),
        ("my_norm", {}, "has batch statistics (1)"),
        ("my_plain", {"image_size": 16}, "does not take images of 16 px (addmm: mat1 and mat2"),
        ("my_convnext", {"weights": "pretrained", "tag": "any"}, "has no pre-trained weights: set"),
        ("my_none", {}, "my_timm has no my_none"),
    ],
)
def test_a_wrong_registered_model_is_one_line(name: str, values: dict[str, Any], why: str) -> None:
    text = complaint(config(name=f"my_timm:{name}", **values))
    assert text.startswith(f"backbone.name='my_timm:{name}': {why}")


@pytest.mark.usefixtures("mine")
def test_a_file_of_weights_of_a_registered_model(tmp_path: Path) -> None:
    """Also beside the field's default tag, which is another model's."""
    model, _, _ = build_backbone(config(name="my_timm:my_convnext"), seed=1)
    path = tmp_path / "mine.safetensors"
    save_file(model.state_dict(), path)
    values = {"name": "my_timm:my_convnext", "weights": f"sha256:{file_sha256(path)}"}
    found, _, _ = build_backbone(config(**values, tag="augreg_in21k_ft_in1k"), path, seed=2)
    for a, b in zip(found.parameters(), model.parameters(), strict=True):
        assert torch.equal(a, b)
    assert "is not the file of" in complaint(config(**{**values, "weights": "sha256:0"}), path)


STUDY = """
from fl_core import Preset, Study, main


def space(trial):
    return {"local.lr": trial.suggest_float("local.lr", 0.05, 0.2, log=True)}


if __name__ == "__main__":
    main(Study(
        name="mine", question="Why?", space=space, arms=[{"backbone.name": "my_timm:my_convnext"}],
        base={"federation.clients": 5, "federation.participation": 0.4, "data.name": "digits",
              "fine_tune.strategy": "full", "backbone.weights": "random",
              "backbone.image_size": 32},
        presets={"embedded": Preset("short", budget=8, eval_steps=4, trials=1, seeds=1)},
    ))
"""


@pytest.mark.soak
def test_a_registered_model_trains_in_rays_workers(tmp_path: Path) -> None:
    """Each of them imports the file that registers it."""
    (tmp_path / "my_timm.py").write_text(MINE)
    (tmp_path / "study.py").write_text(STUDY)
    done = subprocess.run(
        [sys.executable, "study.py", "--workers", "1", "--tracking-uri", "sqlite:///m.db"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "test_accuracy_mean" in (tmp_path / "results/mine/table.csv").read_text()
