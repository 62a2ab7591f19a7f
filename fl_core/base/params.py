"""Named tensors as one flat vector.

The server's model, a client's update, a mask and a momentum buffer are all vectors of the same
layout, so averaging, masking, drift and checkpoints are one-line vector arithmetic, and m
clients are simply an (m, P) matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Layout:
    """Where each named tensor lies in a flat vector of `size` entries."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    size: int

    @classmethod
    def of(cls, named: Iterable[tuple[str, Tensor]]) -> Layout:
        """The layout of these tensors, in their order."""
        pairs = list(named)
        return cls(
            tuple(name for name, _ in pairs),
            tuple(tensor.shape for _, tensor in pairs),
            sum(tensor.numel() for _, tensor in pairs),
        )

    def flatten(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """A new (size,) vector of these tensors."""
        return torch.cat([tensors[name].detach().reshape(-1) for name in self.names])

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Views of `flat` (..., size) by name, each (..., *shape); they share its memory."""
        parts = torch.split(flat, [shape.numel() for shape in self.shapes], dim=-1)
        return {
            name: part.view((*flat.shape[:-1], *shape))
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }


class FlatModule:
    """A module whose trainable parameters live in ONE vector `flat`, gradients in `grad`.

    Loading a model is a copy, a training step is arithmetic on two vectors. Parameters with
    `requires_grad=False` stay as they are and are not part of the vector.
    """

    def __init__(self, module: nn.Module) -> None:
        trainable = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        self.module = module
        self.layout = Layout.of(trainable)
        self.flat = self.layout.flatten(dict(trainable))
        self.grad = torch.zeros_like(self.flat)
        values, grads = self.layout.views(self.flat), self.layout.views(self.grad)
        for name, parameter in trainable:
            parameter.data = values[name]
            parameter.grad = grads[name]
        self._trainable = trainable

    def train_only(self, mask: Tensor | None) -> None:
        """No gradients for tensors without an entry in `mask` (P,) bool; None: for all."""
        active = None if mask is None else self.layout.views(mask)
        for name, parameter in self._trainable:
            parameter.requires_grad_(active is None or bool(active[name].any()))
