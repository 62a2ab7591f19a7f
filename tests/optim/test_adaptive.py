"""Adagrad, Adam and Yogi: by hand, against a plain loop, and against torch where they coincide."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from fl_core.base.rng import stream
from fl_core.optim.adaptive import Adaptive
from fl_core.optim.sgdm import Active

SECONDS = ("adagrad", "adam", "yogi")


def gradients(steps: int = 30, size: int = 12) -> Tensor:
    """(steps, size) float64, of magnitudes from 1e-3 to 10."""
    rng = stream(0, "gradients")
    scale = 10.0 ** torch.linspace(-3, 1, size, dtype=torch.float64)
    return torch.from_numpy(rng.standard_normal((steps, size))) * scale


def walked(optimiser: Adaptive, grads: Tensor, lr: float, active: Active | None = None) -> Tensor:
    """Where it is after these gradients, from ones."""
    params = torch.ones_like(grads[0])
    state: dict[str, Tensor] = {}
    for grad in grads:
        optimiser.step(params, grad.clone(), state, lr, active=active)
    return params


def by_the_paper(optimiser: Adaptive, deltas: list[float], lr: float) -> float:
    """Algorithm 2 of Reddi et al. for one number, in the paper's own sign: w moves with Delta."""
    w, m, v = 1.0, 0.0, optimiser.tau**2
    for delta in deltas:
        m = optimiser.beta1 * m + (1 - optimiser.beta1) * delta
        square = delta * delta
        if optimiser.second == "adagrad":
            v = v + square
        elif optimiser.second == "adam":
            v = optimiser.beta2 * v + (1 - optimiser.beta2) * square
        else:
            sign = (v > square) - (v < square)
            v = v - (1 - optimiser.beta2) * square * sign
        w += lr * m / (math.sqrt(v) + optimiser.tau)
    return w


@pytest.mark.parametrize("second", SECONDS)
@pytest.mark.parametrize(("beta1", "beta2", "tau"), [(0.9, 0.99, 1e-3), (0.0, 0.5, 0.1)])
def test_it_is_the_paper_s_algorithm(second: str, beta1: float, beta2: float, tau: float) -> None:
    optimiser = Adaptive(second, beta1, beta2, tau)
    grads = gradients()
    found = walked(optimiser, grads, 0.3)
    wanted = [by_the_paper(optimiser, (-grads[:, i]).tolist(), 0.3) for i in range(grads.shape[1])]
    torch.testing.assert_close(found.tolist(), wanted, rtol=1e-12, atol=0)


def test_adam_s_first_step_by_hand() -> None:
    """From 1 with g = 0.5: m = 0.05, v = 0.99 * 1e-6 + 0.01 * 0.25; nothing is corrected."""
    state: dict[str, Tensor] = {}
    params = torch.ones(1, dtype=torch.float64)
    Adaptive("adam").step(params, torch.full_like(params, 0.5), state, 0.1)
    assert state["m"].item() == pytest.approx(0.05)
    assert state["v"].item() == pytest.approx(0.0025 + 0.99e-6)
    assert params.item() == pytest.approx(1 - 0.1 * 0.05 / (math.sqrt(0.0025 + 0.99e-6) + 1e-3))
    assert state["steps"].item() == 1


def test_the_correction_in_the_first_step_by_hand() -> None:
    """t = 1: m / (1 - 0.9), v / (1 - 0.99). For Adagrad, whose v is a sum, m alone."""
    for second, v in (("adam", (0.0025 + 0.99e-6) / 0.01), ("adagrad", 0.25 + 1e-6)):
        params = torch.ones(1, dtype=torch.float64)
        optimiser = Adaptive(second, bias_correction=True)
        optimiser.step(params, torch.full_like(params, 0.5), {}, 0.1)
        assert params.item() == pytest.approx(1 - 0.1 * 0.5 / (math.sqrt(v) + 1e-3))


def torch_s(make: Any, grads: Tensor) -> Tensor:
    """Where an optimiser of torch is after these gradients, from ones."""
    params = torch.nn.Parameter(torch.ones_like(grads[0]))
    optimiser = make([params])
    for grad in grads:
        params.grad = grad.clone()
        optimiser.step()
    return params.detach()


def test_corrected_adam_is_torch_s() -> None:
    """Torch's v begins at 0, ours at tau^2: with a tau of next to nothing they coincide."""
    found = walked(Adaptive("adam", 0.9, 0.99, 1e-12, bias_correction=True), gradients(), 0.1)
    wanted = torch_s(lambda p: torch.optim.Adam(p, 0.1, (0.9, 0.99), 1e-12), gradients())
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-12)


def test_adagrad_without_momentum_is_torch_s() -> None:
    found = walked(Adaptive("adagrad", beta1=0.0, tau=0.01), gradients(), 0.1)
    wanted = torch_s(
        lambda p: torch.optim.Adagrad(p, 0.1, initial_accumulator_value=0.01**2, eps=0.01),
        gradients(),
    )
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_yogi_at_rest_and_by_one_step() -> None:
    """sign(0) = 0: where g^2 is v, v stays. Otherwise it moves by (1 - beta2) g^2, either way."""
    params, state = torch.ones(3, dtype=torch.float64), dict[str, Tensor]()
    grad = torch.tensor([0.5, 1.0, -0.25], dtype=torch.float64)
    Adaptive("yogi", tau=0.5).step(params, grad, state, 0.1)
    assert state["v"].tolist() == pytest.approx([0.25, 0.25 + 0.01, 0.25 - 0.01 * 0.0625])
    assert state["v"][0].item() == 0.25


@pytest.mark.parametrize("second", SECONDS)
@pytest.mark.parametrize("correction", [False, True])
@pytest.mark.parametrize("how", ["nobody sent", "frozen"])
def test_what_never_moved_stays_to_the_bit(second: str, correction: bool, how: str) -> None:
    mask = torch.arange(12) % 3 > 0
    grads = gradients() if how == "frozen" else torch.where(mask, gradients(), 0.0)
    params = torch.tensor([1.0, -0.0, -1e-30] * 4, dtype=torch.float64).roll(1)
    before, state = params.clone(), dict[str, Tensor]()
    active = Active(mask, None) if how == "frozen" else None
    for grad in grads:
        Adaptive(second, bias_correction=correction).step(params, grad, state, 10.0, active=active)
    bits = params.view(torch.int64), before.view(torch.int64)
    assert torch.equal(bits[0][~mask], bits[1][~mask])
    assert not torch.eq(params[mask], before[mask]).any()


def test_masked_it_is_the_dense_one_where_the_mask_lets_it() -> None:
    mask = torch.arange(12) % 3 > 0
    for second in SECONDS:
        dense = walked(Adaptive(second), gradients(), 0.1)
        masked = walked(Adaptive(second), gradients(), 0.1, Active(mask, None))
        assert torch.equal(masked[mask], dense[mask])
