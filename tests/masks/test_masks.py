"""Masks: exact counts with ties, rounds that only drop, the collapse guard, scopes, packing."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fl_core.base.errors import ConfigError
from fl_core.base.params import Layout
from fl_core.config.mask_section import MaskConfig
from fl_core.config.sections import BackboneConfig
from fl_core.masks import lowest as choice
from fl_core.masks.layers import layer_kinds, maskable
from fl_core.masks.lowest import Order
from fl_core.masks.select import (
    Calibrated,
    active_counts,
    calibrate_mask,
    combine,
    pack,
    soft_mask,
    unpack,
)
from fl_core.models.backbone import Classifier, build_backbone
from fl_core.models.heads import linear_head

GRANULARITIES = ("global", "tensor")
HUGE, TINY = torch.finfo(torch.float32).max, 1e-45
#: Few values, so that ties abound; -0.0 equals 0.0.
VALUES = (-float("inf"), -HUGE, -1.0, -TINY, -0.0, 0.0, TINY, 1.0, HUGE, float("inf"))


@cache
def vit() -> tuple[Classifier, Layout]:
    return model("vit_tiny_patch16_224", 64)


def model(name: str, size: int) -> tuple[Classifier, Layout]:
    backbone, features, _ = build_backbone(
        BackboneConfig(name=name, weights="random", image_size=size)
    )
    classifier = Classifier(backbone, linear_head(features, 100))
    return classifier, Layout.of(classifier.named_parameters())


@cache
def tied() -> Tensor:
    """Scores for the ViT with many ties."""
    return drawn(vit()[1].size, levels=50)


def layout_of(*sizes: int) -> Layout:
    return Layout.of((f"t{number}", torch.zeros(size)) for number, size in enumerate(sizes))


def drawn(size: int, seed: int = 0, levels: int = 0) -> Tensor:
    """Random scores; with `levels`, only so many distinct ones."""
    rng = np.random.default_rng(seed)
    if levels:
        return torch.from_numpy(rng.integers(0, levels, size).astype(np.float32))
    return torch.from_numpy(rng.random(size, np.float32))


def distinct(size: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).permutation(size).astype(np.float32))


def oracle(scores: Tensor, count: int) -> Tensor:
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    chosen[scores.argsort(stable=True)[:count]] = True
    return chosen


def by_place(size: int) -> Order:
    """Of equal scores the first."""
    return lambda: np.arange(size, dtype=np.float32)


def lowest(scores: Tensor, count: int) -> Tensor:
    return torch.from_numpy(choice.lowest(scores.numpy(), count, by_place(len(scores))))


def calibrated(
    scores: Tensor | Callable[[Tensor, int], Tensor],
    layout: Layout,
    allowed: Tensor | None = None,
    **fields: Any,
) -> Calibrated:
    score = scores if callable(scores) else lambda active, number: scores
    scope = torch.ones(layout.size, dtype=torch.bool) if allowed is None else allowed
    config = MaskConfig(**{"min_active": 0, **fields})
    return calibrate_mask(score, scope, layout, config, by_place(layout.size))


def per_tensor(mask: Tensor, layout: Layout) -> list[int]:
    return [int(view.sum()) for view in layout.views(mask).values()]


# --- lowest ---------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(VALUES), max_size=40), st.sampled_from([1, 4, 9, 99]), st.data())
def test_lowest_is_the_stable_sorts(values: list[float], sample: int, data: st.DataObject) -> None:
    """Also where the sample guesses badly."""
    scores = torch.tensor(values)
    count = data.draw(st.integers(0, len(values)))
    before = scores.clone()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "SAMPLE", sample)
        chosen = lowest(scores, count)
    assert chosen.dtype == torch.bool
    assert torch.equal(chosen, oracle(scores, count))
    assert torch.equal(scores, before)


@pytest.mark.parametrize("levels", [0, 1, 2, 50])
@pytest.mark.parametrize("share", [0.0, 1e-5, 0.1, 0.5, 0.9, 1.0])
def test_lowest_of_many(levels: int, share: float) -> None:
    scores = drawn(200_001, levels=levels) - levels // 2
    count = round(share * len(scores))
    assert torch.equal(lowest(scores, count), oracle(scores, count))


@pytest.mark.parametrize("levels", [0, 40])
@pytest.mark.parametrize("sample", [1, 5, 40, 150])
def test_lowest_wherever_the_sample_lies(
    sample: int, levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its two quantiles lie below, around, at or above the threshold: every count."""
    monkeypatch.setattr(choice, "SAMPLE", sample)
    scores = drawn(300, levels=levels)
    for count in range(301):
        assert torch.equal(lowest(scores, count), oracle(scores, count))


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_an_order_and_no_place_decides_between_equal_scores(granularity: str) -> None:
    """In every round the same order, so that a later round undoes nothing."""
    layout, order = layout_of(40, 60), drawn(100, 7)
    scores = drawn(100, levels=3)
    config = MaskConfig(min_active=2, sparsity=0.75, rounds=3, granularity=granularity)
    scope = torch.ones(100, dtype=torch.bool)
    found = calibrate_mask(lambda *_: scores, scope, layout, config, lambda: order.numpy()).mask
    apart = calibrated(scores + order / 10, layout, sparsity=0.75, granularity=granularity)
    assert torch.equal(found, apart.mask)
    assert not torch.equal(found, calibrated(scores, layout, sparsity=0.75).mask)
    half = choice.lowest(scores.numpy(), 50, lambda: order.numpy())
    assert torch.equal(torch.from_numpy(half), lowest(scores + order, 50))


