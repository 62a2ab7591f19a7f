"""A whole secure sum in one process: every client's part, the server's, and what was sent.

The clients' and the server's code is what a deployment would run; the simulation adds who fails
when. Each client does its own work, also where two compute the same: the mask of a pair is expanded
at both ends. One short cut is taken: X25519's secret of a pair, the same from either side, is
computed once (`once_a_pair`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from fl_core.federated.secure.agreement import once_a_pair
from fl_core.federated.secure.client import SecureClient
from fl_core.federated.secure.errors import ProtocolError, TooFewSurvivors
from fl_core.federated.secure.prg import Words
from fl_core.federated.secure.server import SecureServer

__all__ = ["ProtocolError", "SecureSum", "TooFewSurvivors", "check_threshold", "secure_sum"]

#: How far a client gets that fails there. Keys are advertised and shared as a round starts, so
#: that whoever fails while it trains or sends can be unmasked by the others.
STAGES = ("download", "training", "sending", "answering", "arrived")
Traffic = Mapping[int, Mapping[str, int]]


@dataclass(frozen=True)
class SecureSum:
    """What a secure sum gives."""

    total: NDArray[np.uint64]  # (P,) modulo 2^bits
    added: tuple[int, ...]  # whose vectors are in it, in rising order
    up: Traffic  # bytes that each client sent: "keys", "shares", "masked", "answer"
    down: Traffic  # and received: "keys", "shares", "alive"


def check_threshold(threshold: int, clients: int) -> None:
    """Refuse a t outside (n / 2, n]: two disjoint groups must never both be able to unmask."""
    if not clients < 2 * threshold <= 2 * clients:
        raise ValueError(
            f"the threshold must be more than half of the {clients} clients and at most all of "
            f"them, not {threshold}"
        )


class _Wire:
    """Carries the messages, and counts them."""

    def __init__(self) -> None:
        self.up: dict[int, dict[str, int]] = defaultdict(dict)
        self.down: dict[int, dict[str, int]] = defaultdict(dict)

    def send(
        self,
        kind: str,
        clients: Iterable[int],
        step: Callable[[int], bytes],
        take: Callable[[int, bytes], None],
    ) -> None:
        """One client after the other, so that no two vectors are held at once."""
        for k in clients:
            message = step(k)
            self.up[k][kind] = len(message)
            take(k, message)

    def tell(self, kind: str, messages: dict[int, bytes]) -> dict[int, bytes]:
        """To each of these clients its message."""
        for k, message in messages.items():
            self.down[k][kind] = len(message)
        return messages


def secure_sum(
    vectors: Mapping[int, Words],
    *,
    bits: int,
    threshold: int,
    fates: Mapping[int, str],
    random: Callable[[str, int, int], bytes],
) -> SecureSum:
    """The sum of the clients' vectors, without the server seeing one.

    vectors: of each client, q (P,) unsigned, in [0, 2^bits); each is read when its client masks
        it, so a lazy mapping saves memory
    threshold: t, how many clients must answer; more than half of them. That is enough for honest
        but curious parties; against a server that lies together with up to a third of the clients
        the paper needs t > 2n / 3, and its round 3, which is left out.
    fates: of the clients that fail, the stage: "download" (never took part), "training" or
        "sending" (shared its keys, its vector did not arrive), "answering" (its vector is in the
        sum, it does not answer); "arrived" may be said of the others
    random: (purpose, client, size) -> uniform bytes, from the study's streams and the round
    Raises TooFewSurvivors if fewer than the threshold get through a step. A vector that was lost
    on its way ("sending") is not in `up`.
    """
    check_threshold(threshold, len(vectors))
    if unknown := {k: fate for k, fate in fates.items() if fate not in STAGES}:
        raise ValueError(f"unknown stages: {unknown}")
    reached = {k: STAGES.index(fates.get(k, "arrived")) for k in sorted(vectors)}

    def beyond(stage: str) -> list[int]:
        return [k for k, last in reached.items() if last > STAGES.index(stage)]

    agree = once_a_pair()
    clients = {
        k: SecureClient(
            k, threshold=threshold, bits=bits, random=partial(_drawn, random, k), agree=agree
        )
        for k in beyond("download")
    }
    size = len(next(iter(vectors.values())))
    server, wire = SecureServer(threshold=threshold, bits=bits, size=size), _Wire()
    arrived, answering = beyond("sending"), beyond("answering")
    try:
        wire.send("keys", clients, lambda k: clients[k].advertise(), server.take_keys)
        keys = wire.tell("keys", dict.fromkeys(clients, server.keys()))
        wire.send("shares", clients, lambda k: clients[k].share(keys[k]), server.take_shares)
        sealed = wire.tell("shares", {k: server.shares_for(k) for k in clients})
        wire.send(
            "masked", arrived, lambda k: clients[k].mask(vectors[k], sealed[k]), server.take_masked
        )
        alive = wire.tell("alive", dict.fromkeys(arrived, server.alive()))
        wire.send("answer", answering, lambda k: clients[k].reveal(alive[k]), server.take_answer)
        total = server.total()
    except TooFewSurvivors as few:
        few.up, few.down = wire.up, wire.down
        raise
    return SecureSum(total.astype(np.uint64), tuple(arrived), wire.up, wire.down)


def _drawn(random: Callable[[str, int, int], bytes], client: int, purpose: str, size: int) -> bytes:
    return random(purpose, client, size)
