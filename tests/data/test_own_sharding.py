"""A partition of the user's own: what it is given, what it may give."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fl_core.base.errors import ConfigError
from fl_core.base.rng import stream
from fl_core.config.sections import FederationConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sharding import PARTITION_READS, shard

LABELS = np.arange(12) % 3
OWNERS = np.repeat([7, 8], 6)


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("my_parts")
    monkeypatch.setitem(sys.modules, "my_parts", module)
    return module


def config(name: str = "parts", **values: Any) -> FederationConfig:
    return FederationConfig(clients=2, sharding=f"my_parts:{name}", **values)


def test_it_is_given_all_that_ours_know(mine: ModuleType) -> None:
    given: list[Any] = []

    def parts(labels: Any, federation: Any, rng: Any, owners: Any) -> list[Any]:
        given[:] = [labels, federation, rng.random(), owners]
        return [np.array([4, 2], dtype=np.uint8), [0]]  # the others are nobody's

    mine.parts = parts  # type: ignore[attr-defined]
    found = shard(LABELS, config(alpha=0.1), stream(1, "shard"), OWNERS)
    assert [part.tolist() for part in found] == [[2, 4], [0]]
    assert all(part.dtype == np.int64 for part in found)
    assert given[0] is LABELS
    assert given[1] == (2, None, 0.1)
    assert {f"federation.{name}" for name in given[1]._fields} < set(PARTITION_READS)
    assert given[2] == stream(1, "shard").random()
    assert given[3] is OWNERS


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, "must give a list of 2 index arrays, one a client, not NoneType"),
        ([[0], [1], [2]], "must give a list of 2 index arrays, one a client, not 3 parts"),
        ([[0], []], "client 1 needs whole numbers, at least one, not float64 of shape (0,)"),
        ([[0], [[1]]], "client 1 needs whole numbers, at least one, not int64 of shape (1, 1)"),
        ([[True], [1]], "client 0 needs whole numbers, at least one, not bool of shape (1,)"),
        ([[0], [1, 12]], "client 1 needs indices in [0, 11], not 1 to 12"),
        ([[0, -1], [1]], "client 0 needs indices in [0, 11], not -1 to 0"),
        ([[0, 1], [1]], "gives example 1 2 times: each may be one client's"),
        ([[3, 3], [1]], "gives example 3 2 times: each may be one client's"),
    ],
)
def test_what_is_no_partition_is_one_line(given: Any, why: str, mine: ModuleType) -> None:
    mine.parts = lambda labels, federation, rng, owners: given  # type: ignore[attr-defined]
    with pytest.raises(ConfigError) as caught:
        shard(LABELS, config(), stream(0, "shard"))
    assert str(caught.value) == f"federation.sharding='my_parts:parts': {why}"


def test_what_cannot_be_called_so_is_one_line(mine: ModuleType) -> None:
    mine.parts = lambda labels, clients: []  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"callable with \(labels, federation, rng, owners\)"):
        shard(LABELS, config(), stream(0, "shard"))


def test_its_parameters_may_be_anything() -> None:
    values = {"federation.sharding": "my_parts:parts", "federation.alpha": 0.1}
    TrialConfig().override({**values, "federation.classes_per_client": 3})
    with pytest.raises(ConfigError, match=r"^federation.alpha=0.1: only for"):
        TrialConfig().override({**values, "federation.sharding": "iid"})
