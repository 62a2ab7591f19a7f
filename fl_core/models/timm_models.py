"""Models of timm by name, without their classifiers.

`resnet18_gn` and the like are timm's ResNets with GroupNorm (32 groups) in the places of BatchNorm,
and have no pre-trained weights. A model that the user's own file registers with timm,

    @timm.models.register_model
    def my_net(pretrained: bool = False, **options: Any) -> nn.Module: ...

is `backbone.name=my_file:my_net`: every worker imports the file before it asks timm for the model.
By `my_net` alone only a process that happens to have imported the file would know it.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from fl_core.base.errors import UserError
from fl_core.config.fields import refuse
from fl_core.config.own import is_own
from fl_core.config.sections import BackboneConfig
from fl_core.models.weights import check_weights, stored_names

GROUP_NORM = "_gn"  # the ending that puts GroupNorm into a ResNet


def is_registered(model: Any) -> bool:
    """Whether timm has this very function in its registry, under its own name."""
    if "timm" not in sys.modules:  # who registers a model has imported it: seconds for the others
        return False
    from timm.models import is_model, model_entrypoint

    name = getattr(model, "__name__", "")
    return bool(is_model(name)) and model_entrypoint(name) is model


def timm_model(
    config: BackboneConfig, name: str, weights_file: Path | None
) -> tuple[nn.Module, int]:
    """(timm's model without a classifier, how many features it gives), weights loaded.

    name: timm's for it. UserError for a model that timm does not have, that cannot be built or does
    not take such images, for a file that does not fit, and for a download that fails.
    """
    options: dict[str, Any] = {}
    pretrained = config.weights != "random"
    if not _is_timms(name):
        name, options = _with_group_norm(config, name, pretrained)
    tagged = name
    if pretrained:
        check_weights(config, weights_file)
        options |= _pretrained(weights_file)
        # the field's default is the tag of another model: no model of the user's own need have it
        if config.tag and not (is_own(config.name) and config.tag not in _tags(name)):
            tagged = f"{name}.{config.tag}"
    if config.patch_size is not None:
        options["patch_size"] = config.patch_size
    model = _created(config, name, tagged, options)
    if pretrained and weights_file is not None:
        _check_complete(config, weights_file, model)
    return model.eval(), _width(config, model)


def _is_timms(name: str) -> bool:
    import timm  # seconds of import: only where a model is built

    return "." not in name and bool(timm.is_model(name))  # a tag is another field's


def _tags(name: str) -> list[str]:
    """Timm's names of the weights that it has of a model; an empty one where they have none."""
    from timm.models import list_pretrained

    found = [one.partition(".") for one in list_pretrained(f"{name}*")]
    return [tag for model, _, tag in found if model == name]


def _with_group_norm(
    config: BackboneConfig, name: str, pretrained: bool
) -> tuple[str, dict[str, Any]]:
    """The model that a name with the ending `_gn` means, with its option; UserError for others."""
    import timm
    from timm.layers import GroupNorm

    base = name.removesuffix(GROUP_NORM)
    if base != name and _is_timms(base):
        if pretrained:  # timm would put BatchNorm's scales into it without a word
            raise UserError(
                f"backbone.name={config.name!r}: GroupNorm has no pre-trained weights: set "
                "backbone.weights=random"
            )
        return base, {"norm_layer": GroupNorm}
    close = ", ".join(get_close_matches(base, timm.list_models(), 4)) or "see timm.list_models()"
    raise UserError(
        f"backbone.name={config.name!r}: timm has no such model ({close}); your own is "
        "package.module:name"
    )


def _pretrained(weights_file: Path | None) -> dict[str, Any]:
    """Options with which timm loads this file, or its own download."""
    if weights_file is None:
        _say_if_offline()
        return {"pretrained": True}
    stored_names(weights_file)  # a clear line for what is no file of weights
    # the file is a state_dict, also where timm's own download is Google's .npz, which some
    # versions of timm (1.0.29) then insist on
    return {
        "pretrained": True,
        "pretrained_cfg_overlay": {"file": str(weights_file), "custom_load": False},
    }


def _created(
    config: BackboneConfig, name: str, tagged: str, options: Mapping[str, Any]
) -> nn.Module:
    """Timm's model at the section's resolution, which not every architecture is told."""
    import timm
    from timm.models import get_pretrained_cfg

    create = partial(timm.create_model, tagged, num_classes=0, **options)
    sized = partial(create, img_size=config.image_size)
    known = get_pretrained_cfg(name)
    try:
        if known is None:  # a model that says nothing of itself: try
            with suppress(TypeError):
                return cast("nn.Module", sized())
        # transformers with position embeddings have a fixed size
        make = sized if known is not None and known.fixed_input_size else create
        return cast("nn.Module", make())
    except TypeError as error:  # an option that this architecture does not take
        raise UserError(f"backbone.name={config.name!r}: {str(error)[:200]}") from error
    except Exception as error:  # timm, huggingface, safetensors and torch each raise their own
        raise UserError(_why_not(config, name, tagged, options, error)) from error


def _width(config: BackboneConfig, model: nn.Module) -> int:
    """How many numbers the model makes of an image, by asking it: names of that vary in timm."""
    size = config.image_size
    try:
        with torch.no_grad():
            found = model(torch.zeros(1, 3, size, size))
    except Exception as error:  # whatever its layers raise
        why = f"does not take images of {size} px ({' '.join(str(error).split())[:200]})"
        raise refuse("backbone.name", config.name, why) from error
    if not isinstance(found, torch.Tensor) or found.ndim != 2:
        shape = tuple(getattr(found, "shape", ())) or type(found).__name__
        raise refuse("backbone.name", config.name, f"gives {shape} of an image, not (1, features)")
    return found.shape[1]


def _check_complete(config: BackboneConfig, weights_file: Path, model: nn.Module) -> None:
    """UserError where the file lacks some of the weights: timm would leave them at random."""
    missing = sorted(model.state_dict().keys() - stored_names(weights_file))
    if missing:
        raise UserError(
            f"--weights {weights_file}: are not those of {config.name}: {missing[0]} and "
            f"{len(missing) - 1} more are missing"
        )


def _why_not(
    config: BackboneConfig, name: str, tagged: str, options: Mapping[str, Any], error: Exception
) -> str:
    """Why timm made no such model, and what to do."""
    reason = " ".join(str(error).split())[:200]
    if source := options.get("pretrained_cfg_overlay", {}).get("file"):
        return f"--weights {source}: do not load as weights of {tagged} ({reason})"
    if "pretrained" not in options:
        return f"backbone.name={config.name!r}: cannot be built ({reason})"
    if not (tags := _tags(name)):
        why = "has no pre-trained weights: set backbone.weights=random"
        return f"backbone.name={config.name!r}: {why}"
    if config.tag and config.tag not in tags:
        return f"backbone.tag={config.tag!r}: the weights of {name} are {', '.join(tags[:8])}"
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
