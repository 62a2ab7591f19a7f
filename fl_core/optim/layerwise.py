"""What LARS and LAMB share: a step of each tensor by itself, scaled by the tensor's norm.

A mask leaves of a tensor the entries that train: norms are theirs alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from fl_core.base.params import Layout


def tensors(layout: Layout | None, *flat: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views (..., n) of the same tensor in each of these vectors (..., P)."""
    sizes = [flat[0].shape[-1]] if layout is None else [shape.numel() for shape in layout.shapes]
    return zip(*(torch.split(vector, sizes, dim=-1) for vector in flat), strict=True)


def norm(tensor: Tensor) -> Tensor:
    """(..., 1): of each client's own."""
    length: Tensor = torch.linalg.vector_norm(tensor, dim=-1, keepdim=True)
    return length


def ratio(above: Tensor, below: Tensor, *among: Tensor) -> Tensor:
    """Their ratio; 1 where one of `among`, norms, is 0: the step of a tensor of zeros is plain."""
    defined = torch.stack(among).amin(0) > 0
    return torch.where(defined, above / below, 1.0)
