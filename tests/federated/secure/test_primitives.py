"""What the secure sum stands on: generator, agreement, shares, packing."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from fl_core.base.rng import stream
from fl_core.federated.secure.agreement import (
    KeyPair,
    agree,
    channel,
    mask_seed,
    once_a_pair,
    seal,
    unseal,
)
from fl_core.federated.secure.errors import ProtocolError
from fl_core.federated.secure.messages import (
    pack,
    pack_vector,
    unpack,
    unpack_vector,
    vector_bytes,
)
from fl_core.federated.secure.prg import PIECE, add_masks, cut, mask, word_type
from fl_core.federated.secure.shamir import (
    PRIME,
    draws_for,
    reconstruct,
    share,
    weights,
)

SECRETS = st.binary(min_size=32, max_size=32)


def uniform(values: np.ndarray, below: int) -> bool:
    """Chi-square does not see that these are not uniform in [0, below)."""
    return bool(chisquare(np.bincount(values.ravel(), minlength=below)).pvalue > 1e-3)


# --- the generator --------------------------------------------------------------------------------


def test_the_generator_is_aes_256_in_counter_mode() -> None:
    """Of the zero key, counters 0, 1, 2: FIPS 197's known answer for the zero block, and the blocks
    of counter 1 and 2 from test cases 13 and 14 of GCM (McGrew and Viega, 2004).
    """
    known = "dc95c078a2408989ad48a21492842087530f8afbc74536b9a963b4f1c4cb738b"
    known += "cea7403d4d606b6e074ec5d3baf39d18"
    assert mask(bytes(32), 48, 8).tobytes().hex() == known
    assert mask(bytes(32), 6, 64).tobytes().hex() == known
    with pytest.raises(ValueError, match="a seed has 32 bytes, not 16"):
        mask(bytes(16), 1, 8)


@pytest.mark.parametrize("bits", [1, 5, 8, 20, 32, 50])
def test_masks_are_uniform(bits: int) -> None:
    """In [0, 2^bits), the ends too: the lowest and the highest bits."""
    drawn = mask(bytes(range(32)), 40_000, bits).astype(np.uint64)
    assert int(drawn.max()) < 1 << bits
    low = min(bits, 5)
    assert uniform((drawn & np.uint64((1 << low) - 1)).astype(int), 1 << low)
    assert uniform((drawn >> np.uint64(bits - low)).astype(int), 1 << low)


@pytest.mark.parametrize("bits", [8, 13, 20, 64])
def test_masks_are_added_piece_by_piece(bits: int) -> None:
    seeds = [bytes([k]) * 32 for k in range(3)]
    pieces = PIECE // word_type(bits).itemsize
    for size in (0, 1, 100, pieces, pieces + 3):
        total = mask(bytes(32), size, bits)
        expected = total + mask(seeds[0], size, bits) + mask(seeds[1], size, bits)
        expected -= mask(seeds[2], size, bits)
        add_masks(total, seeds[:2], seeds[2:])
        cut(total, bits)
        cut(expected, bits)
        assert np.array_equal(total, expected)


# --- agreement and channels -----------------------------------------------------------------------


def test_x25519_is_that_of_rfc_7748() -> None:
    """Section 6.1."""
    alice, bob = (
        KeyPair.of(bytes.fromhex(secret))
        for secret in (
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        )
    )
    assert alice.public.hex() == "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"
    known = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"
    assert agree(alice, bob.public).hex() == agree(bob, alice.public).hex() == known


@given(SECRETS, SECRETS)
@settings(max_examples=20, deadline=None)
def test_both_ends_agree(one: bytes, other: bytes) -> None:
    alice, bob = KeyPair.of(one), KeyPair.of(other)
    secret = agree(alice, bob.public)
    assert secret == agree(bob, alice.public)
    shared = once_a_pair()
    assert shared(alice, bob.public) == shared(bob, alice.public) == secret
    seed = mask_seed(secret, alice.public, bob.public)
    assert seed == mask_seed(secret, bob.public, alice.public)
    if alice.public != bob.public:
        to_bob, to_alice = channel(secret, alice.public, bob.public)
        assert (to_alice, to_bob) == channel(secret, bob.public, alice.public)
        assert len({secret, seed, to_bob, to_alice}) == 4
        assert seed != mask_seed(secret, alice.public, bytes(32))  # bound to both keys


def test_keys_that_are_none() -> None:
    own = KeyPair.of(bytes(range(32)))
    for key in (bytes(32), bytes(31), b""):  # the first: a point of low order
        with pytest.raises(ProtocolError, match="not a public key"):
            agree(own, key)


def test_every_changed_byte_of_a_sealed_message_is_noticed() -> None:
    key = bytes(range(32))
    sealed = seal(key, b"shares")
    assert unseal(key, sealed) == b"shares"
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(ProtocolError, match="changed on its way"):
            unseal(key, bytes(changed))
    with pytest.raises(ProtocolError):
        unseal(bytes(32), sealed)


# --- shares ---------------------------------------------------------------------------------------


def shared(secret: bytes, threshold: int, clients: list[int], seed: int = 0) -> dict[int, bytes]:
    random = stream(seed, "shares").bytes(draws_for(threshold))
    return share(secret, threshold, clients, random)


def test_the_prime() -> None:
    """Fermat's test, to a few bases; and every secret of 32 bytes is below it."""
    assert all(pow(base, PRIME - 1, PRIME) == 1 for base in (2, 3, 5, 7, 11, 13))
    assert PRIME > 2**256


