"""Where a mask is True, sgdm_step and SparseSGDM are torch.optim.SGD to the bit; else nothing."""

from __future__ import annotations

import copy
import doctest
import io
import itertools
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_core.base.errors import ConfigError
from fl_core.base.params import Layout
from fl_core.config.method_sections import LocalConfig
from fl_core.optim import sgdm, sparse_sgdm
from fl_core.optim.sgdm import Active, sgdm_step
from fl_core.optim.sparse_sgdm import SparseSGDM

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


def tensors_of(seed: int) -> list[list[Tensor]]:
    """The start (first), then the gradient of every step."""
    generator = torch.Generator().manual_seed(seed)
    return [[torch.randn(shape, generator=generator) for shape in SHAPES] for _ in range(STEPS + 1)]


def torch_trajectory(rule: LocalConfig, seed: int) -> list[list[Tensor]]:
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


def flat(tensors: list[Tensor]) -> Tensor:
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


def test_the_gradient_survives_where_asked() -> None:
    """In one piece, in several, by index."""
    rule = LocalConfig(momentum=0.5, weight_decay=0.1, nesterov=True)
    for size in (5, sgdm.CHUNK + 5):
        mask = torch.arange(size) % 2 == 0
        for active in (None, Active(mask, None), Active(mask, mask.nonzero().squeeze(1))):
            grad = torch.ones(size)
            sgdm_step(torch.zeros(size), grad, None, rule, 0.1, active, keep_grad=True)
            assert torch.equal(grad, torch.ones(size))


# --- under a mask ---------------------------------------------------------------------------------

rules = st.sampled_from(RULES)
seeds = st.integers(0, 2**31)