def test_no_order_is_drawn_where_scores_differ() -> None:
    def refused() -> Any:
        raise AssertionError

    assert choice.lowest(distinct(50).numpy(), 20, refused).sum() == 20


def test_lowest_takes_equal_ones_by_order() -> None:
    assert lowest(torch.full((5,), 3.0), 2).tolist() == [True, True, False, False, False]
    zeros = torch.tensor([1.0, 0.0, -0.0, 0.0, -0.0])
    assert lowest(zeros, 3).tolist() == [False, True, True, True, False]


def test_lowest_at_the_ends() -> None:
    assert lowest(torch.zeros(0), 0).tolist() == []
    assert lowest(torch.zeros(1), 0).tolist() == [False]
    assert lowest(torch.zeros(1), 1).tolist() == [True]
    for count in (-1, 3):
        with pytest.raises(ValueError, match="of 2 scores"):
            lowest(torch.zeros(2), count)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_lowest_refuses_nan(count: int) -> None:
    with pytest.raises(ValueError, match="not a number"):
        lowest(torch.tensor([float("inf"), float("nan"), 0.0]), count)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same_mask_there() -> None:
    scores = drawn(100_000, levels=7)
    layout = layout_of(60_000, 40_000)
    allowed = torch.ones(layout.size, dtype=torch.bool, device="cuda")
    there = calibrated(scores.cuda(), layout, allowed, sparsity=0.9, rounds=2).mask
    assert there.is_cuda
    assert torch.equal(there.cpu(), calibrated(scores, layout, sparsity=0.9, rounds=2).mask)
    assert torch.equal(pack(there), pack(there.cpu()))


# --- calibration ----------------------------------------------------------------------------------


def test_counts_are_those_of_talos() -> None:
    assert active_counts(10_000, 0.9, 4) == [5623, 3162, 1778, 1000]
    fractions = [count / 10_000 for count in active_counts(10_000, 0.9, 4)]
    assert [round(fraction, 2) for fraction in fractions] == [0.56, 0.32, 0.18, 0.10]
    assert active_counts(10, 0.0, 3) == [10, 10, 10]
    assert active_counts(3, 0.9, 2) == [1, 0]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 10**8), st.floats(0, 1, exclude_max=True), st.integers(1, 12))
