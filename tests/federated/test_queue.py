"""Clients at work at the same time: a queue worked out by hand, and what holds of every queue."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fedavg import config

from fl_core.base.errors import ConfigError
from fl_core.federated.selections.uniform import some_of, uniform_sample
from fl_core.federated.timing.queue import Draw, Flight, Queue, Step


def first(clients: int) -> Draw:
    """Draws the first of those that are not at work."""

    def draw(number: int, count: int, busy: Collection[int]) -> np.ndarray:
        return np.array([client for client in range(clients) if client not in busy][:count], int)

    return draw


def steps(
    durations: list[float], updates: int, places: int, count: int, fails: Collection[int] = ()
) -> list[tuple[float, list[tuple[int, int]]]]:
    """Of each step: seconds since the one before, clients that arrived and their staleness."""
    queue, found = Queue(), []
    for version in range(count):

        def launch(client: int, draw: int, seconds: float, version: int = version) -> Flight:
            return Flight(seconds + durations[client], client, version, draw not in fails)

        step = queue.until(updates, places, first(len(durations)), launch)
        found.append((step.seconds, [(f.client, version - f.version) for f in step.arrived]))
        queue = Queue.of(step.queue.tensors())
        assert queue == step.queue
    return found


def test_three_clients_of_speeds_1_2_and_5_by_hand() -> None:
    """All at work, the server steps with two updates. Client 0 comes back at 1, and is sent nothing
    while the server waits, client 1 at 2: a step. Both go on from model 1, 0 arrives at 3, 1 at 4:
    a step. From model 2: 0 at 5, and at the same time 2, which began with model 0: a step at 5,
    without 1, which is there at 6 with an update of model 2 ...
    """
    assert steps([1, 2, 5], updates=2, places=3, count=5) == [
        (2, [(0, 0), (1, 0)]),
        (2, [(0, 0), (1, 0)]),
        (1, [(0, 0), (2, 2)]),
        (1, [(0, 0), (1, 1)]),
        (2, [(0, 0), (1, 0)]),
    ]


def test_every_update_a_step_by_hand() -> None:
    """Two places of three, B = 1: at 1 client 0, and 0 is drawn again each time; at 2 it ties with
    1, whose update the server takes second, at the same moment and one step late.
    """
    assert steps([1, 2, 5], updates=1, places=2, count=5) == [
        (1, [(0, 0)]),
        (1, [(0, 0)]),
        (0, [(1, 2)]),
        (1, [(0, 0)]),
        (1, [(0, 0)]),
    ]


def test_updates_that_come_together_are_of_the_same_models() -> None:
    """Six at once, four needed: the other two wait, and nobody is sent out before they are in. Then
    the four whose updates the server has not in hand go, and so on.
    """
    assert steps([1.0] * 6, updates=4, places=6, count=3) == [
        (1, [(0, 0), (1, 0), (2, 0), (3, 0)]),
        (1, [(4, 1), (5, 1), (0, 0), (1, 0)]),
        (1, [(2, 1), (3, 1), (0, 0), (1, 0)]),
    ]


def test_a_client_that_fails_makes_room_at_that_moment() -> None:
    """The first draw's three fail at 1, 2 and 5; client 0, drawn again at 1, is back at 2."""
    assert steps([1, 2, 5], updates=1, places=3, count=2, fails=[0]) == [
        (2, [(0, 0)]),
        (1, [(0, 0)]),
    ]


def test_where_nobody_comes_back_it_ends() -> None:
    with pytest.raises(ConfigError, match="none came back"):
        steps([1, 1], updates=1, places=2, count=1, fails=range(100_000))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_what_holds_of_every_queue(data: st.DataObject) -> None:
    """No client is at work twice, no place is empty that could be filled, no model is seen twice by
    a client, nothing arrives before what came earlier, and no update is lost.
    """
    clients = data.draw(st.integers(1, 7), "clients")
    places = data.draw(st.integers(1, clients), "places")
    updates = data.draw(st.integers(1, places), "updates")
    seconds = data.draw(st.lists(st.integers(0, 4), min_size=clients, max_size=clients), "seconds")
    cfg = config(federation__clients=clients, federation__participation=places / clients)
    queue, seen, began, arrived = Queue(), set[tuple[int, int]](), 0, 0
    for version in range(data.draw(st.integers(1, 5), "steps")):

        def draw(number: int, count: int, busy: Collection[int]) -> np.ndarray:
            found = some_of(cfg, number, clients, count, busy)
            assert len(set(found.tolist())) == len(found) == min(count, clients - len(busy))
            assert not set(found.tolist()) & set(busy)
            return found

        def launch(client: int, draw: int, now: float, version: int = version) -> Flight:
            nonlocal began
            assert (client, version) not in seen
            seen.add((client, version))
            began += 1
            return Flight(now + seconds[client], client, version)

        step: Step = queue.until(updates, places, draw, launch)
        moments = [flight.seconds for flight in step.arrived]
        assert moments == sorted(moments)
        assert step.seconds == moments[-1]
        assert len({flight.client for flight in step.arrived}) == updates
        queue = step.queue
        assert len({flight.client for flight in queue.flights}) == len(queue.flights) <= places
        assert all(flight.seconds >= 0 for flight in queue.flights)
        arrived += updates
        assert began == arrived + len(queue.flights)


def test_draws_are_fedavg_s_where_nobody_is_at_work() -> None:
    cfg = config(federation__clients=30, federation__participation=0.2)
    for round in range(5):
        assert some_of(cfg, round, 30, 6).tolist() == uniform_sample(cfg, round).tolist()


def test_the_others_are_drawn_as_often() -> None:
    """Chi-square over the 97 clients that are not at work, of 100,000 draws: 99.9 % below 146."""
    cfg, busy = config(federation__clients=100, federation__participation=0.1), {3, 50, 99}
    counts = torch.zeros(100)
    for number in range(2_000):
        counts[some_of(cfg, number, 100, 5, busy)] += 1
    assert not counts[sorted(busy)].any()
    expected = 2_000 * 5 / 97
    free = [client for client in range(100) if client not in busy]
    assert float(((counts[free] - expected) ** 2).sum() / expected) < 146
