"""The account of a run's traffic: three rounds by hand in each scope, resume, one measurement."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
import torch
from test_messages import NINE_MASK, active, refused
from torch import Tensor

from fl_core.federated import lengths as lengths_module
from fl_core.federated.ledger import Ledger
from fl_core.federated.messages import encode
from fl_core.federated.update import Traffic

# 100 parameters: dense 16 + 400 = 416; with c active index 16 + 8c, bitmap 16 + 13 + 4c,
# values 16 + 4c; the mask alone 16 + 13 (index from 4c < 13)
PARAMS = torch.linspace(-1, 1, 100)
TENTH = active(100, range(0, 100, 10))
CLIENT_MASKS = (active(100, range(10)), active(100, range(5, 15)), active(100, range(50, 100)))
ROUNDS = ([0, 1], [1, 2], [0, 2])


def own(client: int) -> Tensor:
    return CLIENT_MASKS[client]


def no_mask(client: int) -> Tensor | None:
    raise AssertionError("a dense run has no masks")


def sent(clients: Iterable[int]) -> list[Traffic]:
    """Parameters and nothing else."""
    return [Traffic(client, 0, 0) for client in clients]


def account(ledger: Ledger, masks: Callable[[int], Tensor | None]) -> list[dict[str, float]]:
    """The totals after each of the three rounds."""
    totals = []
    for clients in ROUNDS:
        ledger.round_trip(PARAMS, sent(clients), 0, masks)
        totals.append(ledger.totals)
    return totals


def series(totals: list[dict[str, float]], key: str) -> list[float]:
    return [total[key] for total in totals]


def test_dense_ledger_by_hand() -> None:
    totals = account(Ledger(100, None, {}), no_mask)
    ways = ("up", "down")
    sums = {f"bytes_{w}_{part}" for w in ways for part in ("main", "round")}
    assert totals[-1].keys() == sums | {"bytes_lost"}
    for way in ("up", "down"):
        assert series(totals, f"bytes_{way}_round") == [832, 832, 832]
        assert series(totals, f"bytes_{way}_main") == [832, 1664, 2496]


def test_shared_ledger_by_hand() -> None:
    totals = account(Ledger(100, "shared", {}), lambda client: TENTH)
    assert series(totals, "bytes_up_round") == [2 * 56, 2 * 56, 2 * 56]
    # clients 0 and 1 get everything and the mask; 1 values, 2 everything; 0 and 2 values
    assert series(totals, "bytes_down_round") == [2 * (416 + 29), 56 + 416 + 29, 2 * 56]
    assert totals[-1] == {
        "bytes_lost": 0,
        "bytes_up_main": 336,
        "bytes_up_round": 112,
        "bytes_up_dense": 6 * 416,
        "bytes_up_index": 6 * 96,
        "bytes_up_bitmap": 6 * 69,
        "messages_up_dense": 0,
        "messages_up_index": 0,
        "messages_up_bitmap": 0,
        "messages_up_values": 6,
        "bytes_down_main": 890 + 501 + 112,
        "bytes_down_round": 112,
        "bytes_down_dense": 6 * 416,
        "bytes_down_index": 3 * 416 + 3 * 96,
        "bytes_down_bitmap": 3 * 416 + 3 * 69,
        "messages_down_dense": 3,
        "messages_down_index": 0,
        "messages_down_bitmap": 0,
        "messages_down_values": 3,
    }


def test_per_client_ledger_by_hand() -> None:
    """Unions before the rounds: none, entries 0-14, those and 50-99.

    Client 2 comes in the second round: it makes its mask on the start, so that what has changed
    since comes beside the whole.
    """
    totals = account(Ledger(100, "per_client", {}), own)
    # bitmaps that bring the mask: 10 active, 10, then 50; values: 10, then 10 and 50
    assert series(totals, "bytes_up_round") == [2 * 69, 56 + 229, 56 + 216]
    assert series(totals, "bytes_down_round") == [2 * 416, 89 + 416 + 89, 2 * 289]
    assert totals[-1] == {
        "bytes_lost": 0,
        "bytes_up_main": 138 + 285 + 272,
        "bytes_up_round": 272,
        "bytes_up_dense": 6 * 416,
        "bytes_up_index": 4 * 96 + 2 * 416,
        "bytes_up_bitmap": 4 * 69 + 2 * 229,
        "messages_up_dense": 0,
        "messages_up_index": 0,
        "messages_up_bitmap": 3,
        "messages_up_values": 3,
        "bytes_down_main": 832 + 594 + 578,
        "bytes_down_round": 578,
        "bytes_down_dense": 7 * 416,
        "bytes_down_index": 3 * 416 + 2 * 136 + 2 * 536,
        "bytes_down_bitmap": 3 * 416 + 2 * 89 + 2 * 289,
        "messages_down_dense": 3,
        "messages_down_index": 0,
        "messages_down_bitmap": 4,
        "messages_down_values": 0,
    }


def test_the_union_grows_with_the_clients_seen() -> None:
    ledger = Ledger(100, "per_client", {})
    sizes = []
    for clients in ROUNDS:
        ledger.round_trip(PARAMS, sent(clients), 0, own)
        sizes.append(int(ledger.union.sum()))
    assert sizes == [15, 65, 65]
    assert ledger.seen == {0, 1, 2}
    assert [int(mask.sum()) for mask in CLIENT_MASKS] == [10, 10, 50]  # as they were


def test_dense_wins_where_little_is_frozen() -> None:
    """99 of 100 active: dense 416, bitmap 425. But a mask that the server lacks must come."""
    ledger = Ledger(100, "per_client", {})
    ledger.round_trip(PARAMS, sent([0]), 0, lambda client: active(100, range(99)))
    assert ledger.totals["bytes_up_main"] == 425
    ledger.round_trip(PARAMS, sent([0]), 0, lambda client: active(100, range(99)))
    assert (ledger.totals["bytes_up_round"], ledger.totals["bytes_down_round"]) == (412, 416)
    assert ledger.totals["messages_down_dense"] == 2
    full = Ledger(100, "shared", {})
    account(full, lambda client: active(100, range(100)))
    assert full.totals["messages_up_dense"] == 6


def test_two_entries_are_cheapest_by_index() -> None:
    ledger = Ledger(100, "per_client", {})
    for _ in range(2):
        ledger.round_trip(PARAMS, sent([0]), 0, lambda client: active(100, [3, 77]))
    assert ledger.totals["bytes_up_main"] == 32 + 24
    assert (ledger.totals["messages_up_index"], ledger.totals["messages_up_values"]) == (1, 1)
    assert (ledger.totals["bytes_down_round"], ledger.totals["messages_down_index"]) == (32, 1)


@pytest.mark.parametrize("scope", [None, "shared", "per_client"])
@pytest.mark.parametrize("done", [0, 1, 2, 3])
@pytest.mark.parametrize("how", ["given", "replayed"])
def test_a_resumed_ledger_goes_on_the_same(scope: str | None, done: int, how: str) -> None:
    masks: dict[str | None, Callable[[int], Tensor | None]] = {
        None: no_mask,
        "shared": lambda client: TENTH,
        "per_client": own,
    }
    whole = Ledger(100, scope, {})
    account(whole, masks[scope])
    first = Ledger(100, scope, {})
    for clients in ROUNDS[:done]:
        first.round_trip(PARAMS, sent(clients), 0, masks[scope])
    stored = dict(first.totals, images=7.0)  # as in a checkpoint, beside other totals
    if how == "given":
        second = Ledger(100, scope, stored, first.seen, first.union)
    else:
        second = Ledger(100, scope, stored)
        second.replay([c for clients in ROUNDS[:done] for c in clients], masks[scope])
    kept, union = dict(stored), first.union.clone()
    for clients in ROUNDS[done:]:
        second.round_trip(PARAMS, sent(clients), 0, masks[scope])
    assert second.totals == whole.totals
    assert second.seen == whole.seen
    assert torch.equal(second.union, whole.union)
    assert stored == kept
    assert torch.equal(first.union, union)


def test_totals_handed_out_do_not_change() -> None:
    ledger = Ledger(100, "shared", {})
    ledger.round_trip(PARAMS, sent([0]), 0, lambda client: TENTH)
    totals, copy = ledger.totals, dict(ledger.totals)
    ledger.round_trip(PARAMS, sent([0]), 0, lambda client: TENTH)
    assert totals == copy != ledger.totals


def test_ledger_refuses_what_does_not_fit() -> None:
    refused(lambda: Ledger(100, "mine", {}), "scope='mine': must be")
    refused(lambda: Ledger(100, "per_client", {}, [1]), "without the union")
    refused(lambda: Ledger(99, None, {}).round_trip(PARAMS, sent([0]), 0, own), "100 entries")
    for scope in ("shared", "per_client"):
        ledger = Ledger(100, scope, {})
        refused(
            lambda led=ledger: led.round_trip(PARAMS, sent([4]), 0, lambda c: None),
            "client 4: no mask",
        )  # type: ignore[misc]
        refused(
            lambda led=ledger: led.round_trip(PARAMS, sent([4]), 0, lambda c: NINE_MASK),
            "9 entries",
        )  # type: ignore[misc]
        assert not any(ledger.totals.values())


@pytest.mark.parametrize(("scope", "first", "later"), [("shared", 4, 0), ("per_client", 4, 3)])
def test_lengths_are_measured_once(
    scope: str, first: int, later: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Encodings of a round: the whole, then three of each mask; then three of the union, once."""
    calls, asked = [], []
    real = encode

    def counted(params: Tensor, mask: Tensor | None, encoding: str) -> bytes:
        calls.append(encoding)
        return real(params, mask, encoding)

    def masks(client: int) -> Tensor:
        asked.append(client)
        return CLIENT_MASKS[client]

    monkeypatch.setattr(lengths_module, "encode", counted)
    ledger = Ledger(100, scope, {})
    counts = []
    for _ in range(4):
        ledger.round_trip(PARAMS, sent([0]), 0, masks)
        counts.append(len(calls))
        calls.clear()
    assert counts == [first, later, 0, 0]
    assert asked == [0]


