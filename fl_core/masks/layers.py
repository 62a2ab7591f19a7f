"""Which entries of a model may be masked: those of the kinds of layers that are asked for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fl_core.base.params import Layout
from fl_core.config.fields import refuse
from fl_core.config.mask_section import LAYERS


def layer_kinds(module: nn.Module) -> dict[str, str]:
    """Parameter name -> its kind in `fl_core.config.mask_section.LAYERS`.

    A class that is called …Attention claims everything below it, and so does the top-level child
    `head`. What is in no known layer (class token, position embedding, layer scales) counts as
    embedding. A bare nn.Linear is the linear model on features: all of it is the head. So is the
    last layer of a perceptron on features, which is called so.
    """
    kinds: dict[str, str] = {}
    for name, part in module.named_modules():  # parents come first, so they can claim
        kind = _kind(part)
        if name == "head" or (not name and kind == "linear"):
            kind = "head"
        claims = kind in ("head", "attention")
        for parameter, _ in part.named_parameters(name, recurse=claims):
            kinds.setdefault(parameter, kind)
    return kinds


def _kind(module: nn.Module) -> str:
    if type(module).__name__.endswith("Attention"):  # timm's, torch's and others' own classes
        return "attention"
    match module:
        case nn.Linear():
            return "linear"
        case nn.LayerNorm() | nn.GroupNorm():
            return "norm"
        case nn.Conv2d():
            return "conv"
        case _:
            return "embedding"


def maskable(module: nn.Module, layout: Layout, layers: str) -> Tensor:
    """(P,) bool on the module's device: the entries of the layout whose kind is in `layers`."""
    kinds = layer_kinds(module)
    present = [kind for kind in LAYERS if kind in {kinds[name] for name in layout.names}]
    wanted = set(LAYERS if layers == "all" else layers.split("+"))
    if wanted.isdisjoint(present):
        raise refuse("mask.layers", layers, f"matches nothing; here are {', '.join(present)}")
    chosen = torch.tensor([kinds[name] in wanted for name in layout.names])
    sizes = torch.tensor([shape.numel() for shape in layout.shapes])
    return chosen.repeat_interleave(sizes).to(next(module.parameters()).device)
