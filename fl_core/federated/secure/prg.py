"""The generator of masks: a seed of 32 bytes becomes words that nobody can tell from random ones.

AES-256 in counter mode, key = seed, counter from 0 (NIST SP 800-38A, 6.5): a seed is a key that is
used for one stream, so no counter is used twice. Where the processor has AES it is faster than
ChaCha20 (tests/benchmarks/secure_sum.py prints both).

A word has the least of 8, 16, 32, 64 bits that hold an entry. 2^bits divides the number of words,
so a uniform word modulo 2^bits is uniform, exactly; and as addition modulo 2^32 is right modulo
every smaller power of two, only the last sum is cut to `bits`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

SEED_BYTES = 32
#: A piece of all streams is added while it lies in the cache (bytes).
PIECE = 1 << 18
ZEROS = memoryview(bytes(PIECE))

Words = NDArray[np.unsignedinteger[Any]]


def word_type(bits: int) -> np.dtype[np.unsignedinteger[Any]]:
    """Of entries modulo 2^bits: the smallest unsigned type, little-endian as it is sent."""
    if not 1 <= bits <= 64:
        raise ValueError(f"bits must be in 1 .. 64, not {bits}")
    return np.dtype(f"<u{next(size for size in (1, 2, 4, 8) if bits <= 8 * size)}")


def cut(words: Words, bits: int) -> None:
    """Words modulo 2^bits, in place."""
    if bits < 8 * words.itemsize:
        words &= words.dtype.type((1 << bits) - 1)


def keystream(seed: bytes) -> Any:
    """The stream of a seed: `update_into(zeros, buffer)` writes its next bytes."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"a seed has {SEED_BYTES} bytes, not {len(seed)}")
    return Cipher(algorithms.AES(seed), modes.CTR(bytes(16))).encryptor()


def mask(seed: bytes, size: int, bits: int) -> Words:
    """PRG(seed): (size,) uniform in [0, 2^bits). The plain form, which `add_masks` must equal."""
    dtype = word_type(bits)
    words = np.frombuffer(keystream(seed).update(bytes(size * dtype.itemsize)), dtype).copy()
    cut(words, bits)
    return words


def add_masks(total: Words, plus: Iterable[bytes], minus: Iterable[bytes]) -> None:
    """Add PRG(seed) of every seed of plus and subtract minus's: in place, modulo the words' size.

    total: contiguous, of `word_type(bits)`; the caller cuts it to `bits` once, at the end.
    Piece by piece, all streams of a piece before the next: total is read and written once, and
    nothing but a piece is allocated.
    """
    into: list[tuple[Any, Callable[..., Any]]] = [
        *((keystream(seed), np.add) for seed in plus),
        *((keystream(seed), np.subtract) for seed in minus),
    ]
    length = PIECE // total.itemsize
    words = np.empty(min(length, len(total)), total.dtype)
    for first in range(0, len(total), length):
        piece = total[first : first + length]
        zeros, drawn = ZEROS[: piece.nbytes], words[: len(piece)]
        for stream, combine in into:
            stream.update_into(zeros, drawn.view(np.uint8))
            combine(piece, drawn, out=piece)