@pytest.mark.parametrize("scope", ["shared", "per_client"])
def test_uploads_at_sparsity_nine_tenths_are_a_ninth_of_dense(scope: str) -> None:
    """The linear head of 192 features and 100 classes: 19,300 parameters, 1,930 of them active."""
    size, rounds = 19_300, 5
    params, clients = torch.ones(size), list(range(10))
    masks = [active(size, range(client, size, 10)) for client in clients]
    ledger = Ledger(size, scope, {})
    ups = []
    for _ in range(rounds):
        ledger.round_trip(params, sent(clients), 0, lambda client: masks[client])
        ups.append(ledger.totals["bytes_up_round"])
    dense = ledger.totals["bytes_up_dense"] / rounds
    assert dense == 10 * (16 + 4 * size)
    assert all(9 * up <= dense for up in ups[1:])
    assert (9 * ups[0] <= dense) == (scope == "shared")  # the own mask has to come once


# --- what earlier stages sent, Fisher information, a frozen head ----------------------------------

WHOLE, MASK = 416, 29  # of PARAMS; of TENTH, whose values are 56


def test_who_made_the_mask_holds_the_start() -> None:
    """Clients that an earlier stage sent it get, at first, the mask and what has changed."""
    totals = account(Ledger(100, "shared", {}, told=True), lambda client: TENTH)
    assert series(totals, "bytes_down_round") == [2 * (56 + MASK), 56 + 56 + MASK, 2 * 56]
    assert series(totals, "bytes_up_round") == [2 * 56] * 3