def test_counts_fall_to_the_last(size: int, sparsity: float, rounds: int) -> None:
    counts = active_counts(size, sparsity, rounds)
    assert len(counts) == rounds
    assert counts[-1] == round(size * (1 - sparsity))
    assert all(size >= one >= two >= 0 for one, two in pairwise([size, *counts]))


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize(
    ("sparsity", "rounds"),
    [(0.0, 1), (0.5, 1), (0.9, 3), (1.0, 2)],  # all of small layouts below
)
def test_counts_are_exact_on_a_vit(sparsity: float, rounds: int, granularity: str) -> None:
    """Fifty values only; 1.0 stands for all but one entry."""
    layout = vit()[1]
    sparsity = min(sparsity, 1 - 1 / layout.size)
    seen: list[int] = []

    def score(active: Tensor, number: int) -> Tensor:
        assert number == len(seen)
        seen.append(int(active.sum()))
        return tied().roll(number)

    result = calibrated(score, layout, sparsity=sparsity, rounds=rounds, granularity=granularity)
    expected = active_counts(layout.size, sparsity, rounds)
    assert [*seen, int(result.mask.sum())] == [layout.size, *expected]
    assert result.added == 0


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.floats(0, 0.99),
    st.integers(1, 6),
    st.sampled_from(GRANULARITIES),
    st.integers(0, 3),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_rounds_only_drop_and_keep_the_counts(
    sizes: list[int],
    sparsity: float,
    rounds: int,
    granularity: str,
    min_active: int,
    min_share: float,
    seed: int,
) -> None:
    """Fresh scores with ties in every round, some entries out of scope."""
    layout = layout_of(*sizes)
    allowed = drawn(layout.size, seed) < 0.7
    allowed[0] = True
    seen: list[Tensor] = []

    def score(active: Tensor, number: int) -> Tensor:
        seen.append(active.clone())
        scores = drawn(layout.size, seed + number, levels=5)
        return scores.where(active, -1.0)  # the dropped ones would be first

    fields = {"min_active": min_active, "min_share": min_share, "granularity": granularity}
    counts = active_counts(int(allowed.sum()), sparsity, rounds)
    if counts[-1] == min_active == min_share == 0:
        with pytest.raises(ConfigError, match=r"^mask\.sparsity=.*: freezes all"):
            calibrated(score, layout, allowed, sparsity=sparsity, rounds=rounds, **fields)
        return
    result = calibrated(score, layout, allowed, sparsity=sparsity, rounds=rounds, **fields)
    assert torch.equal(seen[0], allowed)
    for number, (before, after) in enumerate(pairwise([*seen, result.mask])):
        assert not (after & ~before).any()
        in_scope = per_tensor(allowed, layout)
        least = [min(n, max(min_active, int(np.ceil(min_share * n)))) for n in in_scope]
        active = per_tensor(after, layout)
        assert all(a >= b for a, b in zip(active, least, strict=True))
        assert sum(active) >= counts[number]
        if number == rounds - 1:
            assert result.added == sum(active) - counts[number]
        scores = drawn(layout.size, seed + number, levels=5).split(sizes)
        for t, (was, now) in enumerate(zip(before.split(sizes), after.split(sizes), strict=True)):
            assert torch.equal(now[was], oracle(scores[t][was], active[t]))  # always the best


@pytest.mark.parametrize("granularity", GRANULARITIES)
@pytest.mark.parametrize(("min_active", "min_share"), [(0, 0.0), (2, 0.0), (1, 0.15)])
@pytest.mark.parametrize("levels", [0, 3])
def test_with_fixed_scores_rounds_do_not_matter(
    granularity: str, min_active: int, min_share: float, levels: int
) -> None:
    layout, scores = layout_of(1, 40, 7, 300, 2), drawn(350, levels=levels)
    fields = {"granularity": granularity, "min_active": min_active, "min_share": min_share}
    one, four = (calibrated(scores, layout, sparsity=0.9, rounds=r, **fields) for r in (1, 4))
    assert torch.equal(one.mask, four.mask)
    assert one.added == four.added


