"""What two clients know and the server does not: X25519, HKDF-SHA256 and AES-256-GCM.

KA and AE of the paper (section 3). A pair's shared secret is X25519's (RFC 7748, 6.1); keys are
derived from it by HKDF-SHA256 (RFC 5869), whose context names both public keys and what the key is
for: one secret never gives one key for two purposes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fl_core.federated.secure.errors import ProtocolError

KEY_BYTES = 32
TAG_BYTES = 16
#: Every key seals one message (there is one for each direction, and the public keys are of one
#: round), so the nonce never needs to differ.
NONCE = bytes(12)


@dataclass(frozen=True)
class KeyPair:
    """Of one client, for one purpose, in one round."""

    private: X25519PrivateKey
    public: bytes  # 32 bytes

    @staticmethod
    def of(secret: bytes) -> KeyPair:
        """secret: 32 uniform bytes (X25519 sets the bits that its scalars have set)."""
        private = X25519PrivateKey.from_private_bytes(secret)
        return KeyPair(private, private.public_key().public_bytes_raw())


def agree(own: KeyPair, other: bytes) -> bytes:
    """The secret of two clients (32 bytes): the same from either side."""
    try:
        return own.private.exchange(X25519PublicKey.from_public_bytes(other))
    except ValueError as error:  # not 32 bytes, or a point of low order
        raise ProtocolError(f"not a public key: {error}") from None


Agree = Callable[[KeyPair, bytes], bytes]


def once_a_pair() -> Agree:
    """`agree` for who plays both ends of a pair: the second is told what it would compute."""
    known: dict[frozenset[bytes], bytes] = {}

    def agreed(own: KeyPair, other: bytes) -> bytes:
        pair = frozenset((own.public, other))
        if pair not in known:
            known[pair] = agree(own, other)
        return known[pair]

    return agreed


def derive(secret: bytes, purpose: bytes, size: int, one: bytes, other: bytes) -> bytes:
    """`size` bytes from the secret of two public keys, whichever is named first."""
    return HKDF(SHA256(), size, None, purpose + min(one, other) + max(one, other)).derive(secret)


def mask_seed(secret: bytes, one: bytes, other: bytes) -> bytes:
    """s_kj of two mask keys: the same from either side."""
    return derive(secret, b"secure sum: mask", KEY_BYTES, one, other)


def channel(secret: bytes, own: bytes, other: bytes) -> tuple[bytes, bytes]:
    """Of two channel keys: the key of the one message sent, and of the one received."""
    both = derive(secret, b"secure sum: shares", 2 * KEY_BYTES, own, other)
    ways = both[:KEY_BYTES], both[KEY_BYTES:]
    return ways if own < other else ways[::-1]


def seal(key: bytes, plain: bytes) -> bytes:
    """Encrypted and authenticated: `TAG_BYTES` longer. One message a key."""
    return AESGCM(key).encrypt(NONCE, plain, None)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """What was sealed; an error if a bit of it was changed, or if it was meant for another."""
    try:
        return AESGCM(key).decrypt(NONCE, sealed, None)
    except InvalidTag:
        raise ProtocolError("a message was changed on its way") from None
