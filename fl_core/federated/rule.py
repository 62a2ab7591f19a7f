"""What a local rule is: how a client's work differs from plain SGD on its own loss.

A rule is a function of the section `local` that gives a `LocalRule`: a handful of functions, each
optional. A pull towards the start, whole:

    def pulled(local: LocalConfig) -> LocalRule:
        def correct(grad: Tensor, params: Tensor, visit: Visit) -> None:
            grad.add_(params - visit.start, alpha=local.mu)

        return LocalRule(correct=correct)

All tensors are flat vectors in the model's layout. What a rule computes must be elementwise, so
that the same function serves one client (P,) and m stacked ones (m, P).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fl_core.federated.state import Federation, State
from fl_core.optim.sgdm import Active

Named = Mapping[str, Tensor]


@dataclass(frozen=True)
class Visit:
    """One client's round as its rule sees it; in `correct` also m stacked clients'."""

    start: Tensor  # (P,) or (m, P): what the client starts from
    server: Named  # the server's tensors that are sent, (P,) each
    memory: Named  # the client's own, like `start`; zeros where it has not taken part before
    travel: float | Tensor = 0.0  # sum of the round's learning rates; (m, 1) if clients differ
    known: float | Tensor = 0.0  # 1 where it has taken part before, else 0; likewise
    participation: float = 1.0  # share of the clients that take part in a round
    active: Active | None = None  # the entries that train, (P,) or like `start`; None = all
    gradient: Tensor | None = None  # of all its examples at `start`, for rules that ask for it

    def within(self, tensor: Tensor) -> Tensor:
        """The tensor with zeros where the client does not train."""
        return tensor if self.active is None else torch.where(self.active.mask, tensor, 0.0)


def add_scaled(grad: Tensor, tensor: Tensor, share: float | Tensor) -> None:
    """Add `share * tensor` in place; a `share` (m, 1) is one of each stacked client."""
    if isinstance(share, Tensor):
        grad.addcmul_(tensor, share)
    else:
        grad.add_(tensor, alpha=share)


@dataclass(frozen=True)
class Gathered:
    """A round as the server sees it when all updates are in; what is sent is summed by name."""

    server: Named  # the server's tensors of this rule
    start: Tensor  # (P,) float64: what the round began with
    target: Tensor  # (P,) float64: the aggregate of the clients' parameters
    sums: Named  # (P,) float64: what the clients sent beside their parameters, summed
    senders: int  # clients whose updates arrived
    clients: int  # of the whole federation
    round: int = 0  # rounds completed before this one
    travel: float = 0.0  # sum of the learning rates of a client's steps, averaged as its parameters
    moved: Tensor | None = None  # (P,) float64: sum of w_k - start, for rules that ask for it
    trained: Tensor | None = None  # (P,) bool: what any of the senders trains; None = no difference


@dataclass(frozen=True)
class LocalRule:
    """The functions of a rule; what is None is as in FedAvg.

    correct(grad, params, visit): changes every step's gradient in place, before weight decay and
        momentum.
    finish(params, visit): what a client sends beside its parameters, and what it keeps.
    starts(clients, state, fed): what each client of a round starts from, if not the server's
        parameters; asked for one after the other.
    serve(gathered): the server's tensors after the round, and the aggregate (changed or not).
    remember(gathered, params): the same once the server has stepped to `params` (P,).
    memory, broadcast, held: names of the clients' and of the server's tensors, which begin as
        zeros; of the server's, `broadcast` are sent down with the parameters, `held` never are.
    sends: vectors of the model's size that `finish` sends; the clock has to know before it does.
    moves: `gathered.moved` is wanted.
    uniform: clients weigh the same in the average; otherwise by their examples.
    full_gradient: `visit.gradient` is wanted.
    fisher: whose Fisher information is summed: "round" (the round's clients: `fed.fisher`), "all"
        (`fed.all_fisher` too) or nobody's; the ledger counts its exchange.
    """

    correct: Callable[[Tensor, Tensor, Visit], None] | None = None
    finish: Callable[[Tensor, Visit], tuple[Named, Named]] | None = None
    starts: Callable[[Sequence[int], State, Federation], Iterable[Tensor]] | None = None
    serve: Callable[[Gathered], tuple[Named, Tensor]] | None = None
    remember: Callable[[Gathered, Tensor], Named] | None = None
    memory: Sequence[str] = field(default=())
    broadcast: Sequence[str] = field(default=())
    held: Sequence[str] = field(default=())
    sends: int = 0
    moves: bool = False
    uniform: bool = False
    full_gradient: bool = False
    fisher: str = ""


PLAIN = LocalRule()
