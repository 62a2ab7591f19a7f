"""What a stage before the main one has cost: bytes of all clients, each way, and local steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from fl_core.federated.messages import encode, encode_mask, encode_numbers


class Cost(NamedTuple):
    """Bytes from the clients to the server, bytes back, local steps of one client."""

    up: int = 0
    down: int = 0
    steps: int = 0

    def plus(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(self.up + other.up, self.down + other.down, self.steps + other.steps)

    def to_tensor(self) -> Tensor:
        """(3,) int64, for the stage's artefact: trials that share it carry the same cost."""
        return torch.tensor(self)

    @classmethod
    def of(cls, tensor: Tensor) -> Cost:
        """The inverse of `to_tensor`."""
        return cls(*tensor.tolist())


#: Stage (head, masks, superclients) -> what it has cost, asked when the main stage begins.
Before = Callable[[], Mapping[str, Cost]]


def cost_of_ridge(width: int, classes: int, clients: int) -> Cost:
    """Each client sends X^T X and X^T Y once (see models.ridge), in one message of float64; the
    first is symmetric: its upper triangle goes up. `width`: features with the column of ones.
    """
    numbers = width * (width + 1) // 2 + width * classes
    return Cost(up=clients * len(encode_numbers(torch.zeros(numbers, dtype=torch.float64))))


def cost_of_means(messages: Iterable[Tensor]) -> Cost:
    """Each client sends the means of its classes once, rows of float32 (see models.ncm)."""
    return Cost(up=sum(len(encode_numbers(rows.flatten())) for rows in messages))


def cost_of_temperature(
    head: Tensor, evaluations: int, numbers: tuple[int, int], clients: int
) -> Cost:
    """Every client is sent the unscaled head once; then in each evaluation as many float64 as
    `numbers` says go down to each, and up from it (see models.temperature).
    """
    if not evaluations:
        return Cost()
    down, up = (len(encode_numbers(torch.zeros(n, dtype=torch.float64))) for n in numbers)
    first = len(encode(head, None, "dense"))
    return Cost(clients * evaluations * up, clients * (first + evaluations * down))


def cost_of_masks(masks: Iterable[Tensor]) -> Cost:
    """Every client is sent the start, and sends the mask (P,) that it makes of it."""
    up, down = 0, 0
    for mask in masks:
        up += len(encode_mask(mask))
        down += len(encode(torch.zeros(mask.numel()), None, "dense"))
    return Cost(up, down)


def cost_of_counts(classes: int, clients: int) -> Cost:
    """Every client tells its number of examples of each class, in int32."""
    return Cost(clients * len(encode_numbers(torch.zeros(classes, dtype=torch.int32))))


def cost_of_pretraining(size: int, beside: int, clients: int, steps: int) -> Cost:
    """Every client is sent the start of `size` parameters, with what it needs `beside` them, and
    sends its own after so many steps; it keeps nothing of either.
    """
    model = len(encode(torch.zeros(size), None, "dense"))
    return Cost(clients * model, clients * (model + beside), steps)


def cost_of_scores(active: Tensor, round: int, clients: int, *, start: bool = True) -> Cost:
    """One round of calibration: every client is sent the start, or later what of it is active
    (P,), and sends a score for each active entry, of the length of a parameter.

    start: False where clients have the parameters already.
    """
    zeros = torch.zeros(active.numel())
    first = len(encode(zeros, None, "dense")) if start else 0
    down = len(encode_mask(active)) if round else first
    return Cost(clients * len(encode(zeros, active, "values")), clients * down)
