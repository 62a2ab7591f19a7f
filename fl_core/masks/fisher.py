"""Diagonal Fisher information, of which masks and blending are made.

    F_i = 1/n sum_x (d f(x) / d w_i)^2          the mean of squares, never the square of a mean

with f(x) = log p(y | x) and y drawn from the model's own softmax (`sampled`: the diagonal of the
Fisher information, one label an example), y from the data set (`empirical`; the server's are
validation labels), or f(x) = the LOGIT of a label drawn from the softmax (`talos`: Iurada et al.,
ICLR 2025, as their code has it). Squared BATCH gradients, often called Fisher, are another quantity
(Kunstner et al., NeurIPS 2019).

Two routes give the same numbers. `_layerwise` runs one backward pass a batch, in which autograd
computes no weight gradient: each layer, given its recorded input x and the gradient g of its
output, forms one example's gradient after the other, e.g. g^T x, and adds its square
(Goodfellow, 2015; Opacus: Yousefpour et al., 2021). It relies on what cannot be read off a
module (weights used by their layer alone, tokens broadcast over the examples), so every call
tries it on two examples first and, where it differs, takes `_functional`: `vmap(grad)` of the
whole model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from fl_core.base.errors import UserError
from fl_core.base.params import FlatModule
from fl_core.data.sources import Source

#: Floats of per-example gradients that `_functional` holds at once: 256 MB.
FUNCTIONAL_FLOATS = 2**26
#: The routes differ by rounding (1e-5; with TF32 1e-3); where one of them is wrong, by about 1.
TOLERANCE = 0.02


class _Batch(NamedTuple):
    inputs: Tensor  # (B, ...)
    labels: Tensor  # (B,) of the data set
    draws: Tensor  # (B,) in [0, 1)


class _Uncovered(Exception):
    """`_layerwise` cannot tell the examples apart in this module."""


def fisher(
    model: FlatModule,
    source: Source,
    indices: np.ndarray,
    kind: str,
    batch_size: int,
    rng: np.random.Generator,
) -> Tensor:
    """(P,): mean over the examples `indices` of the squared PER-EXAMPLE gradient of `kind`.

    At the model as it stands, in eval mode, without augmentation; nothing of it is changed.
    Raises UserError where a score is not finite.
    """
    chosen = torch.from_numpy(indices).to(model.flat.device)
    # all at once: a label does not depend on how the examples are cut into batches
    draws = torch.from_numpy(rng.random(len(indices))).to(model.flat.device)

    def batch(part: slice) -> _Batch:
        return _Batch(source.batch(chosen[part]), source.labels[chosen[part]], draws[part])

    total = torch.zeros_like(model.flat)
    squares = model.layout.views(total)
    with undisturbed(model.module):
        route = _layerwise if _is_covered(model, batch(slice(0, 2)), kind) else _functional
        for start in range(0, len(indices), batch_size):
            route(model, batch(slice(start, start + batch_size)), kind, squares)
    total /= len(indices)
    if not total.isfinite().all():
        bad = [name for name, square in squares.items() if not square.isfinite().all()]
        raise UserError(
            f"mask.fisher={kind!r}: scores are not finite in {len(bad)} of {len(squares)} tensors "
            f"(first: {bad[0]}): the parameters they are computed at have diverged"
        )
    return total


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Eval mode, and no gradient for any parameter; afterwards all flags as they were."""
    training = [(part, part.training) for part in module.modules()]
    required = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    module.eval().requires_grad_(False)
    try:
        yield
    finally:
        for part, mode in training:
            part.training = mode
        for parameter, flag in required:
            parameter.requires_grad_(flag)


def _objective(kind: str, logits: Tensor, batch: _Batch) -> Tensor:
    """f(x) of each example, (B,), from the logits (B, C)."""
    labels = batch.labels
    if kind != "empirical":  # inverse of the softmax's cumulative distribution
        cumulative = logits.detach().double().softmax(-1).cumsum(-1)
        cumulative = cumulative / cumulative[..., -1:]  # ends at 1, which no draw reaches
        labels = (cumulative <= batch.draws.unsqueeze(-1)).sum(-1)
    values = logits if kind == "talos" else logits.log_softmax(-1)
    return values.gather(-1, labels.unsqueeze(-1)).squeeze(-1)


def _is_covered(model: FlatModule, batch: _Batch, kind: str) -> bool:
    """Whether `_layerwise` gives what `_functional` gives on these two examples, everywhere."""
    found, right = (model.layout.views(torch.zeros_like(model.flat)) for _ in range(2))
    try:
        _layerwise(model, batch, kind, found)
    except _Uncovered:
        return False
    _functional(model, batch, kind, right)
    # gradients that are zero but for rounding, such as that of an attention's key bias
    noise = 1e-12 * max(float(square.max()) for square in right.values())
    return all(
        bool((found[name] - square).abs().max() <= TOLERANCE * square.max() + noise)
        for name, square in right.items()
    )


