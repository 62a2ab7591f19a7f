"""Overlap of masks: worked by hand, against sets, and with what chance gives."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_core.base.params import Layout
from fl_core.masks import overlap
from fl_core.masks.overlap import Row, expected_jaccard, overlap_table
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
    # 2 and 2 of 3 share one (J = 1/3) with probability 2/3, else both; 2 and 1 share the one (1/2)
    # with probability 2/3, else nothing
    both, one = 2 / 3 * 1 / 3 + 1 / 3, 2 / 3 * 1 / 2
    assert first["expected"] == pytest.approx((both + one + one) / 3)
    assert second["jaccard"] == pytest.approx((1 + 0 + 0) / 3)
    assert second["expected"] == pytest.approx(1 / 2)  # one of two each: the same, or not
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


def chance(size: int, a: int, b: int) -> float:
    """What the table expects of one pair."""
    return float(expected_jaccard(size, np.array([float(a)]), np.array([float(b)]))[0])


def by_counting(size: int, a: int, b: int) -> float:
    """Mean Jaccard index of one set of `a` with every set of `b` of `size` things, counted."""
    ways = {both: math.comb(a, both) * math.comb(size - a, b - both) for both in range(b + 1)}
    total = sum(Fraction(both * n, a + b - both) for both, n in ways.items() if n)
    return float(total / math.comb(size, b))


@pytest.mark.parametrize("size", range(1, 8))
def test_the_expectation_is_that_of_all_masks(size: int) -> None:
    """Every mask of b entries against one of a: what chance gives is no more and no less."""
    things = range(size)
    for a, b in product(range(size + 1), repeat=2):
        if a or b:
            one = set(range(a))
            others = [set(chosen) for chosen in combinations(things, b)]
            wanted = mean([len(one & other) / len(one | other) for other in others])
            assert chance(size, a, b) == pytest.approx(wanted)
            assert by_counting(size, a, b) == pytest.approx(wanted)


def test_masks_of_one_entry_overlap_entirely() -> None:
    """A tensor of one entry has one mask that is not empty: agreeing on it says nothing."""
    row, _ = table([bits("1")] * 3, layout_of(1))
    assert (row["jaccard"], row["expected"], row["excess"]) == (1, 1, 0)
    sparse = random_masks(200, torch.full((50,), 0.02))
    row, _ = table([mask for mask in sparse if int(mask.sum()) == 1], layout_of(50))
    assert row["expected"] == pytest.approx(1 / 50)
    assert number(row, "excess") == pytest.approx(0, abs=0.01)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 4000), st.floats(0, 1), st.floats(0, 1))
def test_the_expectation_of_large_masks_is_near(size: int, a: float, b: float) -> None:
    one, other = round(a * size), round(b * size)
    if one or other:
        found = chance(size, one, other)
        assert found == chance(size, other, one)
        terms = min(one, other) - max(0, one + other - size)
        close = 1e-12 if terms <= overlap.EXACT else 5e-4
        assert found == pytest.approx(by_counting(size, one, other), abs=close)


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
        expected = mean([by_counting(len(part), len(a), len(b)) for a, b in pairs])
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
