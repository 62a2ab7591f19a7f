"""Clients at work at the same time, and the moments at which they come back.

The server waits for some of those in flight, and sends others out as they come back. What happens
at one moment happens in this order: updates arrive (by client, where several do); the server steps
if it has enough of them; the places that are free are filled. So updates that arrive together are
of the same models, however many of them the server waits for.

Everything is a pure function of the queue and of what is drawn for it; its cost does not depend on
the number of clients that there are, but on those at work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fl_core.config.fields import refuse

PREFIX = "timing/"  # of the queue's tensors in the state
MOST_LOST = 10_000  # clients that fail one after the other, before the run gives up


class Flight(NamedTuple):
    """A client at work; those that end first come first, ties by client."""

    seconds: float  # from the server's last step until its update arrives, or it fails
    client: int
    version: int  # of the model that it was sent: the server's steps before
    arrives: bool = True  # else it fails


class Step(NamedTuple):
    """What happens until the server steps."""

    arrived: list[Flight]  # as many as it waits for, as they come
    seconds: float  # from its last step
    queue: Queue  # afterwards


#: (number of the draw, how many, who is at work) -> other clients; fewer where there are no more.
Draw = Callable[[int, int, Collection[int]], np.ndarray]
#: (client, number of its draw, seconds since the server's last step) -> its flight.
Launch = Callable[[int, int, float], Flight]


@dataclass(frozen=True)
class Queue:
    """Who is at work after a step of the server, in the order of `Flight`; draws so far."""

    flights: tuple[Flight, ...] = ()
    draws: int = 0

    def until(self, updates: int, places: int, draw: Draw, launch: Launch) -> Step:
        """What happens until so many updates have arrived, of clients at so many places.

        A client whose update has arrived is sent nothing before the server has stepped: it would
        do the same work on the same model.
        """
        flights, draws, seconds = list(self.flights), self.draws, 0.0  # sorted: a heap
        busy = {flight.client for flight in flights}
        arrived: list[Flight] = []
        lost = 0  # in a row
        while len(arrived) < updates:
            if len(flights) < places and not (flights and flights[0].seconds <= seconds):
                for client in draw(draws, places - len(flights), busy).tolist():
                    heappush(flights, launch(client, draws, seconds))
                    busy.add(client)
                draws += 1
            flight = heappop(flights)
            seconds = flight.seconds
            if flight.arrives:
                arrived.append(flight)
                lost = 0
                continue
            busy.remove(flight.client)
            lost += 1
            if lost == MOST_LOST:
                allowed = f"of {lost} clients one after the other none came back with an update"
                raise refuse("timing.mode", "buffered", allowed)
        # seconds are from the last step: a clock that runs on would round them otherwise
        left = (flight._replace(seconds=flight.seconds - seconds) for flight in flights)
        return Step(arrived, seconds, Queue(tuple(sorted(left)), draws))

    @property
    def versions(self) -> set[int]:
        """Of the models that clients are at work on."""
        return {flight.version for flight in self.flights}

    def tensors(self) -> dict[str, Tensor]:
        """For the state, by name."""
        seconds, clients, versions, arrive = (
            zip(*self.flights, strict=True) if self.flights else [()] * 4
        )
        own = {
            "seconds": torch.tensor(seconds, dtype=torch.float64),
            "clients": torch.tensor(clients, dtype=torch.int64),
            "versions": torch.tensor(versions, dtype=torch.int64),
            "arrive": torch.tensor(arrive, dtype=torch.bool),
            "draws": torch.tensor(self.draws),
        }
        return {PREFIX + name: tensor for name, tensor in own.items()}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Queue:
        """The inverse; of a state that has none yet, nobody is at work."""
        if PREFIX + "draws" not in tensors:
            return cls()
        names = ("seconds", "clients", "versions", "arrive")
        rows = zip(*(tensors[PREFIX + name].tolist() for name in names), strict=True)
        return cls(tuple(Flight(*row) for row in rows), int(tensors[PREFIX + "draws"]))
