"""SparseSGDM does what a torch optimiser does, wherever torch code takes one: beside SGD."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fl_core.optim.sparse_sgdm import SparseSGDM

OPTIONS: dict[str, Any] = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}
Change = Callable[[nn.Module], nn.Module]


def model() -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3))


def masks_of(net: nn.Module, kind: str) -> list[Tensor | None]:
    def mask(parameter: Tensor) -> Tensor | None:
        places = torch.arange(parameter.numel()).view(parameter.shape)
        return {"sparse": places % 5 == 0, "half": places % 2 == 0}.get(kind)

    return [mask(parameter) for parameter in net.parameters()]


def train(net: nn.Module, optimiser: torch.optim.Optimizer, steps: int) -> None:
    """Gradients that depend on nothing but the step's number."""
    for step in range(steps):
        for place, parameter in enumerate(net.parameters()):
            shape, dtype = parameter.shape, parameter.dtype
            draw = torch.Generator().manual_seed(100 * step + place)
            parameter.grad = torch.randn(shape, generator=draw).to(parameter.device, dtype)
        optimiser.step()


def values(net: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in net.parameters()]


CHANGES: dict[str, Change] = {
    "channels_last": lambda net: net.to(memory_format=torch.channels_last),
    "double": lambda net: net.double(),
    "half": lambda net: net.bfloat16(),
}


@pytest.mark.parametrize("kind", ["dense", "half", "sparse"])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_model_may_change_under_it(change: Change, kind: str) -> None:
    """Before the first step and between steps; as SGD, where the masks let it."""
    net, other = model(), model()
    start = values(net)
    masks = masks_of(net, kind)
    optimiser = SparseSGDM(net.parameters(), masks, **OPTIONS)
    sgd = torch.optim.SGD(other.parameters(), **OPTIONS, foreach=False)
    for _ in range(2):
        train(change(net), optimiser, 2)
        train(change(other), sgd, 2)
        for got, wanted, mask, first in zip(values(net), values(other), masks, start, strict=True):
            expected = wanted if mask is None else torch.where(mask, wanted, first.to(wanted))
            if kind == "sparse" and got.dtype == torch.bfloat16:
                # with 16 bits, torch's rounding depends on an entry's place
                torch.testing.assert_close(got, expected, rtol=0.02, atol=0.01)
            else:
                assert torch.equal(got, expected)
        net.to(memory_format=torch.contiguous_format)
        other.to(memory_format=torch.contiguous_format)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sparse_gradients_are_those_of_a_dense_one(momentum: float) -> None:
    results = []
    for sparse in (False, True):
        table = nn.Embedding.from_pretrained(torch.ones(6, 2), freeze=False, sparse=sparse)
        mask = torch.ones(6, 2, dtype=torch.bool)
        mask[2] = False
        optimiser = SparseSGDM(table.parameters(), [mask], 0.5, momentum=momentum)
        for rows in ([1, 2, 1], [4, 2, 5]):
            optimiser.zero_grad()
            table(torch.tensor(rows)).sum().backward()
            optimiser.step()
        results.append(table.weight.detach())
    assert torch.equal(*results)
    assert results[0][2].tolist() == [1, 1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("kind", ["half", "sparse"])
def test_masks_and_momentum_follow_to_another_device(kind: str) -> None:
    net, other = model(), model()
    optimiser = SparseSGDM(net.parameters(), masks_of(net, kind), **OPTIONS)
    stays = SparseSGDM(other.parameters(), masks_of(other, kind), **OPTIONS)
    for device in ("cpu", "cuda", "cpu"):
        train(net.to(device), optimiser, 2)
        train(other, stays, 2)
        for got, wanted in zip(values(net), values(other), strict=True):
            torch.testing.assert_close(got.cpu(), wanted)


def test_copies_go_on_alike() -> None:
    """deepcopy and pickle, with the model; a state from before is a state from after."""
    net = model()
    optimiser = SparseSGDM(net.parameters(), masks_of(net, "sparse"), **OPTIONS)
    train(net, optimiser, 3)
    pairs = [copy.deepcopy((net, optimiser)), pickle.loads(pickle.dumps((net, optimiser)))]
    fresh = copy.deepcopy(net)
    loaded = SparseSGDM(fresh.parameters(), masks_of(net, "sparse"), **OPTIONS)
    loaded.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for other, its in [(net, optimiser), *pairs, (fresh, loaded)]:
        train(other, its, 3)
        assert all(map(torch.equal, values(other), values(net)))


@pytest.mark.parametrize("to_none", [True, False])
def test_zero_grad_and_hooks(to_none: bool) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimiser = SparseSGDM([weight], [torch.tensor([True, False, True])], 0.5, weight_decay=0.1)
    heard: list[str] = []
    optimiser.register_step_pre_hook(lambda *_: heard.append("before"))
    optimiser.register_step_post_hook(lambda *_: heard.append("after"))
    weight.sum().backward()
    optimiser.zero_grad(set_to_none=to_none)
    assert (weight.grad is None) == to_none
    optimiser.step()
    decayed = 1.0 if to_none else 0.95  # as SGD: a gradient of zeros is one
    assert weight.tolist() == pytest.approx([decayed, 1, decayed])
    assert heard == ["before", "after"]


def test_a_scaler_skips_what_overflows() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimiser = SparseSGDM([weight], [torch.tensor([True, False])], 0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    for factor, wanted in ((1.0, [0.5, 1.0]), (float("inf"), [0.5, 1.0]), (1.0, [0.0, 1.0])):
        optimiser.zero_grad()
        scaler.scale(factor * weight.sum()).backward()
        scaler.step(optimiser)
        scaler.update()
        assert weight.tolist() == wanted


WEIGHT = nn.Parameter(torch.ones(2))
MASK = torch.ones(2, dtype=torch.bool)
REFUSED: dict[str, tuple[Any, Any, Any, str]] = {
    "infinite": ([WEIGHT], [None], float("inf"), r"lr=inf: must be in \[0, inf\)"),
    "not a number": ([WEIGHT], [None], float("nan"), r"lr=nan: must be in \[0, inf\)"),
    "nothing": ([], [], 0.1, "params: there are none"),
    "no groups": ([], None, 0.1, "empty parameter list"),
    "empty groups": ([{"params": []}], None, 0.1, "params: there are none"),
    "twice": ([WEIGHT, WEIGHT], None, 0.1, "params: one of them is there twice"),
    "in two groups": ([{"params": [WEIGHT]}, {"params": [WEIGHT]}], None, 0.1, "more than one"),
    "one tensor": ([WEIGHT, nn.Parameter(torch.ones(2))], torch.ones(2, 2) > 0, 0.1,
                   "masks: one tensor for each parameter in a list"),
    "sparse mask": ([WEIGHT], [MASK.to_sparse()], 0.1, r"masks\[0\]: its layout is torch.sparse"),
    "complex": ([nn.Parameter(torch.ones(2, dtype=torch.complex64))], None, 0.1, "must be real"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
@pytest.mark.parametrize(("params", "masks", "lr", "why"), REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused(params: Any, masks: Any, lr: float, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        SparseSGDM(params, masks, lr)
    assert "\n" not in str(caught.value)
