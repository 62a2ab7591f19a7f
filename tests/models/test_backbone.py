"""Backbones: seeded random ones, weights from files, and one clear line for what does not fit."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fl_core.base.errors import UserError
from fl_core.config.sections import BackboneConfig
from fl_core.models.backbone import Classifier, build_backbone
from fl_core.models.heads import linear_head
from fl_core.models.weights import file_sha256

TINY = BackboneConfig(weights="random", image_size=32, patch_size=8)  # vit_tiny_patch16_224


def config(**values: Any) -> BackboneConfig:
    return BackboneConfig(**{"weights": "random", "image_size": 32, **values})


def state(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def inputs(size: int = 32) -> Tensor:
    return torch.linspace(-2, 2, 2 * 3 * size * size).view(2, 3, size, size)


@torch.no_grad()
def features(model: nn.Module, size: int = 32) -> Tensor:
    result: Tensor = model(inputs(size))
    return result


@pytest.fixture(scope="module")
def tiny() -> nn.Module:
    return build_backbone(TINY, seed=3)[0]


@pytest.fixture(scope="module")
def tiny_file(tiny: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's weights, as timm stores them (with a classifier)."""
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    head = {"head.weight": torch.zeros(1000, 192), "head.bias": torch.zeros(1000)}
    save_file({**state(tiny), **head}, path)
    return path


def stored(path: Path, **values: Any) -> BackboneConfig:
    """The tiny configuration with this file's weights."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return config(**{"weights": f"sha256:{digest}", "patch_size": 8, **values})


def complaint(config: BackboneConfig, path: Path | None = None) -> str:
    """The one line of the UserError that this raises."""
    with pytest.raises(UserError) as caught:
        build_backbone(config, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- random weights -------------------------------------------------------------------------------


def test_random_weights_are_a_function_of_the_seed(tiny: nn.Module) -> None:
    torch.manual_seed(11)
    again = state(build_backbone(TINY, seed=3)[0])
    assert same(again, state(tiny))
    other = state(build_backbone(TINY, seed=4)[0])
    changed = {name for name in other if not torch.equal(other[name], again[name])}
    assert {name for name in other if name.endswith(("qkv.weight", "fc1.weight"))} <= changed


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18_gn", "cnn"])
def test_torchs_global_generator_is_left_alone(name: str) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    build_backbone(config(name=name))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "size", "patch", "width"),
    [
        ("vit_tiny_patch16_224", 32, 8, 192),
        ("vit_tiny_patch16_224", 64, None, 192),
        ("deit_tiny_patch16_224", 32, None, 192),
        ("resnet18_gn", 32, None, 512),
        ("convnext_atto", 32, None, 320),
        ("cnn", 32, None, 512),
        ("cnn", 28, None, 512),
    ],
)
def test_backbones_build_and_run(name: str, size: int, patch: int | None, width: int) -> None:
    model, number, preprocess = build_backbone(config(name=name, image_size=size, patch_size=patch))
    assert number == width
    assert preprocess.size == size
    assert not model.training
    found = features(model, size)
    assert found.shape == (2, width)
    assert found.isfinite().all()
    assert not torch.equal(found[0], found[1])
    assert not any("running" in key for key in model.state_dict())


def test_group_norm_takes_every_place_of_batch_norm() -> None:
    model, _, _ = build_backbone(config(name="resnet18_gn"))
    reference = timm.create_model("resnet18", num_classes=0)
    places = [n for n, m in reference.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(places) == 20
    assert all(isinstance(model.get_submodule(name), nn.GroupNorm) for name in places)


def test_the_cnn_of_mcmahan_has_its_size() -> None:
    """Two 5x5 convolutions of 32 and 64 channels, then 512 units, on 32 x 32 images."""
    model, _, _ = build_backbone(config(name="cnn"))
    sizes = [p.numel() for p in model.parameters()]
    assert sizes == [3 * 25 * 32, 32, 32 * 25 * 64, 64, 64 * 8 * 8 * 512, 512]


def test_models_with_batch_statistics_are_refused() -> None:
    text = complaint(config(name="resnet18"))
    assert text.startswith("backbone.name='resnet18': has batch statistics (bn1)")
    assert "resnet18_gn" in text


def test_unknown_models() -> None:
    text = complaint(config(name="vit_tiny_patch16_225"))
    assert text.startswith("backbone.name='vit_tiny_patch16_225': timm has no such model")
    assert "vit_tiny_patch16_224" in text
    assert "no such model" in complaint(config(name="no_such_thing"))
    assert "no such model" in complaint(config(name="no_such_thing_gn"))


def test_options_that_a_model_does_not_have_are_refused() -> None:
    assert complaint(config(name="resnet18_gn", patch_size=4)).startswith(
        "backbone.name='resnet18_gn': "
    )
    assert "weights=random" in complaint(config(name="cnn", weights="pretrained"))


def test_a_classifier_starts_at_the_uniform_prediction(tiny: nn.Module) -> None:
    model = Classifier(tiny, linear_head(192, 10))
    with torch.no_grad():
        assert torch.equal(model(inputs()), torch.zeros(2, 10))
    head = linear_head(192, 10)
    head.weight.data[3] = 1.0
    model.head.load_state_dict(head.state_dict())
    with torch.no_grad():
        assert torch.allclose(model(inputs())[:, 3], features(tiny).sum(1), atol=1e-4)
    assert {name.split(".")[0] for name, _ in model.named_parameters()} == {"backbone", "head"}


# --- weights from a file --------------------------------------------------------------------------


def test_a_weights_file_is_loaded(tiny: nn.Module, tiny_file: Path) -> None:
    for weights in (stored(tiny_file), stored(tiny_file, weights="pretrained")):
        model, width, _ = build_backbone(weights, tiny_file, seed=99)
        assert width == 192
        assert same(state(model), state(tiny))
        assert torch.equal(features(model), features(tiny))


def test_a_weights_file_is_no_checkpoint_of_jax(
    tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """timm 1.0.29 reads a file as Google's .npz wherever its own download was one, if not told."""
    overlays: list[dict[str, object]] = []

    def create(name: str, *, pretrained_cfg_overlay: dict[str, object], **options: Any) -> Any:
        overlays.append(pretrained_cfg_overlay)
        return real(name, pretrained_cfg_overlay=pretrained_cfg_overlay, **options)

    real = timm.create_model
    monkeypatch.setattr(timm, "create_model", create)
    build_backbone(stored(tiny_file), tiny_file)
    assert overlays == [{"file": str(tiny_file), "custom_load": False}]


