"""What a client refuses, what the server is given, and what each of them can see."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from fl_core.base.rng import stream
from fl_core.federated.secure import prg, protocol
from fl_core.federated.secure.agreement import KeyPair, agree, mask_seed
from fl_core.federated.secure.client import SecureClient
from fl_core.federated.secure.errors import ProtocolError, TooFewSurvivors
from fl_core.federated.secure.messages import pack, unpack, unpack_vector
from fl_core.federated.secure.protocol import secure_sum
from fl_core.federated.secure.server import SecureServer

CLIENTS, THRESHOLD, BITS, SIZE = range(5), 3, 24, 4
VECTORS = {k: np.arange(SIZE, dtype=np.uint32) + 1000 * k for k in CLIENTS}


def drawn(round_: int = 0) -> Callable[[str, int, int], bytes]:
    return lambda purpose, k, size: stream(7, f"secure {purpose}", round_, k).bytes(size)


def client(number: int, round_: int = 0) -> SecureClient:
    return SecureClient(
        number,
        threshold=THRESHOLD,
        bits=BITS,
        random=lambda purpose, size: drawn(round_)(purpose, number, size),
    )


def server() -> SecureServer:
    return SecureServer(threshold=THRESHOLD, bits=BITS, size=SIZE)


class Round:
    """A round by hand, as far as the clients' masks: every message is there to be changed."""

    def __init__(self, sharing: range = CLIENTS) -> None:
        self.clients, self.server = [client(k) for k in CLIENTS], server()
        for k in CLIENTS:
            self.server.take_keys(k, self.clients[k].advertise())
        self.keys = self.server.keys()
        for k in sharing:
            self.server.take_shares(k, self.clients[k].share(self.keys))
        self.sealed = {k: self.server.shares_for(k) for k in sharing}

    def send(self, *who: int) -> bytes:
        """Their vectors; whose arrived."""
        for k in who:
            self.server.take_masked(k, self.clients[k].mask(VECTORS[k], self.sealed[k]))
        return self.server.alive()

    def answer(self, alive: bytes, *who: int) -> list[int]:
        for k in who:
            self.server.take_answer(k, self.clients[k].reveal(alive))
        return [int(word) for word in self.server.total()]


def total(*who: int) -> list[int]:
    return [int(word) for word in sum(VECTORS[k] for k in who)]


# --- clients --------------------------------------------------------------------------------------


def test_a_client_that_advertises_and_never_shares_is_left_out() -> None:
    """U1 without U2 of the paper: nobody masks with it, nobody needs its key."""
    played = Round(sharing=range(4))
    assert played.answer(played.send(0, 1, 3), 0, 1, 3) == total(0, 1, 3)


def test_a_client_never_reveals_both_kinds_of_shares() -> None:
    """One share of each client in an answer, and one answer: another list of the living, or the
    same, gets nothing more.
    """
    played = Round()
    alive = played.send(*CLIENTS)
    answer = unpack(played.clients[0].reveal(pack({0: b"", 1: b"", 3: b""})), 33)
    assert set(answer) == set(CLIENTS)
    for again in (alive, pack({0: b"", 1: b"", 3: b""})):
        with pytest.raises(ProtocolError, match="client 0 refuses to reveal"):
            played.clients[0].reveal(again)


def test_every_step_is_taken_once_and_in_order() -> None:
    played = Round()
    mine = played.clients[0]
    for step in (mine.advertise, lambda: mine.share(played.keys)):
        with pytest.raises(ProtocolError, match="refuses to"):
            step()
    with pytest.raises(ProtocolError, match="refuses to reveal"):
        mine.reveal(b"")
    mine.mask(VECTORS[0], played.sealed[0])
    with pytest.raises(ProtocolError, match="refuses to mask"):  # their difference would be open
        mine.mask(VECTORS[1], played.sealed[0])


@pytest.mark.parametrize(
    ("alive", "reason"),
    [
        ([0, 1], "2 clients sent their vectors, fewer than the threshold"),
        ([1, 2, 3], "without this client"),
        ([0, 1, 2, 9], "with a stranger"),
    ],
)
def test_lists_of_the_living_that_are_refused(alive: list[int], reason: str) -> None:
    played = Round()
    played.send(*CLIENTS)
    with pytest.raises(ProtocolError, match=reason):
        played.clients[0].reveal(pack(dict.fromkeys(alive, b"")))


def test_lists_of_keys_that_are_refused() -> None:
    keys = {k: client(k).advertise() for k in CLIENTS}
    lists = {
        "2 clients advertised keys": {k: keys[k] for k in (0, 1)},
        "one public key": {**keys, 4: keys[3][:32] + keys[4][32:]},
        "not this client's own": {**keys, 0: client(0, round_=1).advertise()},
    }
    for reason, listed in lists.items():
        mine = client(0)
        mine.advertise()
        with pytest.raises(ProtocolError, match=reason):
            mine.share(pack(listed))


