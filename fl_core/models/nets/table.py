"""Networks by the name that `backbone.name` gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from fl_core.config.sections import BackboneConfig
from fl_core.models.nets.char_lstm import char_lstm, char_lstm_small
from fl_core.models.nets.cnn import cnn
from fl_core.models.nets.lenet import lenet
from fl_core.models.nets.mlp import mlp
from fl_core.models.nets.resnet_gn import resnet18_gn_small

#: From the section `backbone` and the number of classes: (the network, its features).
NETS: Mapping[str, Callable[[BackboneConfig, int], tuple[nn.Module, int]]] = {
    "char_lstm": char_lstm,
    "char_lstm_small": char_lstm_small,
    "cnn": cnn,
    "lenet": lenet,
    "mlp": mlp,
    "resnet18_gn_small": resnet18_gn_small,
}
