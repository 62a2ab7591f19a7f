"""The LeNet of Hsu et al. (arXiv:1909.06335, section 4.1), for small images.

"Similar to LeNet-5": two 5x5 convolutions of 64 channels, each followed by 2x2 max pooling, then
384 and 192 hidden units; the last layer is the classifier's head. The paper states no padding;
without any, as in LeNet-5 (LeCun et al. 1998), 32 px give 64 x 5 x 5 numbers and with 100 classes
815,588 parameters. Weights begin as He et al. (ICCV 2015) for ReLU: torch's own, a fifth of that at
the first layers, keep all clients at chance for some hundred steps.
"""

from __future__ import annotations

from torch import nn

from fl_core.config.fields import refuse
from fl_core.config.sections import BackboneConfig

SMALLEST = 16  # pixels: of fewer nothing is left after the second pooling


def lenet(config: BackboneConfig, classes: int) -> tuple[nn.Module, int]:
    """(B, 3, S, S) -> (B, 192)."""
    if config.image_size < SMALLEST:
        allowed = f"must be at least {SMALLEST} for backbone.name=lenet"
        raise refuse("backbone.image_size", config.image_size, allowed)
    side = ((config.image_size - 4) // 2 - 4) // 2
    model = nn.Sequential(
        *(nn.Conv2d(3, 64, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(64 * side**2, 384), nn.ReLU()),
        *(nn.Linear(384, 192), nn.ReLU()),
    )
    for layer in model:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model, 192