def _functional(model: FlatModule, batch: _Batch, kind: str, squares: dict[str, Tensor]) -> None:
    """Adds the examples' squared gradients to `squares`, whatever the module is made of."""

    def objective(params: dict[str, Tensor], *example: Tensor) -> Tensor:
        single = _Batch(*(tensor.unsqueeze(0) for tensor in example))
        logits = functional_call(model.module, params, (single.inputs,))
        return _objective(kind, logits, single).squeeze(0)

    gradients = vmap(grad(objective), in_dims=(None, 0, 0, 0))
    step = max(1, FUNCTIONAL_FLOATS // model.layout.size)
    # the fused attention of CPUs has no batching rule: vmap would loop over it, with a warning
    with sdpa_kernel(SDPBackend.MATH):
        for part in zip(*(torch.split(tensor, step) for tensor in batch), strict=True):
            found = gradients(model.layout.views(model.flat), *part)
            for name, gradient in found.items():  # not in place: they may share memory
                squares[name] += gradient.square().sum(0)


def _layerwise(model: FlatModule, batch: _Batch, kind: str, squares: dict[str, Tensor]) -> None:
    """Adds the examples' squared gradients to `squares`, layer by layer; or raises _Uncovered."""
    layers, tokens = _owners(model.module, squares, len(batch.inputs))
    inputs: dict[nn.Module, Tensor] = {}

    def watch(layer: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor:
        sizes = [getattr(value, "shape", ())[:1] for value in (*args, output)]
        if layer in inputs or sizes != [batch.inputs.shape[:1]] * 2:
            raise _Uncovered  # used twice, or not one tensor of examples to one tensor of them
        inputs[layer] = args[0].detach()
        if not output.requires_grad:  # the graph starts here; a leaf could not change in place
            output = output.requires_grad_().clone()
        output.register_hook(lambda g: _add_squares(inputs.pop(layer), g, layer, layers[layer]))
        return torch.as_tensor(output)

    handles = [layer.register_forward_hook(watch) for layer in layers]
    try:
        logits = functional_call(model.module, tokens, (batch.inputs,))
    finally:
        for handle in handles:
            handle.remove()
    _objective(kind, logits, batch).sum().backward()  # type: ignore[no-untyped-call]
    for name, copies in tokens.items():
        if copies.grad is not None:
            squares[name] += copies.grad.square().sum(0, keepdim=True)


def _owners(
    module: nn.Module, squares: dict[str, Tensor], count: int
) -> tuple[dict[nn.Module, dict[str, Tensor]], dict[str, Tensor]]:
    """(layers and their parts of `squares`, tokens with a copy of the value for each example)."""
    layers: dict[nn.Module, dict[str, Tensor]] = {}
    tokens: dict[str, Tensor] = {}
    for name, square in squares.items():
        path, _, own = name.rpartition(".")
        owner = module.get_submodule(path)
        if not list(owner.children()):
            layers.setdefault(owner, {})[own] = square
        elif square.shape[:1] == (1,):  # (1, ...): class token, position embedding
            value = owner.get_parameter(own).detach()
            tokens[name] = value.expand(count, *value.shape[1:]).requires_grad_()
        else:
            raise _Uncovered
    return layers, tokens


def _add_squares(x: Tensor, g: Tensor, layer: nn.Module, squares: dict[str, Tensor]) -> None:
    """Adds a layer's squared gradients: from its input x (B, ...), its output's gradient g."""
    if type(layer) is nn.Linear:
        x, g = (tensor.reshape(len(tensor), -1, tensor.shape[-1]) for tensor in (x, g))
        _add_products(x, g, squares)
    elif type(layer) is nn.Conv2d and (layer.groups, layer.padding_mode) == (1, "zeros"):
        kernel = tuple(layer.weight.shape[2:])
        x = F.pad(x, list(layer._reversed_padding_repeated_twice))  # numbers, even for "same"
        patches = F.unfold(x, kernel, layer.dilation, 0, layer.stride)
        _add_products(patches.transpose(1, 2), g.flatten(2).transpose(1, 2), squares)
    else:
        for name, gradient in _gradients(x, g, layer, squares).items():
            squares[name] += gradient.square().sum(0)


def _add_products(x: Tensor, g: Tensor, squares: dict[str, Tensor]) -> None:
    """Linear map of T tokens, x (B, T, I) to (B, T, O): an example's gradient is g^T x, (O, I)."""
    if "bias" in squares:
        squares["bias"] += g.sum(1).square().sum(0)
    if "weight" not in squares:
        return
    total = squares["weight"].flatten(1)
    if x.shape[1] == 1:
        total.addmm_(g[:, 0].square().t(), x[:, 0].square())
        return
    product = torch.empty_like(total)
    for one_x, one_g in zip(x, g, strict=True):
        # one at a time stays in the cache: up to four times as fast as a bmm of all, and small
        torch.mm(one_g.t(), one_x, out=product)
        total.addcmul_(product, product)


def _gradients(x: Tensor, g: Tensor, layer: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    """Per-example gradients, (B, *shape), of the parameters of any small layer."""
    if isinstance(layer, nn.LayerNorm) and x.shape[-1:] == layer.normalized_shape:
        normal = F.layer_norm(x, layer.normalized_shape, eps=layer.eps)
        tokens = {"weight": g * normal, "bias": g}
        return {n: tokens[n].reshape(len(g), -1, g.shape[-1]).sum(1) for n in names}
    params = {name: layer.get_parameter(name).detach() for name in names}

    def gradient(x: Tensor, g: Tensor) -> Any:
        pull = vjp(lambda p: functional_call(layer, p, (x.unsqueeze(0),)), params)[1]
        return pull(g.unsqueeze(0))[0]

    return dict(vmap(gradient)(x, g))
