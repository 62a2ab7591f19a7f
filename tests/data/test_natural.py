"""Clients that are the owners of the examples."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_core.base.errors import ConfigError
from fl_core.base.rng import stream
from fl_core.data.sharding import shard_natural


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.data())
def test_every_client_is_one_owner_with_all_that_it_has(
    owners: list[int], data: st.DataObject
) -> None:
    whose = np.array(owners)
    count = data.draw(st.integers(1, len(set(owners))))
    parts = shard_natural(whose, count, stream(0, "natural"))
    held = [set(whose[part]) for part in parts]
    assert all(len(one) == 1 for one in held)
    assert len(set.union(*held)) == count
    assert [len(part) for part in parts] == [owners.count(*one) for one in held]


def test_what_cannot_be_is_one_line() -> None:
    with pytest.raises(ConfigError, match=re.escape("clients=3: must be in [1, 2], the number of")):
        shard_natural(np.array([0, 5, 5]), 3, stream(0, "natural"))
    with pytest.raises(ConfigError, match="does not say whose its examples are"):
        shard_natural(None, 3, stream(0, "natural"))
