"""The 2NN of McMahan et al. (AISTATS 2017, section 3): two hidden layers on an image's pixels."""

from __future__ import annotations

from torch import nn

from fl_core.config.sections import BackboneConfig
from fl_core.models.nets.initial import he_weights

WIDTH = 200


def mlp(config: BackboneConfig, classes: int) -> tuple[nn.Module, int]:
    """(B, 3, S, S) -> (B, 200); theirs, on one channel of 28 px with 10 classes, has 199,210
    parameters.
    """
    model = nn.Sequential(
        nn.Flatten(),
        *(nn.Linear(3 * config.image_size**2, WIDTH), nn.ReLU()),
        *(nn.Linear(WIDTH, WIDTH), nn.ReLU()),
    )
    he_weights(model)
    return model, WIDTH
