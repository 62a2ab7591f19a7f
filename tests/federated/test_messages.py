"""Messages: round trips, one layout by hand, refusals; and the ledger against numbers by hand."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Sequence

import pytest
import torch
from decoding import decode, decode_mask
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_core.federated.messages import (
    ENCODINGS,
    cheapest,
    encode,
    encode_mask,
    encode_numbers,
)

NINE = torch.tensor([1.0, 9, 9, -2, 9, 9, 9, 9, 0.5])
NINE_MASK = torch.tensor([True, False, False, True, False, False, False, False, True])
NINE_VALUES = bytes.fromhex("0000803f 000000c0 0000003f")
SPECIAL = [0x7FC00000, 0x7F800001, 0xFFC12345, 0x80000000, 0x7F800000, 1]  # NaNs, -0.0, inf, tiny


def bits(tensor: Tensor) -> list[int]:
    return tensor.view(torch.int32).tolist()


def from_bits(words: Sequence[int]) -> Tensor:
    signed = [word - 2**32 if word >= 2**31 else word for word in words]
    return torch.tensor(signed, dtype=torch.int32).view(torch.float32)


def active(size: int, entries: Sequence[int]) -> Tensor:
    mask = torch.zeros(size, dtype=torch.bool)
    mask[list(entries)] = True
    return mask


def sealed(head: bytes, payload: bytes, agreed: bytes = b"") -> bytes:
    """A message with the checksum that belongs to it."""
    return head + struct.pack("<I", zlib.crc32(agreed + head + payload)) + payload


@st.composite
def vectors(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """(params, base, mask) of one size, of any bits."""
    size = draw(st.sampled_from([0, 1, 7, 8, 9]) | st.integers(0, 70))
    word = st.sampled_from(SPECIAL) | st.integers(0, 2**32 - 1)
    params, base = (from_bits(draw(st.lists(word, min_size=size, max_size=size))) for _ in "ab")
    flags = st.lists(st.booleans(), min_size=size, max_size=size)
    constant = st.booleans().map(lambda flag: [flag] * size)
    return params, base, torch.tensor(draw(flags | constant), dtype=torch.bool)


# --- round trips and layout -----------------------------------------------------------------------


@settings(derandomize=True, max_examples=100, deadline=None)
@given(vectors())
def test_round_trips_keep_every_bit(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    params, base, mask = drawn
    before = bits(base)
    for encoding in ENCODINGS:
        new = decode(encode(params, mask, encoding), base, mask)
        wanted = params if encoding == "dense" else torch.where(mask, params, base)
        assert bits(new) == bits(wanted)
        assert new.dtype == torch.float32
        everything = torch.ones_like(mask)
        assert bits(decode(encode(params, None, encoding), base, everything)) == bits(params)
    for encoding in ENCODINGS[:3]:  # the receiver needs no mask
        assert bits(decode(encode(params, None, encoding), base)) == bits(params)
    assert bits(base) == before


@settings(derandomize=True, max_examples=100, deadline=None)
@given(vectors())
def test_masks_round_trip(drawn: tuple[Tensor, Tensor, Tensor]) -> None:
    mask = drawn[2]
    buffer = encode_mask(mask)
    assert torch.equal(decode_mask(buffer, len(mask)), mask)
    assert len(buffer) == 16 + min(4 * int(mask.sum()), (len(mask) + 7) // 8)


def test_layout_by_hand() -> None:
    """Entries 0, 3 and 8 of nine: bits 1 + 8 of the first byte, bit 1 of the second."""
    places = {
        "index": (1, bytes.fromhex("00000000 03000000 08000000")),
        "bitmap": (2, bytes.fromhex("09 01")),
        "values": (3, b""),
    }
    for encoding, (code, positions) in places.items():
        head = b"FLP" + bytes([code]) + bytes.fromhex("09000000 03000000")
        agreed = b"\x09\x01" if encoding == "values" else b""
        expected = sealed(head, positions + NINE_VALUES, agreed)
        assert encode(NINE, NINE_MASK, encoding) == expected
        assert bits(decode(expected, torch.zeros(9), NINE_MASK)) == bits(NINE * NINE_MASK)
    assert encode(NINE, NINE_MASK, "bitmap") == bytes.fromhex(
        "464c50 02 09000000 03000000 f76a81f3 09 01 0000803f 000000c0 0000003f"
    )
    assert encode_mask(NINE_MASK) == sealed(bytes.fromhex("464c4d 02 09000000 03000000"), b"\x09\1")
    lone = active(1000, [513])
    assert encode_mask(lone) == sealed(bytes.fromhex("464c4d 01 e8030000 01000000"), b"\1\2\0\0")
    dense = sealed(bytes.fromhex("464c50 00 02000000 02000000"), bytes.fromhex("0000803f 000000c0"))
    assert encode(NINE[[0, 3]], None, "dense") == dense


def test_strided_vectors_travel_like_others() -> None:
    matrix = torch.arange(18.0).view(9, 2)
    column = matrix[:, 1]
    for encoding in ENCODINGS:
        buffer = encode(column, NINE_MASK, encoding)
        assert buffer == encode(column.clone(), NINE_MASK, encoding)
        assert torch.equal(decode(buffer, column, NINE_MASK), column)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_by_hand(dtype: torch.dtype) -> None:
    width = dtype.itemsize
    numbers = torch.tensor([1.5, -2.0, 0.1], dtype=dtype)
    payload = struct.pack("<3" + ("f" if width == 4 else "d"), 1.5, -2.0, 0.1)
    head = b"FLN" + bytes([width]) + bytes.fromhex("03000000 03000000")
    assert encode_numbers(numbers) == sealed(head, payload)


# --- refusals -------------------------------------------------------------------------------------


def refused(action: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        action()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_cut_longer_and_damaged_messages_are_refused(encoding: str) -> None:
    buffer = encode(NINE, NINE_MASK, encoding)
    for length in range(len(buffer)):
        refused(lambda cut=buffer[:length]: decode(cut, NINE, NINE_MASK), "message: ")  # type: ignore[misc]
    refused(lambda: decode(buffer + b"\0", NINE, NINE_MASK), "its header says")
    for place, bit in itertools.product(range(len(buffer)), range(8)):
        damaged = bytearray(buffer)
        damaged[place] ^= 1 << bit
        refused(lambda bad=bytes(damaged): decode(bad, NINE, NINE_MASK), "message: ")  # type: ignore[misc]


def test_damaged_masks_are_refused() -> None:
    for mask in (NINE_MASK, active(1000, [3, 513])):
        buffer, size = encode_mask(mask), len(mask)
        for length in range(len(buffer)):
            refused(lambda n=length, b=buffer, s=size: decode_mask(b[:n], s), "message: ")  # type: ignore[misc]
        for place, bit in itertools.product(range(len(buffer)), range(8)):
            damaged = bytearray(buffer)
            damaged[place] ^= 1 << bit
            refused(lambda b=bytes(damaged), s=size: decode_mask(b, s), "message: ")  # type: ignore[misc]
        refused(lambda b=buffer, s=size: decode_mask(b, s - 1), "entries, not")  # type: ignore[misc]


def test_the_other_kind_is_refused() -> None:
    refused(lambda: decode(encode_mask(NINE_MASK), NINE), "not of the kind FLP")
    refused(lambda: decode_mask(encode(NINE, NINE_MASK, "bitmap"), 9), "not of the kind FLM")
    refused(lambda: decode(b"PK\3\4" + bytes(60), NINE), "not of the kind FLP")
    for code in (0, 3, 4):  # masks are index or bitmap
        head = struct.pack("<3sBII", b"FLM", code, 9, 9)
        refused(lambda h=head: decode_mask(sealed(h, b""), 9), "not of the kind FLM")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("code", "count", "positions", "words"),
    [
        (0, 3, b"", "positions say otherwise"),
        (1, 3, struct.pack("<3i", 0, 3, 9), "do not increase within"),
        (1, 3, struct.pack("<3i", -1, 3, 8), "do not increase within"),
        (1, 3, struct.pack("<3i", 3, 0, 8), "do not increase within"),
        (1, 3, struct.pack("<3i", 0, 3, 3), "do not increase within"),
        (2, 3, b"\x09\x03", "beyond the 9 entries"),
        (2, 3, b"\x09\x00", "positions say otherwise"),
        (4, 3, b"", "not of the kind"),
    ],
)
def test_well_sealed_nonsense_is_refused(
    code: int, count: int, positions: bytes, words: str
) -> None:
    head = struct.pack("<3sBII", b"FLP", code, 9, count)
    refused(lambda: decode(sealed(head, positions + NINE_VALUES), NINE), words)


def test_values_need_the_very_mask() -> None:
    buffer = encode(NINE, NINE_MASK, "values")
    refused(lambda: decode(buffer, NINE), "need the mask")
    refused(lambda: decode(buffer, NINE, active(9, [0, 3])), "another mask")
    refused(lambda: decode(buffer, NINE, active(9, [0, 3, 7])), "another mask")  # as many
    head = struct.pack("<3sBII", b"FLP", 3, 9, 3)
    two = sealed(head, NINE_VALUES, b"\x09\x00")
    refused(lambda: decode(two, NINE, active(9, [0, 3])), "positions say otherwise")


def test_a_vector_of_another_size_is_refused() -> None:
    for encoding in ENCODINGS:
        buffer = encode(NINE, NINE_MASK, encoding)
        refused(lambda b=buffer: decode(b, torch.zeros(10)), "for 9 entries, not 10")  # type: ignore[misc]
        refused(lambda e=encoding: encode(NINE, active(8, [1]), e), "mask: 8 entries for 9")  # type: ignore[misc]
        refused(lambda b=buffer: decode(b, NINE, active(8, [1])), "mask: 8 entries for 9")  # type: ignore[misc]


def test_nonsense_arguments_are_refused() -> None:
    refused(lambda: encode(NINE, None, "zip"), "encoding='zip': must be one of dense, index")
    refused(lambda: encode(NINE.double(), None, "dense"), r"params=torch.float64 \(9,\)")
    refused(lambda: encode(NINE.view(3, 3), None, "dense"), r"params=torch.float32 \(3, 3\)")
    refused(lambda: encode(NINE, NINE_MASK.int(), "index"), "mask=torch.int32")
    refused(lambda: encode_mask(NINE_MASK.view(3, 3)), "of one axis")
    refused(lambda: encode(torch.zeros(1).expand(2**31), None, "dense"), "below 2\\*\\*31")
    refused(lambda: decode(encode(NINE, None, "dense"), NINE.double()), "base=torch.float64")


# --- the cheapest encoding ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "lengths", "best"),
    [  # of 3200 parameters: dense 4 * 3200; index 8, bitmap 4 each and 400 once; 16 each
        (3200, (12816, 25616, 13216, 12816), "dense"),  # sparsity 0; values only tie
        (2240, (12816, 17936, 9376, 8976), "bitmap"),  # 0.3
        (1600, (12816, 12816, 6816, 6416), "bitmap"),  # 0.5
        (320, (12816, 2576, 1696, 1296), "bitmap"),  # 0.9
        (101, (12816, 824, 820, 420), "bitmap"),  # one index costs more than 32 bits of a map
        (100, (12816, 816, 816, 416), "index"),  # 1 - 1/32: a tie, in the order of ENCODINGS
        (32, (12816, 272, 544, 144), "index"),  # 0.99
    ],
)
def test_cheapest_by_sparsity(count: int, lengths: tuple[int, ...], best: str) -> None:
    params, mask = torch.ones(3200), active(3200, range(count))
    measured = {encoding: len(encode(params, mask, encoding)) for encoding in ENCODINGS}
    assert tuple(measured.values()) == lengths
    assert cheapest(measured) == ("dense" if count == 3200 else "values")
    del measured["values"]
    assert cheapest(measured) == cheapest(dict(reversed(measured.items()))) == best
