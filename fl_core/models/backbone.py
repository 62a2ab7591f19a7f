"""Backbones: any timm classifier by name (the only timm import), or one of `models.nets`.

A classifier is `backbone` (timm, without its head) followed by `head` (see `models.heads`), so
parameter names are the same for every architecture: `backbone.…`, `head.weight`, `head.bias`.
Models with batch statistics are refused: averaging them over clients breaks them (Hsieh et al.,
ICML 2020); `resnet18_gn` and the like are timm's ResNets with GroupNorm.

A model of the user's own, `backbone.name=package.module:name`, is a function of the section
`backbone` that gives the module and the number of its features:

    def perceptron(config: BackboneConfig) -> tuple[nn.Module, int]:
        pixels = 3 * config.image_size**2
        return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 128), nn.ReLU()), 128

Its random numbers come from the trial's seed. Weights it loads itself, where it wants
`config.weights` to say so. An attribute `pretrained_cfg` with mean, std and interpolation decides
how images are made ready for it, as in timm; else they come in [-1, 1].
"""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fl_core.base.errors import UserError
from fl_core.base.rng import stream
from fl_core.config.fields import refuse
from fl_core.config.own import imported, is_own
from fl_core.config.sections import BackboneConfig
from fl_core.data.sources import Preprocess
from fl_core.models.heads import Head
from fl_core.models.nets.table import NETS


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
    options: dict[str, Any] = {}
    stored: set[str] | None = None
    if config.weights != "random" and not is_own(config.name):
        if config.weights.startswith("sha256:"):
            _check_weights_file(config, weights_file)
        options["pretrained"] = True
        if weights_file is not None:
            stored = _stored_names(weights_file)
            # the file is a state_dict, also where timm's own download is Google's .npz, which some
            # versions of timm (1.0.29) then insist on
            options["pretrained_cfg_overlay"] = {"file": str(weights_file), "custom_load": False}
    # timm initialises from torch's global generator: lend it a stream of ours, then restore it
    with torch.random.fork_rng(devices=[]):
        lent = torch.Generator()
        lent.manual_seed(int(stream(seed, "init").integers(2**62)))
        torch.random.set_rng_state(lent.get_state())
        model, features = _create(config, options, classes)
    missing = [] if stored is None else sorted(model.state_dict().keys() - stored)
    if missing:  # timm would leave them at random
        raise UserError(
            f"--weights {weights_file}: are not those of {config.name}: {missing[0]} and "
            f"{len(missing) - 1} more are missing"
        )
    bad = [
        name for name, m in model.named_modules() if isinstance(m, nn.modules.batchnorm._NormBase)
    ]
    if bad:
        raise UserError(
            f"backbone.name={config.name!r}: has batch statistics ({bad[0]}), which FedAvg cannot "
            "average; choose a model with LayerNorm or GroupNorm, e.g. resnet18_gn"
        )
    return model.eval(), features, _preprocess(model, config)


def _create(config: BackboneConfig, options: dict[str, Any], classes: int) -> tuple[nn.Module, int]:
    if is_own(config.name):
        return _own(config)
    if config.name in NETS:
        if options:
            why = "has no pre-trained weights: set backbone.weights=random"
            raise refuse("backbone.name", config.name, why)
        return NETS[config.name](config, classes)
    if options.get("pretrained") and "pretrained_cfg_overlay" not in options:
        _say_if_offline()
    import timm  # nine seconds of import: only where a model is built
    from timm.layers import GroupNorm

    name = config.name
    if config.name not in timm.list_models() and name.endswith("_gn"):
        if options:
            raise UserError(
                f"backbone.name={config.name!r}: GroupNorm has no pre-trained weights: set "
                "backbone.weights=random"
            )
        name, options = name.removesuffix("_gn"), {"norm_layer": GroupNorm}
    if name not in timm.list_models():
        close = (
            ", ".join(get_close_matches(name, timm.list_models(), 4)) or "see timm.list_models()"
        )
        raise UserError(f"backbone.name={config.name!r}: timm has no such model ({close})")
    if timm.get_pretrained_cfg(name).fixed_input_size:  # transformers with position embeddings
        options["img_size"] = config.image_size
    if config.patch_size is not None:
        options["patch_size"] = config.patch_size
    tagged = f"{name}.{config.tag}" if options.get("pretrained") and config.tag else name
    try:
        model = timm.create_model(tagged, num_classes=0, **options)
    except TypeError as error:  # an option that this architecture does not take
        raise UserError(f"backbone.name={config.name!r}: {str(error)[:200]}") from error
    except Exception as error:  # timm, huggingface, safetensors and torch each raise their own
        raise UserError(_why_not(config, tagged, options, error)) from error
    width: int = getattr(model, "head_hidden_size", None) or model.num_features
    return model, width


def _why_not(
    config: BackboneConfig, tagged: str, options: Mapping[str, Any], error: Exception
) -> str:
    """Why timm made no such model, and what to do."""
    reason = " ".join(str(error).split())[:200]
    if source := options.get("pretrained_cfg_overlay", {}).get("file"):
        return f"--weights {source}: do not load as weights of {tagged} ({reason})"
    if "pretrained" not in options:
        return f"backbone.name={config.name!r}: cannot be built ({reason})"
    return (
        f"the weights of {tagged} are not on this machine and cannot be downloaded ({reason}): "
        "give a file with --weights (the embedded preset needs none)"
    )


def _say_if_offline() -> None:
    """Without a network the hub's client retries for a minute: set its own offline switch."""
    from huggingface_hub import constants

    proxies = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HF_ENDPOINT")
    if not any(os.environ.get(name) for name in proxies):
        try:
            socket.getaddrinfo("huggingface.co", 443)
        except OSError:
            constants.HF_HUB_OFFLINE = True


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


@cache
def file_sha256(path: Path) -> str:
    """Hex sha256 of a file's bytes; UserError where it cannot be read."""
    if path.exists() and not path.is_file():  # a pipe would be waited for, a device has no end
        raise UserError(f"--weights {path}: cannot be read (not a file)")
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"--weights {path}: cannot be read ({error.strerror})") from error


def _stored_names(path: Path) -> set[str]:
    """The names in a safetensors file: other formats can execute code when they are read."""
    try:
        with safe_open(path, framework="pt") as file:
            return set(file.keys())
    except (OSError, SafetensorError) as error:
        raise UserError(f"--weights {path}: is no readable safetensors file ({error})") from error


def _check_weights_file(config: BackboneConfig, weights_file: Path | None) -> None:
    if weights_file is None:
        raise UserError(f"backbone.weights={config.weights!r}: name the file with --weights")
    if f"sha256:{file_sha256(weights_file)}" != config.weights:
        raise UserError(f"--weights {weights_file}: is not the file of {config.weights}")