def test_a_changed_or_misdirected_share_is_noticed() -> None:
    for wrong in ("changed", "of another"):
        played = Round()
        alive = played.send(*CLIENTS)
        sealed = unpack(played.sealed[0], 82)
        of_one = bytearray(sealed[1])
        of_one[5] ^= 1
        sealed[1] = bytes(of_one) if wrong == "changed" else unpack(played.sealed[2], 82)[1]
        mine = client(0)
        mine.advertise()
        mine.share(played.keys)
        mine.mask(VECTORS[0], pack(sealed))
        with pytest.raises(ProtocolError, match="changed on its way"):
            mine.reveal(alive)


def test_too_few_sealed_shares_and_those_of_strangers_are_refused() -> None:
    sealed = unpack(Round().sealed[0], 82)
    for reason, listed in {
        "2 clients shared their keys": {1: sealed[1]},
        "did not advertise": {**sealed, 17: sealed[1]},
    }.items():
        mine = Round().clients[0]
        with pytest.raises(ProtocolError, match=reason):
            mine.mask(VECTORS[0], pack(listed))


# --- the server -----------------------------------------------------------------------------------


def refused(take: Callable[[int, bytes], None], k: int, message: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        take(k, message)


def test_messages_that_the_server_refuses() -> None:
    played = Round()
    keys, vector = bytes(64), bytes(12)
    shares = pack(dict.fromkeys([1, 2, 3, 4], bytes(82)))
    fresh = server()
    fresh.take_keys(0, keys)
    refused(fresh.take_keys, 0, keys, "keys twice")
    refused(fresh.take_keys, 9, keys[1:], "not 64 bytes")
    with pytest.raises(TooFewSurvivors, match="1 clients advertised"):
        fresh.keys()
    for k in range(1, 5):
        fresh.take_keys(k, keys)
    fresh.keys()
    fresh.take_shares(0, shares)
    refused(fresh.take_shares, 0, shares, "shares twice")
    refused(fresh.take_shares, 3, shares, "not for every other client")
    played.server.take_masked(0, played.clients[0].mask(VECTORS[0], played.sealed[0]))
    refused(played.server.take_masked, 0, vector, "a vector twice")
    refused(played.server.take_masked, 9, vector, "without shared keys")
    refused(played.server.take_masked, 3, vector[1:], "a vector of 11 bytes, not of 12")
    alive = played.send(1, 2)
    answer = played.clients[0].reveal(alive)
    played.server.take_answer(0, answer)
    refused(played.server.take_answer, 0, answer, "an answer twice")
    refused(played.server.take_answer, 1, answer[:-37], "not of every client")
    refused(played.server.take_answer, 3, answer, "an answer")
    with pytest.raises(TooFewSurvivors, match="1 clients answered"):
        played.server.total()


def test_what_comes_too_late_is_refused() -> None:
    """A late vector above all: its client's key is known by then."""
    played = Round(sharing=range(4))
    refused(played.server.take_keys, 9, bytes(64), "round 0 in round 2")
    refused(played.server.take_shares, 4, played.clients[4].share(played.keys), "round 1 in")
    late = played.clients[3].mask(VECTORS[3], played.sealed[3])
    with pytest.raises(ProtocolError, match="the end of round 4 in round 2"):
        played.server.total()
    alive = played.send(0, 1, 2)
    refused(played.server.take_masked, 3, late, "round 2 in round 4")
    assert played.answer(alive, 0, 1, 2) == total(0, 1, 2)


def test_a_wrong_share_of_a_key_is_noticed() -> None:
    played = Round()
    alive = played.send(0, 1, 2)
    for k in (0, 1, 2):
        shares = unpack(played.clients[k].reveal(alive), 33)
        if k == 1:
            shares[4] = bytes(33)
        played.server.take_answer(k, pack(shares))
    with pytest.raises(ProtocolError, match="the shares of client 4's key do not give its key"):
        played.server.total()


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[Any, ...]]]:
    """What the server was told and asked in a whole run."""
    calls: list[tuple[str, tuple[Any, ...]]] = []

    class Recorder(SecureServer):
        def __getattribute__(self, name: str) -> Any:
            found = super().__getattribute__(name)
            if name.startswith("_"):
                return found
            return lambda *message: calls.append((name, message)) or found(*message)

    monkeypatch.setattr(protocol, "SecureServer", Recorder)
    fates = {1: "sending", 2: "answering"}
    secure_sum(VECTORS, bits=BITS, threshold=THRESHOLD, fates=fates, random=drawn())
    return calls


def test_the_server_needs_nothing_but_what_crosses_the_wire(
    recorded: list[tuple[str, tuple[Any, ...]]],
) -> None:
    """Bytes, from numbered clients, to a server that has never seen another object."""
    kinds = {type(part) for _, message in recorded for part in message}
    assert kinds <= {int, bytes}
    fresh = server()
    for name, message in recorded:
        result = getattr(fresh, name)(*message)
    assert result.tolist() == total(0, 2, 3, 4)