def test_one_threshold_or_one_a_tensor() -> None:
    layout = layout_of(4, 4)
    scores = torch.tensor([1.0, 2, 3, 4, 5, 6, 7, 8])
    assert calibrated(scores, layout, sparsity=0.5).mask.tolist() == [True] * 4 + [False] * 4
    by_tensor = calibrated(scores, layout, sparsity=0.5, granularity="tensor").mask
    assert by_tensor.tolist() == [True, True, False, False] * 2


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.floats(0, 1), st.integers(1, 5))
def test_every_tensor_gets_its_share(sizes: list[int], sparsity: float, rounds: int) -> None:
    layout = layout_of(*sizes)
    total = round(layout.size * (1 - sparsity))
    if total and sparsity < 1:
        result = calibrated(
            distinct(layout.size), layout, sparsity=sparsity, rounds=rounds, granularity="tensor"
        )
        active = per_tensor(result.mask, layout)
        assert sum(active) == total
        share = total / layout.size
        assert all(abs(a - n * share) < 1 for a, n in zip(active, sizes, strict=True))


def test_no_round_gives_a_tensor_more_than_the_last() -> None:
    """By largest remainder alone it would: 0, 2, 15 of 17 in round 3, but 1, 1, 10 of 12 in 4."""
    layout = layout_of(2, 6, 50)
    counts: list[list[int]] = []

    def score(active: Tensor, number: int) -> Tensor:
        counts.append(per_tensor(active, layout))
        return distinct(layout.size)

    mask = calibrated(score, layout, sparsity=0.8, rounds=4, granularity="tensor").mask
    counts.append(per_tensor(mask, layout))
    assert [sum(row) for row in counts] == [58, 39, 26, 17, 12]
    assert counts[-1] == [1, 1, 10]
    assert all(a >= b for one, two in pairwise(counts) for a, b in zip(one, two, strict=True))


def test_the_guard_adds_the_best_of_a_collapsing_tensor() -> None:
    layout = layout_of(10, 3, 1)
    scores = torch.tensor([*range(10), 22, 20, 21, 30]).float()
    off = calibrated(scores, layout, sparsity=0.5)
    assert (per_tensor(off.mask, layout), off.added) == ([7, 0, 0], 0)
    one = calibrated(scores, layout, sparsity=0.5, rounds=3, min_active=1)
    assert (per_tensor(one.mask, layout), one.added) == ([7, 1, 1], 2)
    assert one.mask[11]
    assert one.mask[13]
    share = calibrated(scores, layout, sparsity=0.5, min_active=1, min_share=0.5)
    assert (per_tensor(share.mask, layout), share.added) == ([7, 2, 1], 3)
    assert share.mask[11:13].all()
    whole = calibrated(scores, layout, sparsity=0.5, min_active=99)
    assert (per_tensor(whole.mask, layout), whole.added) == ([10, 3, 1], 7)
    allowed = torch.ones(14, dtype=torch.bool)
    allowed[10:13] = False  # nothing maskable there, nothing to keep
    scoped = calibrated(scores, layout, allowed, sparsity=0.5, min_active=1)
    assert (per_tensor(scoped.mask, layout), scoped.added) == ([6, 0, 1], 1)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_sparsity_at_its_ends(granularity: str) -> None:
    layout = layout_of(5, 60, 35)
    allowed = torch.ones(100, dtype=torch.bool)
    allowed[5:7] = False
    scores = distinct(100)
    all_of_them = calibrated(scores, layout, allowed, granularity=granularity, sparsity=0.0)
    assert torch.equal(all_of_them.mask, allowed)
    last = calibrated(scores, layout, allowed, granularity=granularity, sparsity=1 - 1 / 98)
    assert int(last.mask.sum()) == 1
    tiny = calibrated(scores, layout, granularity=granularity, sparsity=0.999, min_active=1)
    assert (per_tensor(tiny.mask, layout), tiny.added) == ([1, 1, 1], 3)
    with pytest.raises(ConfigError, match=r"mask\.sparsity=0\.999: freezes all of the 100"):
        calibrated(scores, layout, granularity=granularity, sparsity=0.999)


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_most_and_least_are_complements(granularity: str) -> None:
    layout, scores = layout_of(40, 60, 100), distinct(200)
    least = calibrated(scores, layout, sparsity=0.8, granularity=granularity).mask
    most = calibrated(-scores, layout, sparsity=0.2, granularity=granularity).mask
    assert torch.equal(least, ~most)


# --- an absolute threshold -----------------------------------------------------------------------