def bits(tensor: Tensor) -> Tensor:
    """To compare -0.0 and NaN too."""
    return tensor.detach().contiguous().view(torch.int32)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mask_of(seed: int, density: float, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < density


def both_forms(mask: Tensor) -> tuple[Active, Active]:
    return Active(mask, None), Active(mask, mask.nonzero().squeeze(1))


def sgd(start: Tensor, grads: Tensor, rule: dict[str, Any], **how: bool) -> Tensor:
    """torch.optim.SGD on these entries alone; `grads` (steps, n)."""
    parameter = start.clone().requires_grad_()
    optimiser = torch.optim.SGD([parameter], lr=0.1, **rule, **how)
    for grad in grads:
        parameter.grad = grad.clone()
        optimiser.step()
    return parameter.detach()


def hostile(seed: int, mask: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Weights with -0.0 and gradients with NaN and infinity wherever nothing may move."""
    start, grads = draw(seed, mask.numel()), draw(seed + 1, steps, mask.numel())
    frozen = (~mask).nonzero().squeeze(1)
    start[frozen[::2]] = -0.0
    for offset, value in enumerate((float("nan"), float("inf"), -float("inf"), -0.0)):
        grads[:, frozen[offset::5]] = value
    return start, grads


@settings(derandomize=True, deadline=None, max_examples=60)
@given(rules, st.integers(1, 90), st.sampled_from((0.0, 0.05, 0.3, 0.5, 1.0)), seeds)
def test_active_entries_alone_move(
    rule: dict[str, Any], size: int, density: float, seed: int
) -> None:
    mask = mask_of(seed, density, size)
    start, grads = hostile(seed, mask, 5)
    wanted = start.clone()
    wanted[mask] = sgd(start[mask], grads[:, mask], rule)
    for active in both_forms(mask):
        params, velocity = start.clone(), None
        for grad in grads:
            velocity = sgdm_step(params, grad.clone(), velocity, LocalConfig(**rule), 0.1, active)
        assert torch.equal(bits(params), bits(wanted))
        if velocity is None:
            assert not rule["momentum"]
        elif active.index is None:
            assert velocity.shape == mask.shape
            assert not velocity[~mask].any()
        else:
            assert velocity.shape == (int(mask.sum()),)


@pytest.mark.parametrize("rule", RULES, ids=lambda r: "-".join(str(v) for v in r.values()))
def test_frozen_entries_keep_their_bits_over_100_steps(rule: dict[str, Any]) -> None:
    mask = mask_of(3, 0.4, 501)
    start, grads = hostile(4, mask, STEPS)
    results = []
    for active in both_forms(mask):
        params, velocity = start.clone(), None
        for grad in grads:
            velocity = sgdm_step(params, grad.clone(), velocity, LocalConfig(**rule), 0.1, active)
        assert torch.equal(bits(params)[~mask], bits(start)[~mask])
        results.append(params)
    assert torch.equal(bits(results[0]), bits(results[1]))
    assert torch.equal(results[0][mask], sgd(start[mask], grads[:, mask], rule))


def test_masking_the_gradient_alone_moves_frozen_weights() -> None:
    """The published mistake; so the tests above see it."""
    mask = torch.tensor([True, False])
    naive = sgd(torch.ones(2), torch.ones(1, 2) * mask, {"weight_decay": 0.1})
    assert naive[1] != 1
    params = torch.ones(2)
    sgdm_step(params, torch.ones(2), None, LocalConfig(weight_decay=0.1), 0.1, Active.of(mask))
    assert params.tolist() == [float(naive[0]), 1.0]


@settings(derandomize=True, deadline=None, max_examples=40)
@given(rules, st.integers(1, 4), st.integers(1, 30), seeds, st.booleans())
def test_stacked_models_step_as_single_ones(
    rule: dict[str, Any], rows: int, size: int, seed: int, shared: bool
) -> None:
    config = LocalConfig(**rule)
    mask = mask_of(seed, 0.5, *([size] if shared else [rows, size]))
    start, grads = draw(seed, rows, size), draw(seed + 1, 3, rows, size)
    stacked, velocity = start.clone(), None
    for grad in grads:
        velocity = sgdm_step(stacked, grad.clone(), velocity, config, 0.1, Active(mask, None))
    for row in range(rows):
        single, own = start[row].clone(), None
        active = Active.of(mask if shared else mask[row])
        for grad in grads:
            own = sgdm_step(single, grad[row].clone(), own, config, 0.1, active)
        assert torch.equal(bits(stacked[row]), bits(single))


@pytest.mark.parametrize("rule", RULES, ids=lambda r: "-".join(str(v) for v in r.values()))
def test_pieces_change_no_bit(rule: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Cache-sized pieces, of a vector and of stacked ones, against one pass."""
    config, start, grads = LocalConfig(**rule), draw(1, 3, 101), draw(2, 4, 3, 101)
    mask = mask_of(3, 0.5, 3, 101)

    def run(stacked: bool, active: Active | None) -> list[Tensor]:
        params, velocity = (start if stacked else start[0]).clone(), None
        for grad in grads:
            value = (grad if stacked else grad[0]).clone()
            velocity = sgdm_step(params, value, velocity, config, 0.1, active)
        return [params] if velocity is None else [params, velocity]

    def runs() -> list[Tensor]:
        forms = [(False, active) for active in (None, *both_forms(mask[0]))]
        forms += [(True, active) for active in (None, Active(mask[1], None), Active(mask, None))]
        return [tensor for form in forms for tensor in run(*form)]

    whole = runs()
    monkeypatch.setattr(sgdm, "CHUNK", 17)
    monkeypatch.setattr(sgdm, "INDEX_CHUNK", 7)
    for one, other in zip(whole, runs(), strict=True):
        assert torch.equal(bits(one), bits(other))


def test_only_a_cpu_works_in_pieces() -> None:
    for device, count in (("cpu", 4), ("meta", 1)):
        assert len(list(sgdm._pieces(torch.empty(2, 10, device=device), 6))) == count


def test_the_form_follows_the_density() -> None:
    for density in (0.0, 0.01, 0.2):
        mask = torch.arange(1000) < 1000 * density
        active = Active.of(mask)
        assert active.index is not None
        assert active.index.tolist() == list(range(int(1000 * density)))
    for dense in (torch.ones(1000, dtype=torch.bool), torch.zeros(2, 1000, dtype=torch.bool)):
        assert Active.of(dense).index is None


def test_masks_that_do_not_fit_a_step_are_refused() -> None:
    with pytest.raises(ValueError, match=r"dtype is torch.float32, must be torch.bool"):
        Active.of(torch.ones(3))
    mask = torch.tensor([True] + [False] * 9)
    rule = LocalConfig()
    for params, active in (
        (torch.zeros(4), Active.of(mask)),
        (torch.zeros(2, 10), Active.of(mask)),  # by index, for one model only
        (torch.zeros(10), Active(mask.expand(2, 10), None)),
        (torch.zeros(10), Active(mask[:1], None)),  # would broadcast
    ):
        with pytest.raises(ValueError, match="does not fit parameters"):
            sgdm_step(params, torch.zeros_like(params), None, rule, 0.1, active)


# --- the optimiser --------------------------------------------------------------------------------

DENSITIES = (0.2, 0.5, 1.0, 0.0, 0.7)  # of the tensors of SHAPES
OPTIONS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "nesterov": True}


def parameters() -> list[torch.nn.Parameter]:
    return [torch.nn.Parameter(tensor) for tensor in tensors_of(0)[0]]


def some_masks() -> list[Tensor]:
    pairs = zip(SHAPES, DENSITIES, strict=True)
    return [mask_of(place, density, *shape) for place, (shape, density) in enumerate(pairs)]


GRADS = tensors_of(0)[1:]


def run(optimiser: torch.optim.Optimizer, steps: range) -> list[Tensor]:
    """Steps with gradients that depend on the step alone; the parameters after them."""
    params = [p for group in optimiser.param_groups for p in group["params"]]
    for step in steps:
        for parameter, grad in zip(params, GRADS[step], strict=True):
            if parameter.requires_grad:
                parameter.grad = grad.clone()
        optimiser.step()
    return [parameter.detach().clone() for parameter in params]


def equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(bits(a), bits(b)) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("rule", RULES, ids=lambda r: "-".join(str(v) for v in r.values()))
def test_all_true_masks_are_torch_sgd(rule: dict[str, Any]) -> None:
    """Fused too, but for its momentum: it rounds once where the others round twice."""
    steps = range(STEPS)
    ones = [torch.ones(shape, dtype=torch.bool) for shape in SHAPES]
    sparse = run(SparseSGDM(parameters(), ones, 0.1, **rule), steps)
    assert equal(sparse, run(SparseSGDM(parameters(), None, 0.1, **rule), steps))
    ways: list[dict[str, bool]] = [{}, {"foreach": False}, {"foreach": True}]
    ways += [] if rule["momentum"] else [{"fused": True}]
    for way in ways:
        assert equal(sparse, run(torch.optim.SGD(parameters(), 0.1, **rule, **way), steps)), way


@pytest.mark.parametrize("rule", RULES, ids=lambda r: "-".join(str(v) for v in r.values()))
def test_the_optimiser_moves_active_entries_alone(rule: dict[str, Any]) -> None:
    masks = some_masks()
    optimiser = SparseSGDM(parameters(), masks, 0.1, **rule)
    after = run(optimiser, range(STEPS))
    for place, (mask, start) in enumerate(zip(masks, parameters(), strict=True)):
        grads = torch.stack([grad[place][mask] for grad in GRADS])
        assert torch.equal(after[place][mask], sgd(start.detach()[mask], grads, rule))
        assert torch.equal(bits(after[place])[~mask], bits(start)[~mask])


def test_tensors_without_an_active_entry_take_no_part() -> None:
    params, masks = parameters(), some_masks()
    for parameter in params:
        parameter.grad = torch.ones_like(parameter)
    optimiser = SparseSGDM(params, masks, **OPTIONS)
    assert [p.requires_grad for p in params] == [bool(mask.any()) for mask in masks]
    assert [p.grad is None for p in params] == [not mask.any() for mask in masks]
    assert not params[3].requires_grad
    params[3].grad = torch.ones_like(params[3])  # by hand: still nothing happens
    before = bits(params[3]).clone()
    optimiser.step()
    assert torch.equal(bits(params[3]), before)
    assert params[3] not in optimiser.state
    assert all(params[place] in optimiser.state for place in (0, 1, 2, 4))


def test_momentum_is_stored_for_active_entries_alone() -> None:
    parameter, mask = torch.nn.Parameter(torch.zeros(10, 10)), torch.zeros(10, 10) > 0
    mask[3, 4] = mask[7, 1] = True
    optimiser = SparseSGDM([parameter], [mask], 0.5, momentum=0.9)
    parameter.grad = torch.arange(100.0).view(10, 10)
    optimiser.step()
    assert optimiser.state[parameter]["momentum_buffer"].tolist() == [34.0, 71.0]
    assert parameter.grad[3, 4] == 34  # the gradient stays as it was
    assert SparseSGDM([torch.zeros(2)], None, 0.5).state == {}


def test_at_the_highest_sparsity_one_entry_moves() -> None:
    start = draw(1, 1000)
    parameter, mask = torch.nn.Parameter(start.clone()), torch.arange(1000) == 123
    optimiser = SparseSGDM([parameter], [mask], **OPTIONS)
    for _ in range(10):
        parameter.grad = torch.ones(1000)
        optimiser.step()
    assert (bits(parameter) != bits(start)).nonzero().tolist() == [[123]]


def test_parameters_in_any_memory_format() -> None:
    start, grad = draw(1, 2, 3, 4, 5), draw(2, 2, 3, 4, 5)
    mask = mask_of(3, 0.2, 2, 3, 4, 5)
    results = []
    for form in (torch.contiguous_format, torch.channels_last):
        parameter = torch.nn.Parameter(start.clone(memory_format=form))
        optimiser = SparseSGDM([parameter], [mask], **OPTIONS)
        for other in (torch.channels_last, torch.contiguous_format):
            parameter.grad = grad.clone(memory_format=other)
            optimiser.step()
        results.append(parameter)
    assert equal(results[:1], results[1:])


def test_other_number_formats() -> None:
    """Against SGD on everything: with 16 bits, torch's rounding depends on an entry's place."""
    rule = {name: value for name, value in OPTIONS.items() if name != "lr"}
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        start, grads, mask = draw(1, 40).to(dtype), draw(3, 5, 40).to(dtype), mask_of(2, 0.5, 40)
        parameter = torch.nn.Parameter(start.clone())
        optimiser = SparseSGDM([parameter], [mask], **OPTIONS)
        for grad in grads:
            parameter.grad = grad.masked_fill(~mask, float("nan"))
            optimiser.step()
        wanted = torch.where(mask, sgd(start, grads, rule), start)
        assert torch.equal(parameter, wanted), dtype


def test_saved_state_continues_to_the_same_bits() -> None:
    whole = run(SparseSGDM(parameters(), some_masks(), **OPTIONS), range(20))
    first = SparseSGDM(parameters(), some_masks(), **OPTIONS)
    half = run(first, range(10))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    params = [torch.nn.Parameter(value) for value in half]
    second = SparseSGDM(params, some_masks(), lr=7.0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert second.param_groups[0]["lr"] == 0.1
    assert equal(run(second, range(10, 20)), whole)
    assert equal(run(copy.deepcopy(first), range(10, 20)), whole)  # as unpickling does
    assert equal(run(first, range(10, 20)), whole)  # saving and copying left it alone


def test_a_state_of_other_masks_is_refused() -> None:
    state = SparseSGDM(parameters(), some_masks(), **OPTIONS).state_dict()
    other = [~mask for mask in some_masks()]
    for masks in (other, None, [None, *some_masks()[1:]]):
        optimiser = SparseSGDM(parameters(), masks, **OPTIONS)
        with pytest.raises(ValueError, match="other masks"):
            optimiser.load_state_dict(state)
        with pytest.raises(ValueError, match="other masks"):
            optimiser.load_state_dict(torch.optim.SGD(parameters(), 0.1).state_dict())
    with pytest.raises(ValueError, match="other masks"):
        SparseSGDM(parameters()[:2], some_masks()[:2], **OPTIONS).load_state_dict(state)


def test_schedulers_reach_it() -> None:
    results = []
    ones = [torch.ones(shape, dtype=torch.bool) for shape in SHAPES]
    for optimiser in (
        SparseSGDM(parameters(), ones, **OPTIONS),
        torch.optim.SGD(parameters(), **OPTIONS),
    ):
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 10)
        for step in range(10):
            values = run(optimiser, range(step, step + 1))
            scheduler.step()
        results.append(values)
        assert optimiser.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)
    assert equal(*results)


