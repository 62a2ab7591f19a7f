"""What a client sends back, and what the server measures while the updates of a round pass."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from fl_core.federated.memory import ClientMemory, Keeper

LOSS = "loss"  # in what a client sends: (), the loss of what it started from


class Update(NamedTuple):
    """One client's answer to a round."""

    client: int
    version: int  # the round it started from
    num_examples: int  # training examples of the client
    weight: float  # in the average
    #: All that travels up: "params" (P,), those after its steps, and what rules and schedules need.
    sent: Mapping[str, Tensor]
    kept: Mapping[str, Tensor]  # what stays with it for its next round
    train_loss: Tensor  # () mean over the examples seen
    images: int  # training examples processed
    mask: Tensor | None = None  # (P,) bool: the entries it sends; None = whatever trains
    travel: float = 0.0  # sum of its steps' learning rates
    #: Clients that trained before it, each from the parameters of the one before: the examples, the
    #: loss, the images and the rates are of their work, too. Each was sent, and sent, a model.
    before: Sequence[int] = ()
    #: (P,) what it began with, where that was an older model than the server has now: what counts
    #: is how far it went from there.
    since: Tensor | None = None
    #: (P,) the same parameters in float64, moved on with the server, in memory that the next update
    #: takes: for aggregates that use each as it comes (a copy of their own would cost a linear
    #: head's round 3 %).
    exact: Tensor | None = None


class Traffic(NamedTuple):
    """What a client sent beside its parameters: vectors of the model's size, and other bytes."""

    client: int
    vectors: int
    bytes: int


class Measured:
    """What the server learns of one round besides the aggregate, update by update.

    start: (P,) float64, the parameters that the round began with. One serves all rounds, since
    fresh memory costs more than the arithmetic: `begin` starts the next.
    moves: whether to sum what the clients moved.
    """

    def __init__(self, start: Tensor, *, moves: bool = False) -> None:
        self.start = torch.empty_like(start, dtype=torch.float64)
        self._exact, self._moved = torch.empty_like(self.start), torch.empty_like(self.start)
        self.moved = torch.empty_like(self.start) if moves else None  # (P,): sum of w_k - start
        self.begin(start, ClientMemory.empty())

    def begin(self, start: Tensor, clients: ClientMemory) -> None:
        """A round from these parameters (P,), with what clients kept of earlier ones."""
        self.start.copy_(start)
        self._keeper = Keeper(clients)  # takes what is kept as it comes: no round holds it all
        self.images = 0
        self.sums: dict[str, Tensor] = {}  # (P,) float64: what was sent beside the parameters
        self.traffic: list[Traffic] = []
        self.trained: Tensor | None = None  # (P,) bool: the union of the masks that were sent
        if self.moved is not None:
            self.moved.zero_()
        self._examples, self._loss, self._drift, self._drift_active = 0, 0.0, 0.0, 0.0
        self._travel, self._weight, self._first, self._updates = 0.0, 0.0, 0.0, 0
        self.squares = 0.0  # sum of ||w_k - start||_2^2
        self.per_example = 0.0  # sum of 1 / the examples that a client has processed
        self.aside: Mapping[str, float] = {}  # what an aggregate tells of the round

    def passing(self, updates: Iterable[Update]) -> Iterator[Update]:
        """The same updates, measured on their way."""
        for update in updates:
            self._exact.copy_(update.sent["params"])
            if update.since is not None:  # w - (w_old - w_k): so -0.0 stays what it is
                torch.sub(update.since, self._exact, out=self._moved)
                torch.sub(self.start, self._moved, out=self._exact)
            self._measure(update)
            yield update._replace(exact=self._exact)

    def _measure(self, update: Update) -> None:
        torch.sub(self._exact, self.start, out=self._moved)
        drift = float(self._moved.norm())
        self._drift += drift
        self.squares += drift**2
        self.per_example += 1 / update.images
        if update.mask is not None:
            drift = float(torch.where(update.mask, self._moved, 0.0).norm())
            self.trained = update.mask if self.trained is None else self.trained | update.mask
        if self.moved is not None:
            self.moved.add_(self._moved)
        self._travel += update.travel * update.weight
        self._weight += update.weight
        self._drift_active += drift
        self._loss += float(update.train_loss) * update.num_examples
        self._examples += update.num_examples
        self.images += update.images
        if update.kept:
            self._keeper.keep(update.client, update.version, update.kept)
        size, vectors, other = len(self.start), 0, 0
        for name, tensor in update.sent.items():
            if name == "params":
                continue
            if name == LOSS:
                self._first += float(tensor) * update.num_examples
            total = self.sums.get(name)
            self.sums[name] = tensor.double() if total is None else self._added(total, tensor)
            vectors += tensor.numel() == size
            other += 0 if tensor.numel() == size else tensor.nbytes
        everyone = (*update.before, update.client)
        self.traffic += [Traffic(client, vectors, other) for client in everyone]
        self._updates += 1

    def _added(self, total: Tensor, tensor: Tensor) -> Tensor:
        """The total, grown in place: a vector's numbers become float64 first, since an addition of
        two types takes half as long again.
        """
        vector = tensor.shape == self._moved.shape
        return total.add_(self._moved.copy_(tensor) if vector else tensor)

    @property
    def clients(self) -> ClientMemory:
        """What clients keep after the updates so far."""
        return self._keeper.memory()

    @property
    def train_loss(self) -> float:
        """Mean over the clients, weighted by their examples; of nobody there is none."""
        return self._loss / self._examples

    @property
    def first_loss(self) -> float:
        """Of what the clients started from, on their first batches; weighted by their examples."""
        return self._first / self._examples

    @property
    def travel(self) -> float:
        """Mean sum of the steps' learning rates, weighted as the parameters are; of nobody 0."""
        return self._travel / self._weight if self.traffic else 0.0

    @property
    def told(self) -> dict[str, float]:
        """What the round's clients measured, mean over them; nothing of nobody."""
        heard = {"train_loss": self.train_loss, **self.drift} if self.traffic else {}
        return {**heard, **self.aside}

    @property
    def drift(self) -> dict[str, float]:
        """Mean over the round's clients of ||w_k - w||_2, w the server's parameters; and the same
        over the entries that each client sends. Of a chain of clients it is that of the last.
        """
        return {
            "client_drift": self._drift / self._updates,
            "client_drift_active": self._drift_active / self._updates,
        }

    def among(self, clients: Collection[int]) -> int:
        """How many of these took part."""
        return sum(traffic.client in clients for traffic in self.traffic)

    def drift_all(self, clients: int) -> float:
        """(1 / K) sum_k ||w_k - w||_2 over all K clients, equation 4 of Pirilli et al.: one that
        takes no part in the round stays where the server is, and adds 0.
        """
        return self._drift / clients
