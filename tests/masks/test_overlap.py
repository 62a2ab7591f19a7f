"""Overlap of masks: worked by hand, against sets, and with what chance gives."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_core.base.params import Layout
from fl_core.masks import overlap
from fl_core.masks.overlap import Row, overlap_table
from fl_core.masks.select import pack

KEYS = ["layer", "size", "active_share", "jaccard", "expected", "excess"]


def layout_of(*sizes: int) -> Layout:
    return Layout.of((f"t{number}", torch.zeros(size)) for number, size in enumerate(sizes))


def bits(text: str) -> Tensor:
    """A mask from ones and zeros; blanks separate the tensors."""
    return torch.tensor([mark == "1" for mark in text.replace(" ", "")])


def table(masks: list[Tensor], layout: Layout, allowed: Tensor | None = None) -> list[Row]:
    scope = torch.ones(layout.size, dtype=torch.bool) if allowed is None else allowed
    return overlap_table([pack(mask) for mask in masks], layout, scope)


def number(row: Row, key: str) -> float:
    value = row[key]
    assert isinstance(value, (int, float))
    return value


def random_masks(count: int, densities: Tensor, seed: int = 0) -> list[Tensor]:
    """Independent masks; an entry is active with its own density."""
    rng = np.random.default_rng(seed)
    return [torch.from_numpy(rng.random(len(densities))) < densities for _ in range(count)]


def test_by_hand() -> None:
    """Two tensors of 4 and 2; the third entry of the first is out of scope."""
    masks = [bits("1100 10"), bits("1001 10"), bits("1000 01")]
    first, second, last = table(masks, layout_of(4, 2), bits("1101 11"))
    assert [list(row)[:6] for row in (first, second, last)] == [KEYS] * 3
    assert (first["layer"], first["size"], second["layer"], second["size"]) == ("t0", 3, "t1", 2)
    assert first["active_share"] == pytest.approx(5 / 9)
    assert first["jaccard"] == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    # densities 2/3, 2/3, 1/3: (4/9) / (8/9) once, (2/9) / (7/9) twice
    assert first["expected"] == pytest.approx((1 / 2 + 2 / 7 + 2 / 7) / 3)
    assert second["jaccard"] == pytest.approx((1 + 0 + 0) / 3)
    assert second["expected"] == pytest.approx(1 / 3)
    assert (last["layer"], last["size"]) == ("overall", 5)
    assert last["active_share"] == pytest.approx(8 / 15)
    assert last["jaccard"] == pytest.approx((2 / 4 + 1 / 4 + 1 / 4) / 3)
    assert last["excess"] == pytest.approx(number(last, "jaccard") - number(last, "expected"))
    # expected intersections: 2*2/3 + 1/2 = 11/6, then 2*1/3 + 1/2 = 7/6 twice
    given_layers = ((11 / 6) / (6 - 11 / 6) + 2 * (7 / 6) / (5 - 7 / 6)) / 3
    assert last["expected_given_layers"] == pytest.approx(given_layers)


def test_identical_masks_overlap_entirely() -> None:
    mask = bits("1100100 111 0000")
    first, second, empty, last = table([mask] * 4, layout_of(7, 3, 4))
    assert first["jaccard"] == second["jaccard"] == last["jaccard"] == 1
    assert second["excess"] == 0  # the whole tensor: chance gives as much
    assert empty["active_share"] == 0
    assert all(math.isnan(number(empty, key)) for key in KEYS[3:])


def test_a_single_mask_has_no_overlap() -> None:
    row, last = table([bits("1100")], layout_of(4))
    assert row["active_share"] == last["active_share"] == 0.5
    assert all(math.isnan(number(last, key)) for key in (*KEYS[3:], "expected_given_layers"))


def test_pairs_without_entries_are_left_out() -> None:
    row, _ = table([bits("0000"), bits("0000"), bits("1100")], layout_of(4))
    assert (row["jaccard"], row["expected"]) == (0, 0)
    assert row["active_share"] == pytest.approx(1 / 6)


def test_independent_masks_have_no_excess() -> None:
    layout = layout_of(20_000, 30_003)
    *_, last = table(random_masks(6, torch.full((layout.size,), 0.5)), layout)
    assert last["jaccard"] == pytest.approx(1 / 3, abs=0.005)
    assert last["expected"] == pytest.approx(1 / 3, abs=0.005)
    assert last["excess"] == pytest.approx(0, abs=0.003)
    assert last["expected_given_layers"] == pytest.approx(number(last, "expected"), abs=1e-3)


def test_same_layers_are_told_from_same_entries() -> None:
    """One tensor nearly dense, one nearly empty, independent inside: no entries in common."""
    layout = layout_of(30_000, 30_000)
    densities = torch.cat([torch.full((30_000,), 0.9), torch.full((30_000,), 0.1)])
    dense, sparse, last = table(random_masks(5, densities), layout)
    assert abs(number(dense, "excess")) < 0.005
    assert abs(number(sparse, "excess")) < 0.005
    assert number(last, "excess") > 0.3
    assert last["jaccard"] == pytest.approx(number(last, "expected_given_layers"), abs=0.003)
    same = torch.rand(60_000, generator=torch.Generator().manual_seed(0)) < 0.5
    entries = [same ^ flips for flips in random_masks(5, torch.full((60_000,), 0.05))]
    *_, last = table(entries, layout)
    assert last["expected_given_layers"] == pytest.approx(number(last, "expected"), abs=1e-3)
    assert number(last, "excess") > 0.4


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=5),
    st.integers(1, 5),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_against_sets(sizes: list[int], count: int, density: float, seed: int) -> None:
    """Chunks of three bytes, so that tensors begin, end and are cut anywhere."""
    layout = layout_of(*sizes)
    allowed = torch.from_numpy(np.random.default_rng(seed).random(layout.size) < 0.8)
    allowed[0] = True
    masks = random_masks(count, torch.full((layout.size,), density), seed + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "CHUNK", 3)
        rows = table(masks, layout, allowed)
    ends = np.cumsum(sizes)
    tensors = [set(range(end - size, end)) for end, size in zip(ends, sizes, strict=True)]
    scope = set(allowed.nonzero().flatten().tolist())
    parts = [part for tensor in tensors if (part := tensor & scope)]
    sets = [set(mask.nonzero().flatten().tolist()) & scope for mask in masks]
    for row, part in zip(rows, [*parts, scope], strict=True):
        assert row["size"] == len(part)
        assert row["active_share"] == pytest.approx(mean([len(s & part) for s in sets]) / len(part))
        pairs = [(a & part, b & part) for a, b in combinations(sets, 2) if (a | b) & part]
        jaccard = mean([len(a & b) / len(a | b) for a, b in pairs])
        chance = [(len(a) / len(part), len(b) / len(part)) for a, b in pairs]
        expected = mean([a * b / (a + b - a * b) for a, b in chance])
        assert row["jaccard"] == pytest.approx(jaccard, nan_ok=True)
        assert row["expected"] == pytest.approx(expected, nan_ok=True)
        assert row["excess"] == pytest.approx(jaccard - expected, nan_ok=True)
    given_layers = []
    for a, b in combinations(sets, 2):
        both = sum(len(a & part) * len(b & part) / len(part) for part in parts)
        if a | b:
            given_layers.append(both / (len(a) + len(b) - both))
    found = rows[-1]["expected_given_layers"]
    assert found == pytest.approx(mean(given_layers), nan_ok=True)
