"""Networks of our own: their sizes, their first weights, and whether they learn from them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fl_core.base.errors import ConfigError
from fl_core.config.sections import BackboneConfig
from fl_core.models.backbone import Classifier, build_backbone
from fl_core.models.heads import linear_head
from fl_core.models.nets.table import NETS

#: Pixels at which a network is small, and a learning rate.
SMALL = {"cnn": (8, 0.5), "lenet": (16, 0.01), "mlp": (8, 0.05), "resnet18_gn_small": (8, 0.01)}


def built(name: str, size: int, **values: Any) -> tuple[nn.Module, int]:
    model, features, _ = build_backbone(
        BackboneConfig(**{"name": name, "weights": "random", "image_size": size, **values})
    )
    return model, features


@pytest.mark.parametrize(
    ("name", "size", "classes", "parameters"),
    [
        ("lenet", 32, 100, 815_332),
        ("mlp", 28, 10, 199_210 + 2 * 28 * 28 * 200),  # the paper's 2NN has one channel of three
        ("cnn", 28, 10, 1_663_370 + 2 * 25 * 32),  # and so has its CNN
        ("resnet18_gn", 32, 100, 11_227_812),  # ImageNet's ResNet-18 with this many classes
        ("resnet18_gn_small", 32, 100, 11_227_812 - (7 * 7 - 3 * 3) * 3 * 64),
    ],
)
def test_parameters(name: str, size: int, classes: int, parameters: int) -> None:
    """As the papers count them, the classifier's included."""
    model, features = built(name, size)
    whole = Classifier(model, linear_head(features, classes))
    assert sum(p.numel() for p in whole.parameters()) == parameters


@pytest.mark.parametrize("name", SMALL)
def test_a_network_learns_from_a_head_of_zeros(name: str) -> None:
    """Eight images of four kinds, by plain steps."""
    size, lr = SMALL[name]
    model, features = built(name, size)
    whole = Classifier(model, linear_head(features, 4))
    images = torch.randn(8, 3, size, size, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(8) % 4
    losses = []
    for _ in range(12):
        loss = F.cross_entropy(whole(images), labels)
        losses.append(loss.item())
        parameters = list(whole.parameters())
        for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            p.data -= lr * g
    assert losses[0] == pytest.approx(torch.log(torch.tensor(4.0)).item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("name", ["lenet", "mlp"])
def test_first_weights_are_hes(name: str) -> None:
    model, _ = built(name, 32)
    for key, value in model.named_parameters():
        if key.endswith("bias"):
            assert not value.any()
        else:
            wanted = (2 / value[0].numel()) ** 0.5
            assert value.std().item() == pytest.approx(wanted, rel=0.05)


def test_the_small_stem_keeps_the_resolution() -> None:
    """32 px reach the first stage as they are; two groups in every norm, none of them at zero."""
    model, _ = built("resnet18_gn_small", 8)
    sizes: list[torch.Size] = []
    stage: Any = model.layer1
    stage.register_forward_hook(lambda _module, given, _result: sizes.append(given[0].shape))
    model(torch.zeros(1, 3, 8, 8))
    assert sizes == [(1, 64, 8, 8)]
    norms = [m for m in model.modules() if isinstance(m, nn.GroupNorm)]
    assert len(norms) == 20
    assert {norm.num_groups for norm in norms} == {2}
    assert all(norm.weight.all() for norm in norms)


def test_lenet_needs_some_pixels() -> None:
    with pytest.raises(ConfigError, match=r"must be at least 16 for backbone\.name=lenet"):
        built("lenet", 15)


@pytest.mark.parametrize("name", sorted(NETS))
def test_our_networks_have_no_pre_trained_weights(name: str) -> None:
    with pytest.raises(ConfigError, match=r"set backbone\.weights=random$"):
        built(name, 32, weights="pretrained")
