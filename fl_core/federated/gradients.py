"""The gradients of m stacked clients in one local step.

For the classifiers of `models.heads` they are written out in batched matrix products; any other
module goes through `torch.func` (vmap over clients of grad), which is also the oracle of the
closed forms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from fl_core.base.params import FlatModule
from fl_core.federated.client import precision_context
from fl_core.federated.losses import Loss, compared
from fl_core.models.heads import Perceptron

Views = Mapping[str, Tensor]  # parameters or gradients by name, each (m, *shape)
#: (parameters, gradients to be written, inputs (m, B, ...), labels (m, B), weights (m, B), which
#: sum to 1 over a client's examples) -> the clients' mean losses (m,)
Gradient = Callable[[Views, Views, Tensor, Tensor, Tensor], Tensor]


def stacked_gradient(model: FlatModule, loss: Loss, precision: str) -> Gradient:
    """The fastest gradient of this module."""
    if has_closed_form(model.module):
        return partial(GRADIENTS[type(model.module)], loss)
    return partial(module_gradient, model, loss, precision)


def has_closed_form(module: nn.Module) -> bool:
    """Whether the module's gradient is written out here."""
    return type(module) in GRADIENTS


def module_gradient(
    model: FlatModule,
    loss: Loss,
    precision: str,
    views: Views,
    grads: Views,
    inputs: Tensor,
    labels: Tensor,
    weights: Tensor,
) -> Tensor:
    """Any module: vmap over clients of the gradient of the weighted mean loss."""
    fixed = {n: t for n, t in model.module.state_dict().items() if n not in views}

    def loss_of(params: dict[str, Tensor], x: Tensor, y: Tensor, w: Tensor) -> Tensor:
        with precision_context(x.device, precision):
            logits = functional_call(model.module, {**params, **fixed}, (x,))
        losses = loss.of(*compared(logits.float(), y), reduction="none")
        return (losses.view(y.shape[0], -1).mean(1) * w).sum()

    model.module.train()
    gradients, losses = vmap(grad_and_value(loss_of))(dict(views), inputs, labels, weights)
    for name, gradient in gradients.items():
        grads[name].copy_(gradient)
    return torch.as_tensor(losses)


def linear_gradient(
    loss: Loss, views: Views, grads: Views, inputs: Tensor, labels: Tensor, weights: Tensor
) -> Tensor:
    """Of a linear classifier, inputs (m, B, D)."""
    losses, residual = _residual(loss, _affine(views, "", inputs), labels, weights)
    _affine_gradient(grads, "", inputs, residual)
    return losses


def perceptron_gradient(
    loss: Loss, views: Views, grads: Views, inputs: Tensor, labels: Tensor, weights: Tensor
) -> Tensor:
    """Of a perceptron, inputs (m, B, D): back through the last layer, ReLU, LayerNorm, the first.

    With n the normalised hidden units and a = relu(n * g + b), the gradient g_n of n becomes
    rstd * (g_n - mean(g_n) - n * mean(g_n * n)) before the norm (Ba et al. 2016, section 5.1).
    """
    hidden = _affine(views, "hidden.", inputs)  # (m, B, H)
    width, norm = list(hidden.shape[-1:]), "norm.weight" in views
    before = hidden
    if norm:
        normal, mean, rstd = torch.native_layer_norm(hidden, width, None, None, Perceptron.EPS)
        scale = views["norm.weight"].unsqueeze(1)  # (m, 1, H)
        before = torch.addcmul(views["norm.bias"].unsqueeze(1), normal, scale)
    units = before.relu()
    losses, residual = _residual(loss, _affine(views, "head.", units), labels, weights)
    _affine_gradient(grads, "head.", units, residual)
    back = torch.bmm(residual, views["head.weight"])  # (m, B, H)
    back = torch.ops.aten.threshold_backward(back, units, 0.0)
    if norm:
        torch.sum(back, dim=1, out=grads["norm.bias"])
        torch.sum(back * normal, dim=1, out=grads["norm.weight"])
        back, _, _ = torch.ops.aten.native_layer_norm_backward(
            back * scale, hidden, width, mean, rstd, None, None, [True, False, False]
        )
    _affine_gradient(grads, "hidden.", inputs, back)
    return losses


def _affine(views: Views, layer: str, inputs: Tensor) -> Tensor:
    """(m, B, I) through a linear layer, by the prefix of its names: (m, B, O)."""
    bias, weight = views[layer + "bias"], views[layer + "weight"]
    return torch.baddbmm(bias.unsqueeze(1), inputs, weight.transpose(1, 2))


def _affine_gradient(grads: Views, layer: str, inputs: Tensor, back: Tensor) -> None:
    """Its gradients, from what came in (m, B, I) and the gradient of what came out (m, B, O)."""
    torch.bmm(back.transpose(1, 2), inputs, out=grads[layer + "weight"])
    torch.sum(back, dim=1, out=grads[layer + "bias"])


def _residual(loss: Loss, logits: Tensor, labels: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The clients' losses (m,), and their gradient by the logits (m, B, C)."""
    losses, residual = loss.residual(logits, labels)
    residual *= weights.unsqueeze(2)
    return (losses * weights).sum(1), residual


GRADIENTS: Mapping[type[nn.Module], Callable[..., Tensor]] = {
    nn.Linear: linear_gradient,
    Perceptron: perceptron_gradient,
}
