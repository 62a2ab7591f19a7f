"""What travels between server and clients, in bytes, each way.

Encoders and decoders of parameter vectors and masks; `ledger` counts their lengths. All
numbers are little-endian; a message is

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

_PARAMS, _MASK = b"FLP", b"FLM"
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


def decode(buffer: bytes, base: Tensor, mask: Tensor | None = None) -> Tensor:
    """(P,) float32: `base` with the transmitted entries replaced; "values" needs the mask.

    ValueError for a buffer that is not a whole, undamaged message of this layout.
    """
    new = _vector(base, torch.float32, "base").copy()
    agreed = None if mask is None else _vector(mask, torch.bool, "mask", new.size)
    active, values = _open(buffer, _PARAMS, new.size, agreed)
    new[active] = np.frombuffer(values, "<f4")
    return torch.from_numpy(new).to(base.device)


def encode_mask(mask: Tensor) -> bytes:
    """The mask (P,) bool as a message: bit-packed or int32 indices, whichever is shorter."""
    active = _vector(mask, torch.bool, "mask")
    return min(_seal(_MASK, "index", active), _seal(_MASK, "bitmap", active), key=len)


def decode_mask(buffer: bytes, size: int) -> Tensor:
    """The mask (size,) bool; ValueError as in `decode`."""
    return torch.from_numpy(_open(buffer, _MASK, size)[0])


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


def _open(
    buffer: bytes, kind: bytes, size: int, mask: np.ndarray | None = None
) -> tuple[np.ndarray, bytes]:
    """(active entries (size,) bool, the bytes of their values) of a message of this kind."""
    codes = range(len(ENCODINGS)) if kind == _PARAMS else (1, 2)
    if len(buffer) < HEADER or buffer[:3] != kind or buffer[3] not in codes:
        raise ValueError(f"message: {len(buffer)} bytes that are not of the kind {kind.decode()}")
    _, code, entries, count = _HEAD.unpack_from(buffer)
    encoding, payload = ENCODINGS[code], buffer[HEADER:]
    if entries != size:
        raise ValueError(f"message: for {entries} entries, not {size}")
    if encoding == "values" and mask is None:
        raise ValueError("message: values alone, which need the mask")
    places = {"index": 4 * count, "bitmap": (size + 7) // 8}.get(encoding, 0)
    length = places + (4 * count if kind == _PARAMS else 0)
    if len(payload) != length:
        raise ValueError(f"message: {len(payload)} bytes of payload, its header says {length}")
    if buffer[_HEAD.size : HEADER] != _checksum(encoding, mask, buffer[: _HEAD.size], payload):
        raise ValueError("message: wrong checksum (damaged, or values under another mask)")
    active = _located(encoding, payload[:places], size, mask)
    if np.count_nonzero(active) != count:
        raise ValueError(f"message: {count} entries, their positions say otherwise")
    return active, payload[places:]


def _located(encoding: str, places: bytes, size: int, mask: np.ndarray | None) -> np.ndarray:
    """The active entries (size,) bool that a message's positions name."""
    if encoding == "bitmap":
        bits = np.unpackbits(np.frombuffer(places, np.uint8), bitorder="little").view(bool)
        if bits[size:].any():
            raise ValueError(f"message: positions beyond the {size} entries")
        return bits[:size]
    if encoding == "values" and mask is not None:
        return mask
    active = np.full(size, encoding == "dense")
    if encoding == "index" and places:
        index = np.frombuffer(places, "<i4")
        if index[0] < 0 or index[-1] >= size or (index[1:] <= index[:-1]).any():
            raise ValueError(f"message: indices do not increase within [0, {size})")
        active[index] = True
    return active
