"""Networks by the name that `backbone.name` gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from fl_core.config.sections import BackboneConfig
from fl_core.models.nets.cnn import cnn
from fl_core.models.nets.lenet import lenet

#: From the section `backbone` and the number of classes: (the network, its features).
NETS: Mapping[str, Callable[[BackboneConfig, int], tuple[nn.Module, int]]] = {
    "cnn": cnn,
    "lenet": lenet,
}
