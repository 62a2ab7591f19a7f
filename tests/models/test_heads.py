"""Classifiers on features: where they start, what they compute, what their parts are called."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.sections import HeadConfig
from fl_core.federated.gradients import GRADIENTS, module_gradient
from fl_core.federated.losses import LOSSES
from fl_core.masks.layers import layer_kinds
from fl_core.models.backbone import Classifier
from fl_core.models.heads import Head, Perceptron, build_head, linear_head

FEATURES, HIDDEN, CLASSES = 7, 11, 5
HEADS = {
    "linear": HeadConfig(),
    "perceptron": HeadConfig(hidden=HIDDEN),
    "with norm": HeadConfig(hidden=HIDDEN, norm="layer"),
}
every_head = pytest.mark.parametrize("config", HEADS.values(), ids=HEADS)


def head(config: HeadConfig, seed: int = 0) -> Head:
    return build_head(config, FEATURES, CLASSES, seed)


def flat(module: nn.Module) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(module.parameters()).detach()


@every_head
def test_where_it_starts_follows_the_seed_alone(config: HeadConfig) -> None:
    starts = []
    for seed, elsewhere in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(elsewhere)
        before = torch.get_rng_state()
        starts.append(flat(head(config, seed)))
        assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(starts[0], starts[1])
    assert torch.equal(starts[0], starts[2]) == (config.hidden == 0)


@every_head
def test_the_first_prediction_is_nearly_uniform(config: HeadConfig) -> None:
    model = build_head(config, 200, 100, seed=0)
    logits = model(torch.from_numpy(stream(0, "x").standard_normal((64, 200))).float()).detach()
    assert float(logits.abs().max()) < (2.0 if config.hidden else 1e-9)
    assert all(p.requires_grad for p in model.parameters())


@every_head
def test_it_is_what_torch_builds(config: HeadConfig) -> None:
    """The same layers in a row, with the same parameters."""
    norm = nn.LayerNorm(HIDDEN) if config.norm == "layer" else nn.Identity()
    layers = [nn.Linear(FEATURES, HIDDEN), norm, nn.ReLU(), nn.Linear(HIDDEN, CLASSES)]
    other = nn.Sequential(*layers if config.hidden else [nn.Linear(FEATURES, CLASSES)])
    model = head(config)
    torch.nn.init.normal_(next(p for p in model.parameters() if p.dim() == 1))
    torch.nn.utils.vector_to_parameters(flat(model), other.parameters())
    x = torch.from_numpy(stream(0, "x").standard_normal((9, FEATURES))).float()
    torch.testing.assert_close(model(x), other(x))


def test_scale_of_the_hidden_layer() -> None:
    """He's: on standard normal features the rectified units have a mean square of 1."""
    model = build_head(HeadConfig(hidden=512), 300, CLASSES, seed=0)
    assert isinstance(model, Perceptron)
    x = torch.from_numpy(stream(0, "x").standard_normal((400, 300))).float()
    assert float(model.hidden(x).relu().square().mean().detach()) == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("name", LOSSES)
@every_head
def test_closed_form_of_the_gradient(config: HeadConfig, name: str) -> None:
    """Against vmap, from parameters of which no two clients' are alike, some examples absent."""
    module, loss = head(config), LOSSES[name]
    model, rng = FlatModule(module), stream(1, "gradient")
    stacked = model.flat + torch.from_numpy(rng.standard_normal((4, model.layout.size))).float()
    inputs = torch.from_numpy(rng.standard_normal((4, 6, FEATURES))).float()
    labels = torch.from_numpy(rng.integers(0, CLASSES, (4, 6)))
    weights = torch.tensor([1.0, 1, 1, 1, 0, 0]).div(4).expand(4, -1)
    grads = [torch.full_like(stacked, np.nan) for _ in range(2)]
    views, one, other = map(model.layout.views, (stacked, *grads))
    losses = GRADIENTS[type(module)](loss, views, one, inputs, labels, weights)
    wanted = module_gradient(model, loss, "float32", views, other, inputs, labels, weights)
    torch.testing.assert_close(losses, wanted)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-6)


def test_kinds_of_layers() -> None:
    kinds = layer_kinds(head(HEADS["with norm"]))
    assert kinds == {
        "hidden.weight": "linear", "hidden.bias": "linear", "norm.weight": "norm",
        "norm.bias": "norm", "head.weight": "head", "head.bias": "head",
    }  # fmt: skip
    whole = layer_kinds(Classifier(linear_head(3, FEATURES), head(HEADS["with norm"])))
    assert {kind for name, kind in whole.items() if name.startswith("head.")} == {"head"}
