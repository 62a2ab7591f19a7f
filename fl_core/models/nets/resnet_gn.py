"""ResNet-18 with GroupNorm for small images.

ResNet-18 (He et al. 2016) whose first layers are made for small images: a 3x3 convolution of stride
1 and no pooling, so that 32 px reach the first stage as 32 x 32 and not as 8 x 8 (timm's
`resnet18_gn` has the 7x7 convolution of stride 2 and the pooling for ImageNet). Every BatchNorm is
a GroupNorm of two groups, as Hsieh et al. (ICML 2020) and Reddi et al. (ICLR 2021) have it for
federated learning; timm's `resnet18_gn` has 32. Convolutions begin as He et al. (ICCV 2015, fan
out); every scale of a norm at one: of a branch behind a scale of zeros, timm's habit, no weight
would be sensitive, and a mask could not tell them apart.
"""

from __future__ import annotations

from functools import partial

from torch import nn

from fl_core.config.sections import BackboneConfig

GROUPS = 2
WIDTH = 512


def resnet18_gn_small(config: BackboneConfig, classes: int) -> tuple[nn.Module, int]:
    """(B, 3, S, S) -> (B, 512), for any S; with 100 classes 11,220,132 parameters."""
    from timm.layers import GroupNorm  # seconds of import: only where a model is built
    from timm.models.resnet import BasicBlock, ResNet

    model = ResNet(
        BasicBlock,
        (2, 2, 2, 2),
        num_classes=0,
        norm_layer=partial(GroupNorm, num_groups=GROUPS),
        zero_init_last=False,
    )
    model.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.maxpool = nn.Identity()
    return model, WIDTH