def test_position_embeddings_are_resampled(tiny: nn.Module, tiny_file: Path) -> None:
    model, _, preprocess = build_backbone(stored(tiny_file, image_size=64), tiny_file)
    old, new = state(tiny)["pos_embed"], state(model)["pos_embed"]
    assert new.shape == (1, 1 + 64, 192)
    assert torch.equal(new[:, 0], old[:, 0])
    grid = old[:, 1:].view(1, 4, 4, 192).permute(0, 3, 1, 2)
    wanted = F.interpolate(grid, (8, 8), mode="bicubic", antialias=True, align_corners=False)
    assert torch.allclose(new[:, 1:], wanted.permute(0, 2, 3, 1).reshape(1, 64, 192), atol=1e-6)
    others = {name: value for name, value in state(tiny).items() if name != "pos_embed"}
    assert same({name: state(model)[name] for name in others}, others)
    assert preprocess.size == 64
    assert features(model, 64).shape == (2, 192)


def test_another_files_hash_is_refused(tiny_file: Path) -> None:
    wrong = stored(tiny_file, weights="sha256:" + "0" * 64)
    assert "is not the file of sha256:000" in complaint(wrong, tiny_file)
    assert "--weights" in complaint(wrong, None)


def test_files_that_cannot_be_read(tmp_path: Path, tiny_file: Path) -> None:
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(tiny_file.read_bytes()[:-100])
    pickled = tmp_path / "pickled.pth"  # reading it could execute code
    torch.save(load_file(tiny_file), pickled)
    for path in (broken, pickled):
        text = complaint(stored(path), path)
        assert text.startswith(f"--weights {path}: ")
        assert "safetensors" in text
    missing = tmp_path / "missing.safetensors"
    for weights in ("pretrained", "sha256:" + "0" * 64):
        text = complaint(config(weights=weights), missing)
        assert text.startswith(f"--weights {missing}: ")
        assert "No such file" in text


