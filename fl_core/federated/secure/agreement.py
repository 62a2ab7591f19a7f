"""What two clients know and the server does not: X25519, HKDF-SHA256 and ChaCha20-Poly1305.

KA and AE of the paper (section 3). A pair's shared secret is X25519's (RFC 7748, 6.1); keys are
derived from it by HKDF-SHA256 (RFC 5869), whose context names both public keys and what the key is
for: one secret never gives one key for two purposes.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fl_core.federated.secure.errors import ProtocolError

KEY_BYTES = 32
TAG_BYTES = 16
#: Every key seals one message (its context names sender and receiver, and the public keys are of
#: one round), so the nonce never needs to differ.
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


def derive(secret: bytes, purpose: str, one: bytes, other: bytes) -> bytes:
    """A key of 32 bytes from a shared secret; one, other: the public keys, in a named order."""
    return HKDF(SHA256(), KEY_BYTES, None, purpose.encode() + one + other).derive(secret)


def pair_seed(own: KeyPair, other: bytes) -> bytes:
    """s_kj, the seed of a pair's mask: the same from either side."""
    low, high = sorted((own.public, other))
    return derive(agree(own, other), "secure sum: mask", low, high)


def channel_key(secret: bytes, sender: bytes, receiver: bytes) -> bytes:
    """Of the one message from sender to receiver (their public keys)."""
    return derive(secret, "secure sum: shares", sender, receiver)


def seal(key: bytes, plain: bytes) -> bytes:
    """Encrypted and authenticated: `TAG_BYTES` longer. One message a key."""
    return ChaCha20Poly1305(key).encrypt(NONCE, plain, None)


def unseal(key: bytes, sealed: bytes) -> bytes:
    """What was sealed; an error if a bit of it was changed, or if it was meant for another."""
    try:
        return ChaCha20Poly1305(key).decrypt(NONCE, sealed, None)
    except InvalidTag:
        raise ProtocolError("a message was changed on its way") from None
