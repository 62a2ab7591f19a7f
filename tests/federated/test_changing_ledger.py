"""The account of masks that change: rounds by hand, resume.

100 parameters: dense 416; c entries are 16 + 4c as values, 16 + 13 + 4c as a bitmap, 16 + 8c by
index; a mask of more than three entries 29.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fl_core.config.mask_section import MaskConfig
from fl_core.federated.changing_ledger import MEMORY, ChangingLedger
from fl_core.federated.cost import Cost
from fl_core.federated.server import named
from fl_core.federated.update import Traffic


def first(count: int) -> Tensor:
    return torch.arange(100) < count


def growing(client: int, round: int) -> Tensor:
    return first(10 * (round + 1))


def shrinking(client: int, round: int) -> Tensor:
    return first(30 - 10 * round)


def ledger(
    begin: float, end: float, old: ChangingLedger | None = None, **more: Any
) -> ChangingLedger:
    mask = MaskConfig(schedule="linear", sparsity=begin, sparsity_end=end)
    memory = {} if old is None else named(old.tensors(), MEMORY)
    totals = {} if old is None else old.totals
    return ChangingLedger(100, mask, 3, totals, memory, clients=6, **more)


def sent(*clients: int) -> list[Traffic]:
    return [Traffic(client, 0, 0) for client in clients]


def of_round(found: ChangingLedger) -> tuple[float, float]:
    return found.totals["bytes_down_round"], found.totals["bytes_up_round"]


def test_a_growing_mask_by_hand() -> None:
    found = ledger(0.9, 0.7)
    found.round_trip(0, sent(0, 1), 0, growing)
    assert of_round(found) == (2 * (416 + 29), 2 * 56)
    found = ledger(0.9, 0.7, found)  # goes on from the state
    found.round_trip(1, sent(1, 2), 0, growing)
    # to 1: the ten of round 0 as a bitmap, and the ten that enter; to 2: everything
    assert of_round(found) == (69 + 29 + 416 + 29, 2 * 96)
    found.round_trip(2, sent(0, 1), 0, growing)
    # to 0, away for a round: the union of what rounds 0 and 1 trained; to 1 the same of round 1
    assert of_round(found) == (2 * (109 + 29), 2 * 136)
    assert found.totals["bytes_up_main"] == 2 * (56 + 96 + 136)
    assert found.totals["bytes_down_bitmap"] == 3 * 416 + 69 + 2 * 109


def test_a_shrinking_mask_is_sent_as_values_of_the_old_one() -> None:
    found = ledger(0.7, 0.9)
    found.round_trip(0, sent(0), 0, shrinking)
    found.round_trip(1, sent(0), 1, shrinking)  # and a vector more, of all that ever trained
    assert of_round(found) == (136 + 29 + 136, 96)
    found.round_trip(2, sent(0), 0, shrinking)
    assert of_round(found) == (96 + 29, 56)


def test_who_is_asked_in_vain_has_the_model_from_then_on() -> None:
    found = ledger(0.9, 0.7, beside=7)
    found.round_trip(0, sent(0), 0, growing, asked=[0, 5])
    assert of_round(found) == (416 + 29 + 7 + 416 + 7, 56 + 2 * 20)
    found.round_trip(1, sent(5), 0, growing)
    assert of_round(found) == (69 + 29 + 7, 96)


def test_all_who_score_have_what_changed() -> None:
    found = ledger(0.9, 0.7, told=True)  # the first calibration sent the start
    found.round_trip(0, sent(0), 0, growing)
    assert of_round(found) == (16 + 29, 56)  # nothing has changed yet
    found.round_trip(1, sent(1), 0, growing, scored=Cost(up=600, down=60))
    # the ten of round 0 go to all six; then 1 needs the mask alone
    assert of_round(found) == (6 * 69 + 60 + 16 + 29, 600 + 96)


def test_a_client_s_own_mask_comes_with_its_first_upload_and_when_it_changes() -> None:
    mask = MaskConfig(sparsity=0.9, recalibrate=2, scope="per_client")
    found = ChangingLedger(100, mask, 4, {}, {}, clients=6)

    def own(client: int, round: int) -> Tensor:
        return first(10) if round < 2 else ~first(90)

    up = []
    for round in range(4):
        found.round_trip(round, sent(0), 0, own)
        up.append(of_round(found))
    # down: everything, then ten entries by the mask it knows; of another calibration by positions
    assert up == [(416, 69), (56, 56), (69, 69), (56, 56)]