def test_what_is_below_the_threshold_stays() -> None:
    layout, scores = layout_of(6, 4), torch.tensor([5.0, 1, 3, 2, 4, 3, 9, 8, 7, 6])
    found = calibrated(scores, layout, threshold=3.0)
    assert found.mask.nonzero().flatten().tolist() == [1, 3]  # below, not at
    assert found.added == 0
    guarded = calibrated(scores, layout, threshold=3.0, min_active=1)
    assert guarded.mask.nonzero().flatten().tolist() == [1, 3, 9]
    assert guarded.added == 1
    everything = calibrated(scores, layout, threshold=100.0)
    assert everything.mask.all()


def test_every_round_asks_again_of_what_is_left() -> None:
    """The damped model's scores are others; what was dropped does not come back."""
    rows = [torch.tensor([1.0, 2, 9, 1]), torch.tensor([1.0, 9, 1, 2])]
    found = calibrated(lambda active, number: rows[number], layout_of(4), threshold=3.0, rounds=2)
    assert found.mask.tolist() == [True, False, False, True]
    one = calibrated(lambda active, number: rows[number], layout_of(4), threshold=3.0)
    assert one.mask.tolist() == [True, True, False, True]


@pytest.mark.parametrize("min_active", [0, 1])
def test_a_threshold_that_nothing_is_below_is_one_line(min_active: int) -> None:
    """The guard's few entries are no mask that anybody asked for."""
    with pytest.raises(ConfigError) as caught:
        calibrated(torch.tensor([2.0, 4, 8]), layout_of(3), threshold=1.0, min_active=min_active)
    assert str(caught.value) == (
        "mask.threshold=1.0: nothing is below it: scores reach from 2 to 8, median 4"
    )


def test_scores_that_are_not_numbers() -> None:
    """Refused where they would be compared; what was dropped may score anything."""
    layout, nan = layout_of(4), float("nan")
    with pytest.raises(ValueError, match="not a number"):
        calibrated(torch.tensor([1.0, nan, 2, 3]), layout, sparsity=0.5)
    with pytest.raises(ValueError, match="not a number"):
        calibrated(torch.tensor([1.0, nan, 2, 3]), layout, threshold=0.5)

    def later(active: Tensor, number: int) -> Tensor:
        return torch.tensor([1.0, 2, 3, 4]).where(active, nan)

    mask = calibrated(later, layout, sparsity=0.75, rounds=2).mask
    assert mask.tolist() == [True, False, False, False]


@pytest.mark.parametrize(("weight", "dropped"), [(0.0, 0.0), (0.1, 0.4), (1.0, 4.0)])
def test_soft_mask(weight: float, dropped: float) -> None:
    params = torch.tensor([2.0, 4.0, 6.0, 8.0])
    active = torch.tensor([True, False, False, True])
    allowed = torch.tensor([True, True, False, True])
    soft = soft_mask(params, active, allowed, weight)
    assert soft.tolist() == pytest.approx([2, dropped, 6, 8])
    assert params.tolist() == [2, 4, 6, 8]
    soft[0] = 99  # a copy
    assert params[0] == 2


# --- scopes ---------------------------------------------------------------------------------------


def test_kinds_of_a_vit() -> None:
    module, layout = vit()
    kinds = layer_kinds(module)
    assert set(kinds) == set(layout.names)
    block = "backbone.blocks.3."
    assert {name: kinds[name] for name in layout.names if not name.startswith(block[:-2])} == {
        "backbone.cls_token": "embedding",
        "backbone.pos_embed": "embedding",
        "backbone.patch_embed.proj.weight": "conv",
        "backbone.patch_embed.proj.bias": "conv",
        "backbone.norm.weight": "norm",
        "backbone.norm.bias": "norm",
        "head.weight": "head",
        "head.bias": "head",
    }
    assert {name.removeprefix(block): kinds[name] for name in kinds if name.startswith(block)} == {
        f"{part}.{which}": kind
        for part, kind in {
            "norm1": "norm",
            "attn.qkv": "attention",
            "attn.proj": "attention",
            "norm2": "norm",
            "mlp.fc1": "linear",
            "mlp.fc2": "linear",
        }.items()
        for which in ("weight", "bias")
    }


