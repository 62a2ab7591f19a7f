"""The secure sum as a whole: every set of clients that fail, every width, every byte."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from fl_core.base.rng import stream
from fl_core.federated.secure import protocol
from fl_core.federated.secure.agreement import once_a_pair
from fl_core.federated.secure.messages import vector_bytes
from fl_core.federated.secure.protocol import SecureSum, TooFewSurvivors, secure_sum

CLIENTS, THRESHOLD, SIZE = (0, 3, 4, 8, 11, 90_000), 4, 5
STAGES = ("download", "sending", "answering")


def vectors(bits: int) -> dict[int, np.ndarray]:
    """Of each client: anything in [0, 2^bits), the ends too."""
    draws = np.random.default_rng(bits)
    drawn = {k: draws.integers(0, 1 << bits, SIZE, dtype=np.uint64) for k in CLIENTS}
    drawn[CLIENTS[0]][:] = (1 << bits) - 1
    drawn[CLIENTS[1]][:] = 0
    return drawn


def random(purpose: str, client: int, size: int) -> bytes:
    return stream(0, f"secure {purpose}", client).bytes(size)


def summed(fates: dict[int, str], bits: int = 20, seed: int = 0) -> SecureSum:
    return secure_sum(
        vectors(bits),
        bits=bits,
        threshold=THRESHOLD,
        fates=fates,
        random=lambda purpose, k, size: stream(seed, f"secure {purpose}", k).bytes(size),
    )


def plain(clients: tuple[int, ...], bits: int) -> list[int]:
    of = vectors(bits)
    return [sum(int(of[k][i]) for k in clients) % (1 << bits) for i in range(SIZE)]


@pytest.fixture
def _known_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same secrets in every sum: X25519 is computed in the first."""
    agreed = once_a_pair()
    monkeypatch.setattr(protocol, "once_a_pair", lambda: agreed)


@pytest.mark.usefixtures("_known_pairs")
def test_every_set_that_the_threshold_survives() -> None:
    """n = 6, t = 4: none, one or two fail, each at any stage; to the sum, training is sending."""
    for count in range(len(CLIENTS) - THRESHOLD + 1):
        for failing in combinations(CLIENTS, count):
            for stages in product(STAGES, repeat=count):
                fates = dict(zip(failing, stages, strict=True))
                result = summed(fates)
                there = tuple(k for k in CLIENTS if fates.get(k) in (None, "answering"))
                assert result.added == there
                assert result.total.tolist() == plain(there, 20), fates


@pytest.mark.usefixtures("_known_pairs")
@pytest.mark.parametrize(
    ("stage", "step"),
    [
        ("download", "advertised keys"),
        ("training", "sent their vectors"),
        ("sending", "sent their vectors"),
        ("answering", "answered the server"),
    ],
)
def test_every_set_below_the_threshold(stage: str, step: str) -> None:
    for left in range(THRESHOLD):
        for there in combinations(CLIENTS, left):
            fates = {k: stage for k in CLIENTS if k not in there}
            with pytest.raises(TooFewSurvivors) as caught:
                summed(fates)
            assert (caught.value.answered, caught.value.needed) == (left, 4)
            assert f"{left} clients {step}, 4 are needed" in str(caught.value)


def test_failures_of_two_kinds_add_up() -> None:
    with pytest.raises(TooFewSurvivors, match="3 clients answered"):
        summed({0: "sending", 3: "answering", 8: "answering"})


@pytest.mark.parametrize("bits", [1, 7, 8, 13, 16, 24, 32, 33, 63, 64])
def test_every_width(bits: int) -> None:
    result = summed({3: "training", 8: "answering"}, bits)
    assert result.total.dtype == np.uint64
    assert result.total.tolist() == plain((0, 4, 8, 11, 90_000), bits)


def test_secrets_do_not_touch_the_sum() -> None:
    fates = {4: "sending"}
    assert summed(fates, seed=1).total.tolist() == summed(fates, seed=2).total.tolist()


def test_bytes_of_every_message() -> None:
    result = summed({3: "training", 8: "answering"})
    n, arrived = 6, 5
    shares = (n - 1) * (4 + 2 * 33 + 16)
    masked = 13  # ceil(5 x 20 / 8)
    answer = n * (4 + 33)
    assert result.up == {
        3: {"keys": 64, "shares": shares},
        8: {"keys": 64, "shares": shares, "masked": masked},
        **{
            k: {"keys": 64, "shares": shares, "masked": masked, "answer": answer}
            for k in (0, 4, 11, 90_000)
        },
    }
    told = {"keys": n * (4 + 64), "shares": shares}
    assert result.down == {k: told if k == 3 else {**told, "alive": 4 * arrived} for k in CLIENTS}
    assert vector_bytes(SIZE, 20) == masked


@pytest.mark.parametrize("threshold", [0, 3, 7])
def test_thresholds_that_are_refused(threshold: int) -> None:
    with pytest.raises(ValueError, match="more than half of the 6 clients"):
        secure_sum(vectors(8), bits=8, threshold=threshold, fates={}, random=random)


def test_what_else_is_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown stages: .*lunch"):
        summed({0: "lunch"})
    large = {k: np.array([256], np.uint32) for k in CLIENTS}
    with pytest.raises(ValueError, match="8 bits cannot hold 256"):
        secure_sum(large, bits=8, threshold=4, fates={}, random=random)
    with pytest.raises(ValueError, match=r"bits must be in 1 \.\. 64, not 65"):
        secure_sum(vectors(8), bits=65, threshold=4, fates={}, random=random)