def test_weights_of_another_model_are_refused(tmp_path: Path, tiny_file: Path) -> None:
    """Timm itself would keep the random numbers of what the file lacks."""
    weights = load_file(tiny_file)
    strange, narrow = tmp_path / "strange.safetensors", tmp_path / "narrow.safetensors"
    save_file({"something": torch.zeros(3)}, strange)
    assert "and 149 more are missing" in complaint(stored(strange), strange)
    save_file({**weights, "blocks.3.mlp.fc1.weight": torch.zeros(768, 96)}, narrow)
    text = complaint(stored(narrow), narrow)
    assert "size mismatch for blocks.3.mlp.fc1.weight" in text
    assert text.startswith(f"--weights {narrow}: do not load as weights of vit_tiny_patch16_224")
    one_less = tmp_path / "one_less.safetensors"
    save_file({n: t for n, t in weights.items() if n != "norm.bias"}, one_less)
    assert "norm.bias and 0 more are missing" in complaint(stored(one_less), one_less)


def test_unknown_tags_are_refused(tiny_file: Path) -> None:
    text = complaint(stored(tiny_file, tag="no_such_tag"), tiny_file)
    assert "no_such_tag" in text
    assert text.startswith("--weights ")


@pytest.mark.parametrize(
    ("name", "tag"), [("vit_tiny_patch16_224", "augreg_in21k"), ("resnet50", "a1_in1k")]
)
def test_a_failed_download_is_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, tag: str
) -> None:
    def offline(*_: object, **__: object) -> nn.Module:
        raise OSError("Name or service not known\nand a long explanation")

    monkeypatch.setattr(timm, "create_model", offline)
    text = complaint(BackboneConfig(name=name, tag=tag))
    assert text.startswith(f"the weights of {name}.{tag} are not on this machine")
    assert "Name or service not known" in text
    assert "--weights" in text


def test_the_hash_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(UserError, match="--weights"):
        file_sha256(tmp_path / "missing")


# --- preprocessing --------------------------------------------------------------------------------

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def small_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for the published ViT-S/16 weights: right names and shapes."""
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_file(
        timm.create_model("vit_small_patch16_224", num_classes=0, img_size=32).state_dict(), path
    )
    return path


@pytest.mark.parametrize(("tag", "mean_std"), [("dino", IMAGENET), ("augreg_in21k_ft_in1k", HALF)])
def test_normalisation_is_the_tags_own(small_file: Path, tag: str, mean_std: object) -> None:
    """One architecture, two sets of published weights: each was trained with its own constants."""
    weights = BackboneConfig("vit_small_patch16_224", tag, "pretrained", image_size=32)
    model, width, preprocess = build_backbone(weights, small_file)
    assert width == 384
    assert (preprocess.mean, preprocess.std) == mean_std
    assert preprocess.interpolation == "bicubic"
    resolved: Any = model.pretrained_cfg
    assert resolved["tag"] == tag


def test_the_paper_backbone_without_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of timm names the tag, so that no other weights can come instead."""
    asked: list[str] = []

    def spy(name: str, **options: Any) -> nn.Module:
        asked.append(name)
        assert options.pop("pretrained") is True
        return create(name, **options)

    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", spy)
    _, _, preprocess = build_backbone(
        BackboneConfig("vit_small_patch16_224", "dino", image_size=32)
    )
    assert asked == ["vit_small_patch16_224.dino"]
    assert (preprocess.mean, preprocess.std) == IMAGENET


def test_the_published_weights() -> None:
    path = Path(os.environ.get("FL_WEIGHTS", ""))
    if not path.is_file():
        pytest.skip("FL_WEIGHTS names no file with vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    model, width, preprocess = build_backbone(BackboneConfig(), path)
    reference = timm.create_model("vit_tiny_patch16_224", num_classes=0)
    reference.load_state_dict(
        {n: t for n, t in load_file(path).items() if not n.startswith("head.")}
    )
    assert width == 192
    assert (preprocess.mean, preprocess.std, preprocess.size) == (*HALF, 224)
    assert torch.equal(features(model, 224), features(reference.eval(), 224))


def test_group_norm_has_no_pre_trained_weights() -> None:
    """timm would put BatchNorm's scales into it without a word."""
    text = complaint(BackboneConfig(name="resnet18_gn", tag=""))
    assert "set backbone.weights=random" in text
