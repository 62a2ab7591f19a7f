"""Backbones: any timm classifier by name, one of `models.nets`, or the user's own.

A classifier is `backbone` (without its own head) followed by `head` (see `models.heads`), so
parameter names are the same for every architecture: `backbone.…`, `head.weight`, `head.bias`.
Models with batch statistics are refused: averaging them over clients breaks them (Hsieh et al.,
ICML 2020).

A model of the user's own, `backbone.name=package.module:name`, is a function of the section
`backbone` that gives the module and the number of its features:

    def perceptron(config: BackboneConfig) -> tuple[nn.Module, int]:
        pixels = 3 * config.image_size**2
        return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 128), nn.ReLU()), 128

Its random numbers come from the trial's seed. Weights it loads itself, where it wants
`config.weights` to say so. An attribute `pretrained_cfg` with mean, std and interpolation decides
how images are made ready for it, as in timm; else they come in [-1, 1]. A function that the file
registers with timm is a model of timm's (see `models.timm_models`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fl_core.base.errors import UserError
from fl_core.base.rng import stream
from fl_core.config.fields import refuse
from fl_core.config.own import imported, is_own
from fl_core.config.sections import BackboneConfig
from fl_core.data.sources import Preprocess
from fl_core.models.heads import Head
from fl_core.models.nets.table import NETS
from fl_core.models.timm_models import is_registered, timm_model


class Classifier(nn.Module):
    """`head(backbone(images))`: (B, 3, S, S) -> (B, classes) logits."""

    def __init__(self, backbone: nn.Module, head: Head) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.backbone(images))
        return logits


def build_backbone(
    config: BackboneConfig, weights_file: Path | None = None, seed: int = 0, classes: int = 0
) -> tuple[nn.Module, int, Preprocess]:
    """(model without head in eval mode, number of features, its preprocessing).

    classes: of the task, for a network whose inputs are symbols of as many kinds.

    `weights=pretrained` loads `weights_file` where given, else timm's own download of the tag;
    `weights=random` initialises from `seed`. Raises UserError for an unknown model, a file that
    does not fit, or a download that fails.
    """
    # timm initialises from torch's global generator: lend it a stream of ours, then restore it
    with torch.random.fork_rng(devices=[]):
        lent = torch.Generator()
        lent.manual_seed(int(stream(seed, "init").integers(2**62)))
        torch.random.set_rng_state(lent.get_state())
        model, features = _create(config, weights_file, classes)
    bad = [
        name for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._NormBase)
    ]
    if bad:
        raise UserError(
            f"backbone.name={config.name!r}: has batch statistics ({bad[0]}), which FedAvg cannot "
            "average; choose a model with LayerNorm or GroupNorm, e.g. resnet18_gn"
        )
    return model.eval(), features, _preprocess(model, config)


def _create(
    config: BackboneConfig, weights_file: Path | None, classes: int
) -> tuple[nn.Module, int]:
    if config.name in NETS:
        if config.weights != "random":
            why = "has no pre-trained weights: set backbone.weights=random"
            raise refuse("backbone.name", config.name, why)
        return NETS[config.name](config, classes)
    if not is_own(config.name):
        return timm_model(config, config.name, weights_file)
    own = imported(config.name, "backbone.name")
    return timm_model(config, own.__name__, weights_file) if is_registered(own) else _own(config)


def _preprocess(model: nn.Module, config: BackboneConfig) -> Preprocess:
    """The backbone's OWN normalisation: ImageNet's for DINO, 0.5 for augreg, and so on."""
    own: dict[str, Any] = getattr(model, "pretrained_cfg", {})
    half = (0.5, 0.5, 0.5)
    mode = own.get("interpolation", "bilinear")
    return Preprocess(
        mean=tuple(own.get("mean", half)),
        std=tuple(own.get("std", half)),
        size=config.image_size,
        interpolation=mode if mode in ("bilinear", "bicubic") else "bicubic",
    )


def _own(config: BackboneConfig) -> tuple[nn.Module, int]:
    """The user's own model, or a ConfigError where it is none."""
    if config.weights.startswith("sha256:"):
        allowed = "your own model loads its own weights: leave out --weights"
        raise refuse("backbone.weights", config.weights, allowed)
    match imported(config.name, "backbone.name", takes=("config",))(config):
        case (nn.Module() as model, int(features)):
            return model, features
    raise refuse("backbone.name", config.name, "must return a torch module and its features")


def check_own_model(model: nn.Module, features: int, config: BackboneConfig) -> None:
    """ConfigError where the user's own model does not make of images what it says."""
    size = config.image_size
    images = f"images (2, 3, {size}, {size})"
    try:
        with torch.no_grad():
            given = tuple(model(torch.zeros(2, 3, size, size)).shape)
    except Exception as error:  # whatever the user's model does
        why = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise refuse("backbone.name", config.name, f"fails on {images} ({why})") from error
    if given != (2, features):
        wanted = f"says {features} features, which must be numbers (2, {features}) of {images}"
        raise refuse("backbone.name", config.name, f"{wanted}, not {given}")
