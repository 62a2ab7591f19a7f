"""First weights of networks of ReLUs."""

from __future__ import annotations

from torch import nn


def he_weights(model: nn.Module) -> None:
    """Normal weights as He et al. (ICCV 2015, eq. 10) for ReLU, biases of zeros.

    Every layer then keeps the scale of its inputs. torch's own are smaller by sqrt(6) and shrink it
    from layer to layer: behind them all clients may stay at chance for some hundred steps.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
