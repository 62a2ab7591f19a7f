"""The server of a secure sum: bytes come in, bytes go out, and in the end there is a sum.

It is given the public parameters and what the clients send, nothing else: no client, no vector.
A round is over when its result is asked for; too few clients in it end the protocol. What comes
later is refused: of a client whose vector is late the others reveal the key, not the seed.
"""

from __future__ import annotations

import numpy as np

from fl_core.federated.secure.agreement import KEY_BYTES, KeyPair, agree, mask_seed
from fl_core.federated.secure.errors import ProtocolError, TooFewSurvivors
from fl_core.federated.secure.messages import KEYS_BYTES, SEALED_BYTES, pack, unpack, unpack_vector
from fl_core.federated.secure.prg import Words, add_masks, cut, word_type
from fl_core.federated.secure.shamir import SHARE_BYTES, reconstruct, weights

#: What follows each round; 3 is of the variant that does not trust the server.
NEXT = {0: 1, 1: 2, 2: 4, 4: 4}


class SecureServer:
    """threshold: t of t-of-n; bits: of an entry; size: P."""

    def __init__(self, *, threshold: int, bits: int, size: int) -> None:
        self._threshold, self._bits, self._size = threshold, bits, size
        self._keys: dict[int, bytes] = {}  # U1 of the paper: who advertised keys
        self._sealed: dict[int, dict[int, bytes]] = {}  # U2: who shared them; [from][to]
        self._alive: set[int] = set()  # U3: whose vector arrived
        self._total: Words = np.zeros(size, word_type(bits))  # of their y
        self._answers: dict[int, dict[int, bytes]] = {}  # U5: who answered; [from][of]
        self._round = 0

    # round 0

    def take_keys(self, client: int, message: bytes) -> None:
        """What `SecureClient.advertise` returned."""
        self._in_time(0, client)
        if client in self._keys or len(message) != KEYS_BYTES:
            raise ProtocolError(f"client {client}: keys twice, or not {KEYS_BYTES} bytes")
        self._keys[client] = message

    def keys(self) -> bytes:
        """To all who advertised."""
        self._close(0, len(self._keys), "advertised keys")
        return pack(self._keys)

    # round 1

    def take_shares(self, client: int, message: bytes) -> None:
        """What `SecureClient.share` returned."""
        self._in_time(1, client)
        sealed = unpack(message, SEALED_BYTES)
        if client in self._sealed or sealed.keys() != self._keys.keys() - {client}:
            raise ProtocolError(f"client {client}: shares twice, or not for every other client")
        self._sealed[client] = sealed

    def shares_for(self, client: int) -> bytes:
        """To a client that shared: what the others that did sealed for it."""
        self._close(1, len(self._sealed), "shared their keys")
        return pack({k: sealed[client] for k, sealed in self._sealed.items() if k != client})

    # round 2

    def take_masked(self, client: int, message: bytes) -> None:
        """What `SecureClient.mask` returned: added at once, not kept."""
        self._in_time(2, client)
        if client in self._alive or client not in self._sealed:
            raise ProtocolError(f"client {client}: a vector twice, or without shared keys")
        self._total += unpack_vector(message, self._size, self._bits)
        self._alive.add(client)

    def alive(self) -> bytes:
        """To all whose vector arrived: who they are."""
        self._close(2, len(self._alive), "sent their vectors")
        return pack(dict.fromkeys(self._alive, b""))

    # round 4

    def take_answer(self, client: int, message: bytes) -> None:
        """What `SecureClient.reveal` returned."""
        self._in_time(4, client)
        shares = unpack(message, SHARE_BYTES)
        expected = client in self._alive and client not in self._answers
        if not expected or shares.keys() != self._sealed.keys():
            raise ProtocolError(f"client {client}: an answer twice, or not of every client")
        self._answers[client] = shares

    def total(self) -> Words:
        """The sum (P,) modulo 2^bits of the vectors that arrived."""
        self._close(4, len(self._answers), "answered the server")
        voices = sorted(self._answers)[: self._threshold]
        by = weights(voices)
        secrets = {
            k: reconstruct({j: self._answers[j][k] for j in voices}, voices, by)
            for k in self._sealed
        }
        plus: list[bytes] = []
        minus = [secrets[k] for k in self._alive]
        for dead in self._sealed.keys() - self._alive:
            pair = KeyPair.of(secrets[dead])
            if pair.public != self._keys[dead][KEY_BYTES:]:
                raise ProtocolError(f"the shares of client {dead}'s key do not give its key")
            for k in self._alive:
                other = self._keys[k][KEY_BYTES:]
                # k had added the mask of a later client and subtracted that of an earlier one
                seeds = minus if dead > k else plus
                seeds.append(mask_seed(agree(pair, other), pair.public, other))
        total = self._total.copy()
        add_masks(total, plus, minus)
        cut(total, self._bits)
        return total

    def _in_time(self, round_: int, client: int) -> None:
        if round_ != self._round:
            raise ProtocolError(f"client {client}: round {round_} in round {self._round}")

    def _close(self, round_: int, count: int, what: str) -> None:
        """Its result may be asked for more than once, but not before its time."""
        if round_ > self._round:
            raise ProtocolError(f"the end of round {round_} in round {self._round}")
        if count < self._threshold:
            raise TooFewSurvivors(what, count, self._threshold)
        self._round = max(self._round, NEXT[round_])
