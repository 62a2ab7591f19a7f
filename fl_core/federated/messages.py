"""What travels between server and clients, in bytes, each way.

Encoders of parameter vectors and masks, whose lengths `ledger` counts; what a receiver would do
stands in tests/federated/decoding.py. All numbers are little-endian; a message is

    offset  0  3 bytes  "FLP" (parameters) or "FLM" (a mask)
            3  uint8    encoding, its place in ENCODINGS
            4  uint32   size P of the vector
            8  uint32   count of active entries: those the message speaks of
           12  uint32   CRC-32 of: the bit-packed mask (encoding "values" alone), the 12 bytes
                        before, the payload. Thus values never meet another mask of equal count.
           16  payload  the positions, then one float32 for each active entry in increasing order
                        (a mask's message ends with its positions)

    encoding   positions
    dense      none, every entry is active
    index      int32 for each active entry, increasing
    bitmap     ceil(P / 8) bytes: entry i is bit i % 8 (1, 2, 4, ...) of byte i // 8
    values     none, the receiver holds the mask
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

ENCODINGS = ("dense", "index", "bitmap", "values")
COMPARED = ENCODINGS[:3]  # those that any receiver can decode

_PARAMS, _MASK, _NUMBERS = b"FLP", b"FLM", b"FLN"
_HEAD = struct.Struct("<3sBII")  # kind, encoding, size, count
_CHECKSUM = struct.Struct("<I")
HEADER = _HEAD.size + _CHECKSUM.size  # bytes before the payload


def encode(params: Tensor, mask: Tensor | None, encoding: str) -> bytes:
    """The active entries of params (P,) float32 as a message; mask (P,) bool, None = all."""
    if encoding not in ENCODINGS:
        raise ValueError(f"encoding={encoding!r}: must be one of {', '.join(ENCODINGS)}")
    values = _vector(params, torch.float32, "params")
    active = np.ones(values.size, dtype=bool)
    if mask is not None:
        given = _vector(mask, torch.bool, "mask", values.size)
        active = active if encoding == "dense" else given
    return _seal(_PARAMS, encoding, active, values[active].astype("<f4").tobytes())


def encode_mask(mask: Tensor) -> bytes:
    """The mask (P,) bool as a message: bit-packed or int32 indices, whichever is shorter."""
    active = _vector(mask, torch.bool, "mask")
    return min(_seal(_MASK, "index", active), _seal(_MASK, "bitmap", active), key=len)


def length_of(size: int, count: int, encoding: str) -> int:
    """Bytes of `encode` for `count` active entries of `size`: they depend on nothing else."""
    positions = {"index": 4 * count, "bitmap": (size + 7) // 8}.get(encoding, 0)
    return HEADER + positions + 4 * (size if encoding == "dense" else count)


def mask_length(size: int, count: int) -> int:
    """Bytes of `encode_mask`."""
    return HEADER + min(4 * count, (size + 7) // 8)


def encode_numbers(numbers: Tensor) -> bytes:
    """Floating-point numbers (N,) of any width as a message."""
    values = _vector(numbers, numbers.dtype, "numbers")
    little = values.astype(values.dtype.newbyteorder("<"))
    head = _HEAD.pack(_NUMBERS, values.itemsize, values.size, values.size)
    payload = little.tobytes()
    return head + _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(head))) + payload


def cheapest(lengths: Mapping[str, int]) -> str:
    """The encoding of least length; ties go by the order of ENCODINGS."""
    return min(lengths, key=lambda encoding: (lengths[encoding], ENCODINGS.index(encoding)))


def _vector(tensor: Tensor, dtype: torch.dtype, name: str, size: int | None = None) -> np.ndarray:
    if tensor.dtype != dtype or tensor.dim() != 1 or tensor.numel() >= 2**31:  # int32 indices
        kind = f"{tensor.dtype} {tuple(tensor.shape)}"
        raise ValueError(f"{name}={kind}: must be {dtype} of one axis, below 2**31 entries")
    if size not in (None, tensor.numel()):
        raise ValueError(f"{name}: {tensor.numel()} entries for {size} parameters")
    return tensor.detach().cpu().numpy()


def _seal(kind: bytes, encoding: str, active: np.ndarray, values: bytes = b"") -> bytes:
    """A message; `values` are those of the active entries."""
    head = _HEAD.pack(kind, ENCODINGS.index(encoding), active.size, np.count_nonzero(active))
    payload = _positions(encoding, active) + values
    return head + _checksum(encoding, active, head, payload) + payload


def _checksum(encoding: str, mask: np.ndarray | None, head: bytes, payload: bytes) -> bytes:
    agreed = b"" if encoding != "values" or mask is None else _positions("bitmap", mask)
    return _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(head, zlib.crc32(agreed))))


def _positions(encoding: str, active: np.ndarray) -> bytes:
    if encoding == "index":
        return np.flatnonzero(active).astype("<i4").tobytes()
    return np.packbits(active, bitorder="little").tobytes() if encoding == "bitmap" else b""
