"""LARS and LAMB are timm's, AdamW is torch's; stacked clients are each by itself; masks freeze."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import timm.optim
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.method_sections import LocalConfig
from fl_core.optim.sgdm import SGDM, Active
from fl_core.optim.table import LOCAL_OPTIMISERS

OPTIMISERS = ("lars", "lamb", "adamw")
Torch = Callable[..., torch.optim.Optimizer]
#: Optimisers of others, with settings of ours and what these are called there.
ORACLES: Mapping[str, tuple[Torch, Mapping[str, object], Mapping[str, object]]] = {
    "lars": (
        timm.optim.Lars, {"momentum": 0.9, "lr": 2.0},
        {"momentum": 0.9, "lr": 2.0, "always_adapt": True},
    ),
    "lars nesterov": (
        timm.optim.Lars, {"momentum": 0.5, "nesterov": True, "trust": 0.02},
        {"momentum": 0.5, "nesterov": True, "trust_coeff": 0.02, "lr": 0.1, "always_adapt": True},
    ),
    "lamb": (
        timm.optim.Lamb, {"lr": 0.01, "beta2": 0.99},
        {"lr": 0.01, "betas": (0.9, 0.99), "max_grad_norm": None, "always_adapt": True},
    ),
    "adamw": (
        torch.optim.AdamW, {"lr": 0.01, "beta1": 0.8},
        {"lr": 0.01, "betas": (0.8, 0.999)},
    ),
}  # fmt: skip


def net() -> nn.Module:
    """Several tensors, the last layer of zeros."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 7), nn.Tanh(), nn.Linear(7, 4)
    )
    nn.init.zeros_(made[-1].weight)
    nn.init.zeros_(made[-1].bias)
    return made.double()


def batches(steps: int) -> list[tuple[Tensor, Tensor]]:
    rng = stream(0, "batches")
    return [
        (torch.from_numpy(rng.standard_normal((16, 6))), torch.from_numpy(rng.integers(0, 4, 16)))
        for _ in range(steps)
    ]


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("name", ORACLES)
def test_it_is_the_published_one_over_100_steps_of_a_net(name: str, decay: float) -> None:
    make, ours, theirs = ORACLES[name]
    local = LocalConfig(optimiser=name.split()[0], weight_decay=decay, **ours)  # type: ignore[arg-type]
    optimiser, state = LOCAL_OPTIMISERS[local.optimiser](local), dict[str, Tensor]()
    model, other = FlatModule(net()), net()
    oracle = make(other.parameters(), weight_decay=decay, **theirs)
    before = model.flat.clone()
    for inputs, labels in batches(100):
        model.grad.zero_()
        cross_entropy(model.module(inputs), labels).backward()
        optimiser.step(model.flat, model.grad, state, local.lr, model.layout)
        oracle.zero_grad()
        cross_entropy(other(inputs), labels).backward()
        oracle.step()
    wanted = model.layout.flatten(dict(other.named_parameters()))
    assert (wanted - before).norm() > 0.1
    torch.testing.assert_close(model.flat, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_stacked_clients_step_as_each_alone(name: str) -> None:
    optimiser = LOCAL_OPTIMISERS[name](LocalConfig(optimiser=name, weight_decay=0.1))
    layout = FlatModule(net()).layout
    rng = stream(1, "stacked")
    together, shared = torch.from_numpy(rng.standard_normal((3, layout.size))), dict[str, Tensor]()
    alone = [(row.clone(), dict[str, Tensor]()) for row in together]
    for _ in range(3):
        grads = torch.from_numpy(rng.standard_normal((3, layout.size)))
        for (params, state), grad in zip(alone, grads.clone(), strict=True):
            optimiser.step(params, grad, state, 0.1, layout)
        optimiser.step(together, grads, shared, 0.1, layout)
    torch.testing.assert_close(together, torch.stack([params for params, _ in alone]))
    for client, (_, state) in enumerate(alone):
        for key, tensor in state.items():
            torch.testing.assert_close(shared[key][client], tensor)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_mask_leaves_the_optimiser_of_what_trains(name: str) -> None:
    """The active entries move as a model of them alone would, the others not by a bit."""
    optimiser = LOCAL_OPTIMISERS[name](LocalConfig(optimiser=name, weight_decay=0.1))
    rng = stream(2, "masked")
    mask = torch.from_numpy(rng.random(50) < 0.4)
    params = torch.from_numpy(rng.standard_normal(50))
    params[::3] = -0.0
    small, before = params[mask].clone(), params.clone()
    state, own = dict[str, Tensor](), dict[str, Tensor]()
    for _ in range(4):
        grad = torch.from_numpy(rng.standard_normal(50))
        grad[~mask] = float("nan")
        optimiser.step(small, grad[mask].clone(), own, 0.1)
        optimiser.step(params, grad, state, 0.1, active=Active(mask, None))
    torch.testing.assert_close(params[mask], small)
    assert params[~mask].numpy().tobytes() == before[~mask].numpy().tobytes()


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_a_tensor_of_zeros_takes_a_plain_step(name: str) -> None:
    optimiser = LOCAL_OPTIMISERS[name](LocalConfig(optimiser=name))
    params, grad = torch.zeros(4), torch.tensor([1.0, -2.0, 0.0, 4.0])
    optimiser.step(params, grad.clone(), {}, 0.1)
    plain = grad if name == "lars" else grad.sign()  # Adam's first direction
    torch.testing.assert_close(params, -0.1 * plain)


def test_sgd_is_the_default() -> None:
    local = LocalConfig(momentum=0.5, weight_decay=0.1)
    assert LOCAL_OPTIMISERS[local.optimiser](local) == SGDM(0.5, weight_decay=0.1)
