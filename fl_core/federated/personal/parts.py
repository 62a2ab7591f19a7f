"""Parts of a model by kind of layer, as booleans over its flat parameters."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fl_core.base.params import FlatModule

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._NormBase)


def head_of(model: FlatModule) -> Tensor:
    """(P,) bool: the last linear layer. Of a multilayer perceptron its output layer, of a vision
    transformer the classifier.
    """
    linear = [name for name, one in model.module.named_modules() if isinstance(one, nn.Linear)]
    return _entries(model, set(linear[-1:]))


def norms_of(model: FlatModule) -> Tensor:
    """(P,) bool: all layers that normalise, by their type, whatever their names."""
    modules = model.module.named_modules()
    return _entries(model, {name for name, one in modules if isinstance(one, NORMS)})


def _entries(model: FlatModule, modules: set[str]) -> Tensor:
    """(P,) bool: the parameters that these modules have themselves, of those that train."""
    mask = torch.zeros_like(model.flat, dtype=torch.bool)
    for name, view in model.layout.views(mask).items():
        view.fill_(name.rpartition(".")[0] in modules)
    return mask
