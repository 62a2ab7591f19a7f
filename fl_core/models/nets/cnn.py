"""The convolutional network of McMahan et al. (AISTATS 2017, section 3)."""

from __future__ import annotations

from torch import nn

from fl_core.config.sections import BackboneConfig


def cnn(config: BackboneConfig, classes: int) -> tuple[nn.Module, int]:
    """Two 5x5 convolutions and a hidden layer of 512: (B, 3, S, S) -> (B, 512)."""
    flat = 64 * (config.image_size // 4) ** 2
    model = nn.Sequential(
        *(nn.Conv2d(3, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(flat, 512), nn.ReLU()),
    )
    return model, 512