@given(SECRETS, st.sets(st.integers(0, 2**32 - 2), min_size=1, max_size=8), st.data())
@settings(max_examples=40, deadline=None)
def test_any_t_shares_give_the_secret(
    secret: bytes, clients: set[int], data: st.DataObject
) -> None:
    threshold = data.draw(st.integers(1, len(clients)))
    of = shared(secret, threshold, sorted(clients))
    chosen = data.draw(st.permutations(sorted(clients)))[:threshold]
    assert reconstruct(of, chosen, weights(chosen)) == secret


def test_any_t_minus_one_shares_are_uniform() -> None:
    """Of one secret, shared 2000 times: the parts of every share, and of every two together."""
    parts = np.array(
        [
            [int.from_bytes(text, "little") * 4 // PRIME for text in of.values()]
            for of in (shared(b"\xff" * 32, 3, [0, 1, 5, 9], seed) for seed in range(2000))
        ]
    )
    for one, other in combinations(range(4), 2):
        assert uniform(parts[:, one] * 4 + parts[:, other], 16)


# --- packing --------------------------------------------------------------------------------------


@given(st.integers(1, 64), st.integers(0, 20), st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_vectors_are_packed_and_unpacked(bits: int, size: int, seed: int) -> None:
    words = mask(seed.to_bytes(32, "little"), size, bits)
    message = pack_vector(words, bits)
    assert len(message) == vector_bytes(size, bits) == -(-bits * size // 8)
    assert np.array_equal(unpack_vector(message, size, bits), words)
    beyond = words + np.left_shift(words.dtype.type(1), bits) if bits % 8 else words
    assert pack_vector(beyond, bits) == message
    with pytest.raises(ProtocolError, match="a vector of"):
        unpack_vector(message + b"x", size, bits)


def test_the_layout_of_a_vector() -> None:
    """20 bits an entry: the lowest 16 of all, then the four single ones, each of all."""
    words = np.array([0x12345, 0xFEDCB], np.dtype("<u4"))
    assert pack_vector(words, 20).hex() == "4523" + "cbed" + "ab"  # ab: 11 01 01 01, from below


@given(st.dictionaries(st.integers(0, 2**32 - 1), st.binary(min_size=3, max_size=3), max_size=5))
@settings(max_examples=30, deadline=None)
def test_lists_are_packed_and_unpacked(bodies: dict[int, bytes]) -> None:
    message = pack(bodies)
    assert len(message) == 7 * len(bodies)
    assert unpack(message, 3) == bodies
    assert list(unpack(message, 3)) == sorted(bodies)


@pytest.mark.parametrize("message", [b"12345", bytes(8), bytes(3)])
def test_lists_that_are_none(message: bytes) -> None:
    with pytest.raises(ProtocolError, match="a list"):
        unpack(message, 0)
