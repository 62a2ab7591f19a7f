"""One client of a secure sum: four steps, each once, in this order (figure 4 of the paper).

Each step takes what the server sent and returns what goes to it. A client keeps its secrets to
itself, and it refuses what would give them away: a second vector under the same masks, a second
answer (so of no client it ever reveals both kinds of shares), a list with fewer clients than the
threshold, a changed message.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

from fl_core.federated.secure.agreement import (
    KEY_BYTES,
    Agree,
    KeyPair,
    agree,
    channel,
    mask_seed,
    seal,
    unseal,
)
from fl_core.federated.secure.errors import ProtocolError
from fl_core.federated.secure.messages import KEYS_BYTES, SEALED_BYTES, pack, pack_vector, unpack
from fl_core.federated.secure.prg import SEED_BYTES, Words, add_masks, word_type
from fl_core.federated.secure.shamir import SHARE_BYTES, draws_for, share

STEPS = ("advertise", "share", "mask", "reveal")


class SecureClient:
    """number: of the client, from 0
    random: (purpose, size) -> uniform bytes, fresh in every round, independent of all others'
    agree: `agreement.agree`, or what gives the same faster
    """

    def __init__(
        self,
        number: int,
        *,
        threshold: int,
        bits: int,
        random: Callable[[str, int], bytes],
        agree: Agree = agree,
    ) -> None:
        self.number, self._threshold, self._bits = number, threshold, bits
        self._agree = agree
        need = draws_for(threshold)
        take = BytesIO(random("secrets", 2 * KEY_BYTES + SEED_BYTES + 2 * need)).read
        self._channel_key = KeyPair.of(take(KEY_BYTES))  # c of the paper
        self._mask_secret = take(KEY_BYTES)
        self._mask_key = KeyPair.of(self._mask_secret)  # s of the paper
        self._own_seed = take(SEED_BYTES)  # b_k
        self._drawn = take(need), take(need)  # what hides key and seed in their shares
        self._mask_keys: dict[int, bytes] = {}  # of the others
        self._channels: dict[int, tuple[bytes, bytes]] = {}  # to and from the others
        self._own_shares = b""  # of its own mask key and seed
        self._sealed: dict[int, bytes] = {}  # the others' shares
        self._done = 0  # steps

    def advertise(self) -> bytes:
        """Round 0: two public keys."""
        self._go("advertise")
        return self._channel_key.public + self._mask_key.public

    def share(self, keys: bytes) -> bytes:
        """Round 1. keys: of all clients -> for each other one, shares of mask key and seed."""
        self._go("share")
        listed = unpack(keys, KEYS_BYTES)
        self._at_least(len(listed), "advertised keys")
        if len({key for both in listed.values() for key in _two(both)}) < 2 * len(listed):
            raise ProtocolError("two clients with one public key")
        if listed.pop(self.number, None) != self._channel_key.public + self._mask_key.public:
            raise ProtocolError("the list of keys has not this client's own")
        shares = self._shares([self.number, *listed])
        self._own_shares = shares[self.number]
        sealed = {}
        for k, both in listed.items():
            key, self._mask_keys[k] = _two(both)
            secret = self._agree(self._channel_key, key)
            self._channels[k] = channel(secret, self._channel_key.public, key)
            sealed[k] = seal(self._channels[k][0], shares[k])
        return pack(sealed)

    def mask(self, vector: Words, sealed: bytes) -> bytes:
        """Round 2. vector: q (P,), each in [0, 2^bits); sealed: shares from the others -> y."""
        self._go("mask")
        self._sealed = unpack(sealed, SEALED_BYTES)
        if not self._sealed.keys() <= self._channels.keys():
            raise ProtocolError("shares of a client that did not advertise its keys")
        self._at_least(len(self._sealed) + 1, "shared their keys")
        if vector.size and int(vector.max()) >> self._bits:
            raise ValueError(f"an entry of {self._bits} bits cannot hold {vector.max()}")
        masked = vector.astype(word_type(self._bits))
        seeds = {k: self._seed_with(k) for k in self._sealed}
        add_masks(
            masked,
            plus=[self._own_seed, *(seed for k, seed in seeds.items() if k > self.number)],
            minus=[seed for k, seed in seeds.items() if k < self.number],
        )
        return pack_vector(masked, self._bits)

    def reveal(self, alive: bytes) -> bytes:
        """Round 4. alive: whose y arrived -> of each client that shared, one share: of its seed
        if it is alive, of its mask key if not.
        """
        self._go("reveal")
        living = unpack(alive, 0).keys()
        if not living <= {self.number, *self._sealed} or self.number not in living:
            raise ProtocolError("a list of the living with a stranger, or without this client")
        self._at_least(len(living), "sent their vectors")
        shares = {k: unseal(self._channels[k][1], sealed) for k, sealed in self._sealed.items()}
        shares[self.number] = self._own_shares
        return pack(
            {k: s[SHARE_BYTES:] if k in living else s[:SHARE_BYTES] for k, s in shares.items()}
        )

    def _shares(self, everyone: list[int]) -> dict[int, bytes]:
        """For each of them: a share of the mask key, then one of the seed."""
        for_key, for_seed = self._drawn
        of_key = share(self._mask_secret, self._threshold, everyone, for_key)
        of_seed = share(self._own_seed, self._threshold, everyone, for_seed)
        return {k: of_key[k] + of_seed[k] for k in everyone}

    def _seed_with(self, other: int) -> bytes:
        """s_kj."""
        key = self._mask_keys[other]
        return mask_seed(self._agree(self._mask_key, key), self._mask_key.public, key)

    def _go(self, step: str) -> None:
        if self._done == len(STEPS) or STEPS[self._done] != step:
            raise ProtocolError(f"client {self.number} refuses to {step}: not the step that is due")
        self._done += 1

    def _at_least(self, count: int, what: str) -> None:
        if count < self._threshold:
            raise ProtocolError(
                f"client {self.number}: {count} clients {what}, fewer than the threshold"
            )


def _two(keys: bytes) -> tuple[bytes, bytes]:
    return keys[:KEY_BYTES], keys[KEY_BYTES:]
