"""What crosses the wire, in bytes: little-endian, packed, of a length that all parties can compute.

A list is, for each client in it and in rising order, its number (4 bytes) and a body of fixed
length; a vector is `bits` bits an entry, the first entry in the lowest bits, the last byte filled
with zeros.

    round                 up, of each client           down, to each client
    0 AdvertiseKeys       two public keys              list of all clients' two public keys
    1 ShareKeys           list of sealed shares        list of those sealed for this client
    2 MaskedInput         y_k                          list of the clients whose y_k arrived
    4 Unmasking           list of shares
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from fl_core.federated.secure.agreement import KEY_BYTES, TAG_BYTES
from fl_core.federated.secure.errors import ProtocolError
from fl_core.federated.secure.prg import Words, word_type
from fl_core.federated.secure.shamir import SHARE_BYTES

NUMBER_BYTES = 4
KEYS_BYTES = 2 * KEY_BYTES
SEALED_BYTES = 2 * SHARE_BYTES + TAG_BYTES


def pack(bodies: Mapping[int, bytes]) -> bytes:
    """A list of clients, each with its body (all of one length, perhaps of none)."""
    return b"".join(
        client.to_bytes(NUMBER_BYTES, "little") + bodies[client] for client in sorted(bodies)
    )


def unpack(message: bytes, body: int) -> dict[int, bytes]:
    """The list again, in rising order; body: bytes of each."""
    step = NUMBER_BYTES + body
    if len(message) % step:
        raise ProtocolError(f"a list of {len(message)} bytes, not of {step} a client")
    numbers = [
        int.from_bytes(message[i : i + NUMBER_BYTES], "little")
        for i in range(0, len(message), step)
    ]
    if any(after <= before for before, after in pairwise(numbers)):
        raise ProtocolError("a list whose clients are not in rising order")
    return {
        client: message[i * step + NUMBER_BYTES : (i + 1) * step]
        for i, client in enumerate(numbers)
    }


def vector_bytes(size: int, bits: int) -> int:
    """Of a packed vector: ceil(bits P / 8)."""
    return -(-bits * size // 8)


def pack_vector(words: Words, bits: int) -> bytes:
    """words: (P,) of `word_type(bits)`, each below 2^bits."""
    if bits == 8 * words.itemsize:
        return words.tobytes()
    ones = np.unpackbits(words.view(np.uint8).reshape(len(words), -1), axis=1, bitorder="little")
    return np.packbits(ones[:, :bits], bitorder="little").tobytes()


def unpack_vector(message: bytes, size: int, bits: int) -> Words:
    """(P,) of `word_type(bits)`."""
    if len(message) != vector_bytes(size, bits):
        raise ProtocolError(
            f"a vector of {len(message)} bytes, not of {vector_bytes(size, bits)} "
            f"({size} entries of {bits} bits)"
        )
    dtype = word_type(bits)
    if bits == 8 * dtype.itemsize:
        return np.frombuffer(message, dtype)
    ones = np.unpackbits(np.frombuffer(message, np.uint8), count=bits * size, bitorder="little")
    filled = np.zeros((size, 8 * dtype.itemsize), np.uint8)
    filled[:, :bits] = ones.reshape(size, bits)
    return np.packbits(filled, axis=1, bitorder="little").view(dtype).ravel()