def reachable(start: object) -> Iterator[object]:
    """Every object that one leads to; through what functions hold, but not through modules."""
    seen, queue = set(), [start]
    while queue:
        found = queue.pop()
        if id(found) in seen or isinstance(found, (type, type(gc))):
            continue
        seen.add(id(found))
        yield found
        if isinstance(found, type(reachable)):
            queue.extend([found.__closure__, found.__defaults__, found.__kwdefaults__])
        else:
            queue.extend(gc.get_referents(found))


def test_no_client_and_no_vector_can_be_reached_from_the_server() -> None:
    played = Round()
    played.answer(played.send(0, 1, 2), 0, 1, 2)
    found = list(reachable(played.server))
    assert not [one for one in found if isinstance(one, SecureClient)]
    arrays = [one for one in found if isinstance(one, np.ndarray)]
    assert len(arrays) == 1  # the masked total
    assert not any(np.array_equal(arrays[0], vector) for vector in VECTORS.values())
    own = played.clients[0]
    played.server.hidden = lambda: own  # type: ignore[attr-defined]
    assert own in [one for one in reachable(played.server) if isinstance(one, SecureClient)]


# --- what can be seen -----------------------------------------------------------------------------


def test_what_a_client_sends_is_the_formula() -> None:
    """Y = q + PRG(b) + sum over later ones of PRG(s) - sum over earlier ones, written out."""
    secrets = {k: drawn()("secrets", k, 96) for k in CLIENTS}
    pairs = {k: KeyPair.of(secret[32:64]) for k, secret in secrets.items()}
    played = Round()
    for k in CLIENTS:
        y = VECTORS[k].astype(int) + prg.mask(secrets[k][64:], SIZE, BITS)
        for j in CLIENTS:
            if j != k:
                one, other = pairs[k].public, pairs[j].public
                seed = mask_seed(agree(pairs[k], other), one, other)
                y += (1 if j > k else -1) * prg.mask(seed, SIZE, BITS).astype(int)
        sent = played.clients[k].mask(VECTORS[k], played.sealed[k])
        assert unpack_vector(sent, SIZE, BITS).tolist() == (y % 2**BITS).tolist()


def masked_by(monkeypatch: pytest.MonkeyPatch) -> tuple[dict[int, bytes], dict[int, Any]]:
    """Every client's y of the zero vector, 8 bits an entry; and the seeds that it used."""
    sent, used = {}, {}

    class Watched(SecureClient):
        def mask(self, vector: np.ndarray, sealed: bytes) -> bytes:
            used[self.number] = seeds = []
            plain = prg.keystream
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(prg, "keystream", lambda seed: seeds.append(seed) or plain(seed))
                sent[self.number] = super().mask(vector, sealed)
            return sent[self.number]

    monkeypatch.setattr(protocol, "SecureClient", Watched)
    zeros = {k: np.zeros(20_000, np.uint8) for k in CLIENTS}
    secure_sum(zeros, bits=8, threshold=THRESHOLD, fates={}, random=drawn())
    return sent, used


def uniform(words: np.ndarray) -> bool:
    return bool(chisquare(np.bincount(words, minlength=256)).pvalue > 1e-3)


def test_any_single_masked_vector_is_uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the zero vector; and so it stays for who knows its own mask or those of its pairs."""
    sent, used = masked_by(monkeypatch)
    for k in CLIENTS:
        y = unpack_vector(sent[k], 20_000, 8)
        own = prg.mask(used[k][0], 20_000, 8)
        assert uniform(y)
        assert uniform(y - own)
        assert uniform(own)
        assert not uniform(np.zeros_like(y))


def test_seeds_are_shared_by_pairs_and_never_used_in_two_rounds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seeds = []
    plain = prg.keystream
    monkeypatch.setattr(prg, "keystream", lambda seed: seeds.append(seed) or plain(seed))
    rounds = []
    for round_ in range(2):
        seeds.clear()
        secure_sum(VECTORS, bits=BITS, threshold=THRESHOLD, fates={}, random=drawn(round_))
        rounds.append(Counter(seeds))
    # of each pair at its two ends; of each client's own, by itself and by the server
    assert Counter(rounds[0].values()) == {2: 10 + 5}
    assert not rounds[0].keys() & rounds[1].keys()


def test_no_key_seals_two_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So the nonce, which is always the same, is never used twice with a key."""
    from fl_core.federated.secure import client as module

    keys = []
    plain = module.seal
    monkeypatch.setattr(module, "seal", lambda key, text: keys.append(key) or plain(key, text))
    for round_ in range(2):
        secure_sum(VECTORS, bits=BITS, threshold=THRESHOLD, fates={}, random=drawn(round_))
    assert len(keys) == len(set(keys)) == 2 * 5 * 4
