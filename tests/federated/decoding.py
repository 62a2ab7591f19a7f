"""The receiver's side of `fl_core.federated.messages`: that what was counted can be read back."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from fl_core.federated.messages import _HEAD, _MASK, _PARAMS, ENCODINGS, HEADER, _checksum, _vector


def decode(buffer: bytes, base: Tensor, mask: Tensor | None = None) -> Tensor:
    """(P,) float32: `base` with the transmitted entries replaced; "values" needs the mask.

    ValueError for a buffer that is not a whole, undamaged message of this layout.
    """
    new = _vector(base, torch.float32, "base").copy()
    agreed = None if mask is None else _vector(mask, torch.bool, "mask", new.size)
    active, values = _open(buffer, _PARAMS, new.size, agreed)
    new[active] = np.frombuffer(values, "<f4")
    return torch.from_numpy(new).to(base.device)


def decode_mask(buffer: bytes, size: int) -> Tensor:
    """The mask (size,) bool; ValueError as in `decode`."""
    return torch.from_numpy(_open(buffer, _MASK, size)[0])


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
