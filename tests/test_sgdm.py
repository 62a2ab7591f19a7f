"""`sgdm_step` is torch.optim.SGD to the bit, for one model and for stacked ones."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from fl_core.params import Layout
from fl_core.sections import LocalConfig
from fl_core.sgdm import sgdm_step

SHAPES = ((3, 5), (7,), (1,), (33, 17), (1, 2, 3))  # odd: vector code has a tail in each
ROWS, STEPS = 3, 100
RULES = [
    {"momentum": momentum, "dampening": dampening, "weight_decay": decay, "nesterov": nesterov}
    for momentum, dampening, decay, nesterov in itertools.product(
        (0.0, 0.9), (0.0, 0.3), (0.0, 0.01), (False, True)
    )
    if not nesterov or (momentum and not dampening)
]


def rates() -> list[float]:
    return [0.3 / (1 + step % 7) for step in range(STEPS)]


def tensors_of(seed: int) -> list[list[torch.Tensor]]:
    """The start (first), then the gradient of every step."""
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(shape, generator=generator) for shape in SHAPES] for _ in range(STEPS + 1)]


def torch_trajectory(rule: LocalConfig, seed: int) -> list[list[torch.Tensor]]:
    start, *grads = tensors_of(seed)
    params = [tensor.clone().requires_grad_() for tensor in start]
    options: dict[str, Any] = {
        "momentum": rule.momentum,
        "dampening": rule.dampening,
        "weight_decay": rule.weight_decay,
        "nesterov": rule.nesterov,
    }
    optimiser = torch.optim.SGD(params, lr=1.0, **options)
    trajectory = []
    for rate, grad in zip(rates(), grads, strict=True):
        optimiser.param_groups[0]["lr"] = rate
        for parameter, value in zip(params, grad, strict=True):
            parameter.grad = value.clone()
        optimiser.step()
        trajectory.append([parameter.detach().clone() for parameter in params])
    return trajectory


def flat(tensors: list[torch.Tensor]) -> torch.Tensor:
    named = {str(i): tensor for i, tensor in enumerate(tensors)}
    return Layout.of(named.items()).flatten(named)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: "-".join(str(v) for v in r.values()))
def test_equals_torch_bit_for_bit(rule: dict[str, Any]) -> None:
    config = LocalConfig(**rule)
    wanted = [torch_trajectory(config, seed) for seed in range(ROWS)]
    starts = [tensors_of(seed) for seed in range(ROWS)]
    stacked = torch.stack([flat(start[0]) for start in starts])
    single, single_velocity = stacked[0].clone(), None
    velocity = None
    for step, rate in enumerate(rates()):
        grads = torch.stack([flat(start[step + 1]) for start in starts])
        single_velocity = sgdm_step(single, grads[0].clone(), single_velocity, config, rate)
        velocity = sgdm_step(stacked, grads, velocity, config, rate)
        expected = torch.stack([flat(trajectory[step]) for trajectory in wanted])
        assert torch.equal(single, expected[0]), step
        assert torch.equal(stacked, expected), step
    assert (velocity is None) == (config.momentum == 0)


def test_three_steps_by_hand() -> None:
    """w = 1, g = 1, lr = 0.5, momentum 0.5, dampening 0.5, decay 0: v = 1, 1, 1."""
    rule = LocalConfig(momentum=0.5, dampening=0.5)
    params, velocity, seen = torch.ones(1), None, []
    for _ in range(3):
        velocity = sgdm_step(params, torch.ones(1), velocity, rule, 0.5)
        seen.append(float(params))
    assert seen == [0.5, 0.0, -0.5]  # the first velocity is the gradient, undamped
    rule = LocalConfig(momentum=0.5, weight_decay=1.0)
    params, velocity, seen = torch.ones(1), None, []
    for _ in range(3):
        velocity = sgdm_step(params, torch.zeros(1), velocity, rule, 0.5)
        seen.append(float(params))
    assert seen == [0.5, 0.0, -0.25]  # decay feeds the momentum: v = 1, 1, 0.5


def test_the_velocity_is_changed_in_place() -> None:
    """Stacked clients step row by row on views of one (m, P) velocity; a copy would lose them."""
    velocity = torch.ones(2, 3)
    sgdm_step(torch.zeros(3), torch.ones(3), velocity[1], LocalConfig(momentum=0.5), 0.1)
    assert velocity.tolist() == [[1.0] * 3, [1.5] * 3]
