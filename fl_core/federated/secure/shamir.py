"""t-of-n secret sharing (Shamir, 1979): t shares give the secret, t - 1 tell nothing of it.

A polynomial of degree t - 1 over the integers modulo a prime, whose constant term is the secret;
client k's share is its value at k + 1 (0 would be the secret itself). The prime is the first one
above 2^256, so that every secret of 32 bytes is an element and a share has 33 bytes: X25519's keys
and the seeds of masks need no splitting into limbs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

PRIME = 2**256 + 297
SECRET_BYTES = 32
SHARE_BYTES = 33
#: Random bytes for a coefficient: so many more than it has that the rest modulo the prime is
#: uniform but for 2^-127.
DRAW_BYTES = 48


def draws_for(threshold: int) -> int:
    """Random bytes that sharing one secret takes."""
    return (threshold - 1) * DRAW_BYTES


def share(secret: bytes, threshold: int, clients: Iterable[int], random: bytes) -> dict[int, bytes]:
    """Each client's share. secret: 32 bytes; random: `draws_for(threshold)` uniform bytes."""
    drawn = [random[i : i + DRAW_BYTES] for i in range(0, len(random), DRAW_BYTES)]
    if len(secret) != SECRET_BYTES or len(random) != draws_for(threshold):
        raise ValueError("a secret has 32 bytes, every other coefficient is drawn from 48")
    terms = [int.from_bytes(piece, "little") % PRIME for piece in drawn]  # highest power first
    terms.append(int.from_bytes(secret, "little"))
    return {client: _value(terms, client + 1).to_bytes(SHARE_BYTES, "little") for client in clients}


def _value(terms: Sequence[int], at: int) -> int:
    value = 0
    for term in terms:
        value = (value * at + term) % PRIME
    return value


def weights(clients: Sequence[int]) -> list[int]:
    """Lagrange's: of these clients' shares, in this order, the secret is the weighted sum."""
    points = [client + 1 for client in clients]
    result = []
    for own in points:
        above = below = 1
        for other in points:
            if other != own:
                above = above * other % PRIME
                below = below * (other - own) % PRIME
        result.append(above * pow(below, -1, PRIME) % PRIME)
    return result


def reconstruct(shares: Mapping[int, bytes], clients: Sequence[int], by: Sequence[int]) -> bytes:
    """The secret from the shares of these clients (as many as the threshold); by: their `weights`.

    Shares that are not of one secret give some other element, which may not fit into 32 bytes.
    """
    values = (int.from_bytes(shares[client], "little") for client in clients)
    secret = sum(value * weight for value, weight in zip(values, by, strict=True)) % PRIME
    return secret.to_bytes(SHARE_BYTES, "little")[:SECRET_BYTES]
