"""What an optimiser is, for a client's steps and for the server's."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from fl_core.base.params import Layout
from fl_core.optim.sgdm import Active


@runtime_checkable
class Optimiser(Protocol):
    """One step at a time, in place; all that it remembers are tensors by name."""

    @property
    def plain(self) -> bool:
        """Whether a step is w - lr * grad and nothing else."""
        ...

    def step(
        self,
        params: Tensor,
        grad: Tensor,
        state: dict[str, Tensor],
        lr: float,
        layout: Layout | None = None,
        active: Active | None = None,
    ) -> None:
        """Change `params` (P,) or (m, P) and `state` in place; `grad` may be overwritten.

        `state`: empty before the first step, filled by it. `layout`: where the tensors lie, for
        optimisers that treat each by itself. `active`: the entries that may change, None = all.
        """
        ...
