"""The secure sum as a whole: every set of clients that fail, every width, every byte."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from fl_core.base.rng import stream
from fl_core.federated.secure.messages import vector_bytes
from fl_core.federated.secure.protocol import SecureSum, TooFewSurvivors, secure_sum

CLIENTS, THRESHOLD, SIZE = (0, 3, 4, 8, 11, 90_000), 4, 5


def vectors(bits: int, size: int = SIZE) -> dict[int, np.ndarray]:
    """Of each client: anything in [0, 2^bits), the ends too."""
    draws = np.random.default_rng(bits)
    drawn = {k: draws.integers(0, 1 << bits, size, dtype=np.uint64) for k in CLIENTS}
    drawn[CLIENTS[0]][:] = (1 << bits) - 1
    drawn[CLIENTS[1]][:] = 0
    return drawn


def random(purpose: str, client: int, size: int) -> bytes:
    return stream(0, f"secure {purpose}", client).bytes(size)


def summed(fates: dict[int, str], bits: int = 20) -> SecureSum:
    return secure_sum(vectors(bits), bits=bits, threshold=THRESHOLD, fates=fates, random=random)


def plain(clients: tuple[int, ...], bits: int) -> list[int]:
    of = vectors(bits)
    return [sum(int(of[k][i]) for k in clients) % (1 << bits) for i in range(SIZE)]


SETS = [
    dict(zip(failing, stages, strict=True))
    for count in range(4)
    for failing in combinations(CLIENTS, count)
    for stages in product(("before", "after"), repeat=count)
]


@pytest.mark.parametrize("before", ["training", "sending", "download"])
def test_every_set_of_clients_that_fail(before: str) -> None:
    """n = 6, t = 4: at most two may fail, whatever the stage of each."""
    stages = {"before": before, "after": "answering"}
    for chosen in SETS:
        if before != "sending" and len(chosen) > 1 and "after" in chosen.values():
            continue  # "sending" shows all of them; the others, those where all fail alike
        fates = {k: stages[when] for k, when in chosen.items()}
        if len(fates) > len(CLIENTS) - THRESHOLD:
            with pytest.raises(TooFewSurvivors, match=r"3 clients .* 4 are needed"):
                summed(fates)
            continue
        result = summed(fates)
        assert result.added == tuple(k for k in CLIENTS if fates.get(k) in (None, "answering"))
        assert result.total.tolist() == plain(result.added, 20)


@pytest.mark.parametrize("bits", [1, 7, 8, 13, 16, 24, 32, 33, 64])
def test_every_width(bits: int) -> None:
    result = summed({3: "training", 8: "answering"}, bits)
    assert result.total.tolist() == plain((0, 4, 8, 11, 90_000), bits)


def test_bytes_of_every_message() -> None:
    result = summed({3: "training", 8: "answering"})
    n, shared, arrived = 6, 82, 5
    keys_up, shares_up = 64, (n - 1) * (4 + shared)
    answer, masked = n * (4 + 33), vector_bytes(SIZE, 20)
    assert result.up[0] == {
        "keys": keys_up,
        "shares": shares_up,
        "masked": masked,
        "answer": answer,
    }
    assert result.up[3] == {"keys": keys_up, "shares": shares_up}
    assert result.up[8] == {"keys": keys_up, "shares": shares_up, "masked": masked}
    assert result.down[0] == {"keys": n * 68, "shares": shares_up, "alive": 4 * arrived}
    assert masked == 13  # ceil(5 x 20 / 8)


@pytest.mark.parametrize("threshold", [0, 3, 7])
def test_thresholds_that_are_refused(threshold: int) -> None:
    with pytest.raises(ValueError, match="more than half of the 6 clients"):
        secure_sum(vectors(8), bits=8, threshold=threshold, fates={}, random=random)