def test_a_rate_of_zero_moves_nothing() -> None:
    start = torch.tensor([-0.0, -0.0, 1.0])
    mask = torch.tensor([False, True, True])
    parameter = torch.nn.Parameter(start.clone())
    for rate in (0, 0.0):
        parameter.grad = torch.ones(3)
        SparseSGDM([parameter], [mask], rate).step()
        assert torch.equal(bits(parameter), bits(start))
        params = start.clone()
        sgdm_step(params, torch.ones(3), None, LocalConfig(), rate, Active(mask, None))
        assert torch.equal(bits(params), bits(start))


def test_groups_have_masks_and_options_of_their_own() -> None:
    params, masks = parameters(), some_masks()
    optimiser = SparseSGDM(
        [
            {"params": params[:2], "masks": masks[:2], "lr": 0.5},
            {"params": (p for p in params[2:3]), "masks": [None]},
        ],
        None,
        lr=0.1,
        momentum=0.9,
    )
    optimiser.add_param_group({"params": params[3:], "masks": masks[3:], "momentum": 0.0})
    after = run(optimiser, range(5))
    for place, (mask, start) in enumerate(zip(masks, parameters(), strict=True)):
        single = torch.nn.Parameter(start.detach().clone())
        rate, momentum = 0.5 if place < 2 else 0.1, 0.9 if place < 3 else 0.0
        alone = SparseSGDM([single], [mask if place != 2 else None], rate, momentum)
        for grads in GRADS[:5]:
            single.grad = grads[place].clone()
            alone.step()
        assert torch.equal(bits(after[place]), bits(single))