def test_a_frozen_head_comes_once() -> None:
    totals = account(Ledger(100, None, {}, beside=1000), no_mask)
    assert series(totals, "bytes_down_round") == [2 * 1416, WHOLE + 1416, 2 * WHOLE]
    totals = account(Ledger(100, "shared", {}, beside=1000), lambda client: TENTH)
    assert totals[-1]["bytes_down_main"] == 3 * (WHOLE + MASK + 1000) + 3 * 56
    assert totals[-1]["bytes_down_dense"] == 6 * 416 + 3 * 1000
    assert totals[-1]["bytes_up_main"] == 6 * 56


def test_fisher_information_of_a_rounds_clients() -> None:
    """Once up from each; the sum down to who comes again; the start to who comes late."""
    dense = account(Ledger(100, None, {}, fisher="round"), no_mask)
    assert series(dense, "bytes_up_round") == [4 * WHOLE, 3 * WHOLE, 2 * WHOLE]
    # parameters; to 1 the sum, to 2 the start; the sum to 0 and 2
    assert series(dense, "bytes_down_round") == [2 * WHOLE, 4 * WHOLE, 4 * WHOLE]
    shared = account(Ledger(100, "shared", {}, fisher="round"), lambda client: TENTH)
    assert series(shared, "bytes_up_round") == [4 * 56, 3 * 56, 2 * 56]
    assert series(shared, "bytes_down_round") == [
        2 * (WHOLE + MASK), 2 * 56 + WHOLE + MASK + 56, 4 * 56,
    ]  # fmt: skip
    own_masks = account(Ledger(100, "per_client", {}, fisher="round"), own)
    # as without, and: all entries of F at first, for others train them; the sum to 1, to 0 and 2
    assert series(own_masks, "bytes_up_round") == [2 * (69 + WHOLE), 56 + 229 + WHOLE, 56 + 216]
    assert series(own_masks, "bytes_down_round") == [
        2 * WHOLE, 89 + 416 + 89 + 56, 2 * 289 + 56 + 216,
    ]  # fmt: skip


def test_fisher_information_of_all_clients() -> None:
    """Of five: the start down and F up before the first round; the sum to each newcomer, once."""
    dense = account(Ledger(100, None, {}, fisher="all", clients=5), no_mask)
    assert series(dense, "bytes_up_round") == [7 * WHOLE, 2 * WHOLE, 2 * WHOLE]
    assert series(dense, "bytes_down_round") == [(5 + 4) * WHOLE, 3 * WHOLE, 2 * WHOLE]
    shared = account(Ledger(100, "shared", {}, fisher="all", clients=5), lambda client: TENTH)
    assert series(shared, "bytes_up_round") == [7 * 56, 2 * 56, 2 * 56]
    assert series(shared, "bytes_down_round") == [5 * (WHOLE + MASK) + 4 * 56, 3 * 56, 2 * 56]
    told = Ledger(100, "shared", {}, fisher="all", clients=5, told=True)
    assert account(told, lambda client: TENTH)[0]["bytes_down_round"] == 5 * MASK + 4 * 56