def test_kinds_of_other_models() -> None:
    assert layer_kinds(linear_head(8, 3)) == {"weight": "head", "bias": "head"}
    cnn, _ = model("cnn", 32)
    kinds = {name.removesuffix(".weight"): kind for name, kind in layer_kinds(cnn).items()}
    assert kinds["backbone.0"] == kinds["backbone.3"] == "conv"
    assert kinds["backbone.7"] == "linear"
    assert kinds["head"] == kinds["head.bias"] == "head"
    resnet, layout = model("resnet18_gn", 32)
    kinds = layer_kinds(resnet)
    assert set(kinds) == set(layout.names)
    assert set(kinds.values()) == {"conv", "norm", "head"}
    assert {kinds[n] for n in kinds if "bn" in n or "downsample.1" in n} == {"norm"}
    attention = nn.Sequential(nn.MultiheadAttention(4, 2), nn.Linear(4, 4))
    assert {layer_kinds(attention)[n] for n in ("0.in_proj_weight", "0.out_proj.weight")} == {
        "attention"
    }
    assert layer_kinds(attention)["1.weight"] == "linear"
    below = nn.ModuleDict({"body": nn.ModuleDict({"head": nn.Linear(2, 2)})})
    assert set(layer_kinds(below).values()) == {"linear"}  # the top-level child alone is the head


def test_maskable_is_the_union_of_its_kinds() -> None:
    module, layout = vit()
    kinds = layer_kinds(module)
    for layers in ("all", "norm", "linear+attention", "conv+head"):
        wanted = set(kinds.values()) if layers == "all" else set(layers.split("+"))
        views = layout.views(maskable(module, layout, layers))
        for name, view in views.items():
            assert view.all() if kinds[name] in wanted else not view.any()
    part = Layout.of((n, p) for n, p in module.named_parameters() if "norm1" in n)
    assert maskable(module, part, "norm").all()


def test_a_scope_that_matches_nothing_is_one_line() -> None:
    module, layout = model("cnn", 32)
    with pytest.raises(ConfigError) as caught:
        maskable(module, layout, "attention+norm")
    assert str(caught.value) == (
        "mask.layers='attention+norm': matches nothing; here are linear, conv, head"
    )


@pytest.mark.parametrize("granularity", GRANULARITIES)
def test_what_is_out_of_scope_stays_frozen(granularity: str) -> None:
    module, layout = vit()
    allowed = maskable(module, layout, "attention+norm")
    scores = drawn(layout.size).where(allowed, -1.0)
    fields = {"sparsity": 0.9, "granularity": granularity, "min_active": 1}
    mask = calibrated(scores, layout, allowed, **fields).mask
    assert not (mask & ~allowed).any()
    assert int(mask.sum()) == round(0.1 * int(allowed.sum()))


# --- packing --------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.booleans(), max_size=70))
def test_packing_is_one_bit_an_entry(bits: list[bool]) -> None:
    mask = torch.tensor(bits, dtype=torch.bool)
    packed = pack(mask)
    assert packed.dtype == torch.uint8
    assert len(packed) == -(-len(bits) // 8)
    assert unpack(packed, len(bits)).tolist() == bits


def test_a_hundred_masks_fit() -> None:
    packed = pack(torch.ones(21_700_000, dtype=torch.bool))
    assert 100 * packed.untyped_storage().nbytes() < 300e6


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="2 bytes cannot hold a mask of 17"):
        unpack(pack(torch.ones(16, dtype=torch.bool)), 17)


@pytest.mark.parametrize(("number", "size"), product([1, 2, 3, 4, 7], [1, 8, 61]))
def test_combined_masks(number: int, size: int) -> None:
    rows = torch.stack([drawn(size, seed) < 0.5 for seed in range(number)])
    expected = {
        "union": rows.any(0),
        "intersection": rows.all(0),
        "majority": 2 * rows.sum(0) > number,
    }
    for how, mask in expected.items():
        combined = combine((pack(row) for row in rows), how)
        assert torch.equal(combined, pack(mask))
    with pytest.raises(ValueError, match="must be union"):
        combine([pack(rows[0])], "mean")