def test_closure_and_gradients_that_are_missing() -> None:
    used, unused = torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2))
    masks = [torch.tensor([True, False, True]), torch.tensor([True, False])]
    optimiser = SparseSGDM([used, unused], masks, 0.5, weight_decay=0.1)

    def closure() -> float:
        optimiser.zero_grad()
        loss = (used**2).sum()
        loss.backward()
        return float(loss.detach())

    assert optimiser.step() is None
    assert used.tolist() == [1, 1, 1]
    assert optimiser.step(closure) == 3
    assert used.tolist() == pytest.approx([-0.05, 1, -0.05])
    assert unused.tolist() == [1, 1]
    optimiser.zero_grad()
    assert used.grad is None


WRONG: list[tuple[object, str]] = [
    ([torch.ones(3) > 0], "1 of them for 2 parameters"),
    ([torch.ones(2) > 0, None], r"masks\[0\]: its shape is torch.Size\(\[2\]\), must be"),
    ([None, torch.ones(2)], r"masks\[1\]: its dtype is torch.float32, must be torch.bool"),
    ([None, torch.ones(2, dtype=torch.bool, device="meta")], "its device is meta, must be cpu"),
    ([[True] * 3, None], r"masks\[0\]: its shape is None"),
]


@pytest.mark.parametrize(("masks", "message"), WRONG, ids=lambda value: str(value)[:20])
def test_masks_that_do_not_fit_are_refused(masks: Any, message: str) -> None:
    params = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2))]
    with pytest.raises(ValueError, match=message) as caught:
        SparseSGDM(params, masks, 0.1)
    assert "\n" not in str(caught.value)
    optimiser = SparseSGDM([torch.nn.Parameter(torch.ones(1))], None, 0.1)
    with pytest.raises(ValueError, match=message):
        optimiser.add_param_group({"params": params, "masks": masks})
    assert len(optimiser.param_groups) == 1
    with pytest.raises(ValueError, match="each parameter group its own"):
        SparseSGDM([{"params": params}], masks, 0.1)


def test_options_that_do_not_fit_are_refused() -> None:
    params = [torch.nn.Parameter(torch.ones(1))]
    for options in ({"lr": -1.0}, {"nesterov": True}):
        with pytest.raises(ValueError, match=next(iter(options))):
            SparseSGDM(params, None, **{"lr": 0.1, **options})  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="momentum"):
        SparseSGDM(params, None, 0.1, momentum=1.0)


def test_the_example_runs() -> None:
    assert doctest.testmod(sparse_sgdm).failed == 0
