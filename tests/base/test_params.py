"""Named tensors as one vector: views share memory, and only trainable parameters take part."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fl_core.base.params import FlatModule, Layout

shapes = st.lists(
    st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5
)  # scalars too


def tensors_of(sizes: list[tuple[int, ...]]) -> dict[str, Tensor]:
    """Distinct numbers: 0, 1, 2, ... in order."""
    tensors, start = {}, 0
    for number, shape in enumerate(sizes):
        count = math.prod(shape)
        tensors[f"t{number}"] = torch.arange(start, start + count).float().view(shape)
        start += count
    return tensors


def network() -> nn.Sequential:
    """Odd sizes, a frozen layer, a scalar and a layer without bias."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3), nn.Linear(3, 1, bias=False))
    model.register_parameter("scale", nn.Parameter(torch.tensor(2.0)))
    model[1].requires_grad_(False)
    return model


@settings(max_examples=60, deadline=None, derandomize=True)
@given(shapes)
def test_flatten_and_views_are_inverse(sizes: list[tuple[int, ...]]) -> None:
    tensors = tensors_of(sizes)
    layout = Layout.of(tensors.items())
    flat = layout.flatten(tensors)
    assert layout.names == tuple(tensors)
    assert layout.size == sum(map(math.prod, sizes))
    assert flat.tolist() == list(range(layout.size))
    views = layout.views(flat)
    assert list(views) == list(tensors)
    assert all(torch.equal(views[name], tensors[name]) for name in tensors)
    assert [view.shape for view in views.values()] == [torch.Size(size) for size in sizes]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(shapes, st.integers(1, 4))
def test_stacked_views_are_each_rows_views(sizes: list[tuple[int, ...]], rows: int) -> None:
    layout = Layout.of(tensors_of(sizes).items())
    matrix = torch.arange(rows * layout.size).float().view(rows, -1)
    stacked = layout.views(matrix)
    for row in range(rows):
        for name, view in layout.views(matrix[row]).items():
            assert stacked[name].shape == (rows, *view.shape)
            assert torch.equal(stacked[name][row], view)
    for view in stacked.values():
        view.neg_()
    assert torch.equal(matrix, -torch.arange(rows * layout.size).float().view(rows, -1))


def test_flatten_is_a_copy_in_the_layouts_order() -> None:
    tensors = tensors_of([(2, 3), (1,)])
    layout = Layout.of(tensors.items())
    flat = layout.flatten(dict(reversed(tensors.items())))
    flat.zero_()
    assert tensors["t0"].sum() == 15
    single = torch.ones(3)
    Layout.of([("only", single)]).flatten({"only": single}).zero_()
    assert single.sum() == 3


def test_views_share_memory_both_ways() -> None:
    layout = Layout.of(tensors_of([(2, 2), (), (3,)]).items())
    flat = torch.zeros(layout.size)
    views = layout.views(flat)
    views["t0"][1, 0] = 5
    views["t1"].fill_(6)
    assert flat.tolist() == [0, 0, 5, 0, 6, 0, 0, 0]
    flat[-1] = 7
    assert views["t2"].tolist() == [0, 0, 7]


def test_a_vector_of_another_size_is_refused() -> None:
    layout = Layout.of(tensors_of([(2, 2), (3,)]).items())
    for size in (6, 8):
        with pytest.raises(RuntimeError, match="split_with_sizes"):
            layout.views(torch.zeros(size))


def test_the_flat_vector_holds_the_trainable_parameters_alone() -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    flat = FlatModule(model)
    assert set(flat.layout.names) == {"scale", "0.weight", "0.bias", "2.weight"}
    assert flat.flat.shape == flat.grad.shape == (1 + 35 + 7 + 3,)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not flat.grad.any()
    assert not flat.flat.requires_grad


def test_writing_the_vector_changes_the_model_and_no_frozen_bit() -> None:
    model, inputs = network(), torch.linspace(-1, 1, 20).view(4, 5)
    frozen = {name: value.clone() for name, value in model[1].state_dict().items()}
    twin = network()
    flat = FlatModule(model)
    flat.flat.mul_(3)
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.requires_grad:
                parameter.mul_(3)
    assert torch.equal(model(inputs), twin(inputs))
    assert model.scale == 6
    assert all(torch.equal(value, frozen[name]) for name, value in model[1].state_dict().items())


def test_gradients_accumulate_in_the_flat_vector() -> None:
    model, twin = network(), network()
    inputs = torch.linspace(-1, 1, 20).view(4, 5)
    flat = FlatModule(model)
    for expected in (1, 2):
        (model(inputs).square().sum() * model.scale).backward()
        twin.zero_grad()
        (twin(inputs).square().sum() * twin.scale).backward()
        gradients = {n: p.grad for n, p in twin.named_parameters() if p.grad is not None}
        wanted = flat.layout.flatten(gradients)
        assert wanted.abs().min() > 0
        assert torch.allclose(flat.grad, expected * wanted)
    assert all(parameter.grad is None for parameter in model[1].parameters())
    flat.grad.zero_()
    assert not model[0].weight.grad.any()


def test_a_step_on_the_vectors_is_sgd() -> None:
    model, twin = network(), network()
    inputs = torch.linspace(-1, 1, 20).view(4, 5)
    flat = FlatModule(model)
    optimiser = torch.optim.SGD([p for p in twin.parameters() if p.requires_grad], lr=0.1)
    for _ in range(3):
        flat.grad.zero_()
        model(inputs).square().sum().backward()
        flat.flat.add_(flat.grad, alpha=-0.1)
        optimiser.zero_grad(set_to_none=False)
        twin(inputs).square().sum().backward()
        optimiser.step()
    assert all(map(torch.equal, model.parameters(), twin.parameters()))
