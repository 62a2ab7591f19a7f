"""The LeNet of Hsu et al. (ECCV 2020, arXiv:2003.08082), for small images.

"Similar to LeNet-5": two 5x5 convolutions of 64 channels, each followed by 2x2 max pooling, then
384 and 192 hidden units; the last layer is the classifier's head. The paper states no padding;
without any, as in LeNet-5 (LeCun et al. 1998) and in the code of FedDyn (Acar et al. 2021), 32 px
give 64 x 5 x 5 numbers and with 100 classes 815,332 parameters.
"""

from __future__ import annotations

from torch import nn

from fl_core.config.fields import refuse
from fl_core.config.sections import BackboneConfig
from fl_core.models.nets.initial import he_weights

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
    he_weights(model)
    return model, 192
