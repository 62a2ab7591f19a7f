"""What crosses the wire, in bytes: little-endian, packed, of a length that all parties can compute.

A list is, for each client in it and in rising order, its number (4 bytes) and a body of fixed
length. A vector is `bits` bits an entry, by planes: the lowest 32, 16, 8 bits of all entries, as
many of them as `bits` has, then the next bit of all entries, and the next: numpy's own casts pack
it as fast as memory goes, and it has ceil(bits P / 8) bytes.

    round                 up, of each client           down, to each client
    0 AdvertiseKeys       two public keys              list of all clients' two public keys
    1 ShareKeys           list of sealed shares        list of those sealed for this client
    2 MaskedInput         y_k                          list of the clients whose y_k arrived
    4 Unmasking           list of shares
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

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
    """words: (P,) of `word_type(bits)`; what an entry has beyond `bits` is dropped."""
    parts, shift = [], 0
    for kind in _whole(bits):
        parts.append((words >> shift if shift else words).astype(kind, copy=False).tobytes())
        shift += 8 * kind.itemsize
    if shift < bits:
        rest = (words >> shift).astype(np.uint8)
        ones = np.stack([rest >> bit & 1 for bit in range(bits - shift)])
        parts.append(np.packbits(ones, bitorder="little").tobytes())
    return b"".join(parts)


def unpack_vector(message: bytes, size: int, bits: int) -> Words:
    """(P,) of `word_type(bits)`: to be read, not to be changed."""
    if len(message) != vector_bytes(size, bits):
        raise ProtocolError(
            f"a vector of {len(message)} bytes, not of {vector_bytes(size, bits)} "
            f"({size} entries of {bits} bits)"
        )
    dtype, shift = word_type(bits), 0
    if bits == 8 * dtype.itemsize:
        return np.frombuffer(message, dtype)
    words = np.zeros(size, dtype)
    for kind in _whole(bits):
        part = np.frombuffer(message, kind, size, offset=size * shift // 8)
        words |= part.astype(dtype) << shift
        shift += 8 * kind.itemsize
    if shift < bits:
        packed = np.frombuffer(message, np.uint8, offset=size * shift // 8)
        ones = np.unpackbits(packed, count=size * (bits - shift), bitorder="little")
        for bit, plane in enumerate(ones.reshape(bits - shift, size)):
            words |= plane.astype(dtype) << (shift + bit)
    return words


def _whole(bits: int) -> list[np.dtype[np.unsignedinteger[Any]]]:
    """The parts of an entry that are whole words: 44 bits are one of 32, one of 8, and 4 single."""
    return [np.dtype(f"<u{size}") for size in (8, 4, 2, 1) if bits // 8 & size]
