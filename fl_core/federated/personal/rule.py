"""What a personalised method is: what of a client's model is its own, and how that is learnt.

A method is a function of the section `personal` that gives a `Personal`. Local layers, whole:

    def own_head(personal: PersonalConfig) -> Personal:
        return Personal(part=lambda model: head_of(model))

Such a local part never travels: a client starts a round from its own and the server's rest, what
it sends lacks it, no local rule and no aggregate touches it, and it stays in the client's memory.
A client's first one is the server's, which comes with its first download and never changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from fl_core.base.params import FlatModule
from fl_core.federated.rule import LocalRule, Named, Visit


class Beside(NamedTuple):
    """A second model of a client, all its own, trained in each of its rounds.

    rule: of its steps, to which the shared model as it came is `visit.server["model"]`. steps: in
    units of `local.unit`. Its first start is the shared model, later ones what it was last.
    """

    rule: LocalRule
    steps: int


@dataclass(frozen=True)
class Personal:
    """Each part is optional; with none of them all clients have the server's model.

    part(model): (P,) bool, the entries that stay with a client.
    first: so many of a client's local steps train the part alone, the others the rest alone;
        0: all train together.
    beside: a model of the client's own beside the shared one, which trains as it would without.
    tune: steps by which each client, whenever it is judged, trains the shared model further.
    """

    part: Callable[[FlatModule], Tensor] | None = None
    first: int = 0
    beside: Beside | None = None
    tune: int = 0

    @property
    def shares_all(self) -> bool:
        """Whether a client's model is the server's, whenever it is judged."""
        return self.part is None and self.beside is None and not self.tune


NOBODY = Personal()


def divided(rule: LocalRule, part: Tensor) -> LocalRule:
    """The local rule on all but the part (P,) that stays with the client: there it is plain SGD,
    and nothing of it is sent.
    """
    correct, finish = rule.correct, rule.finish

    def corrected(grad: Tensor, params: Tensor, visit: Visit) -> None:
        assert correct is not None
        plain = grad.clone()
        correct(grad, params, visit)
        grad.copy_(torch.where(part, plain, grad))

    def finished(params: Tensor, visit: Visit) -> tuple[Named, Named]:
        assert finish is not None
        sent, kept = finish(params, visit)
        return {name: torch.where(part, 0.0, tensor) for name, tensor in sent.items()}, kept

    return replace(rule, correct=correct and corrected, finish=finish and finished)
