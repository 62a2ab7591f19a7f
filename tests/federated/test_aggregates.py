"""Robust aggregates: worked out by hand, whatever the order, and how far an attacker moves them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from fl_core.base.errors import ConfigError
from fl_core.config.methods import ROBUST
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.federated.aggregates import held
from fl_core.federated.aggregates.krum import scores_of, squared_distances
from fl_core.federated.aggregates.table import aggregate
from fl_core.federated.update import Update

FIVE = (0.0, 0.1, 0.2, 0.35, 10.0)
OWN: dict[str, dict[str, Value]] = {
    "trimmed_mean": {"aggregate.trim": 0.2},
    "norm_bound": {"aggregate.bound": 1.0},
}


def config(rule: str, **values: Value) -> TrialConfig:
    named = {f"aggregate.{name}": value for name, value in values.items()} or OWN.get(rule, {})
    return TrialConfig().override({"aggregate.rule": rule, **named})


def updates(
    params: Sequence[Tensor], weights: Sequence[int] | None = None, masks: Tensor | None = None
) -> list[Update]:
    return [
        Update(
            client=client,
            version=0,
            num_examples=1,
            weight=1 if weights is None else weights[client],
            sent={"params": one},
            kept={},
            train_loss=torch.zeros(()),
            images=1,
            mask=None if masks is None else masks[client],
        )
        for client, one in enumerate(params)
    ]


def one_entry(rule: str, values: Sequence[float], **fields: Value) -> float:
    rows = [torch.tensor([value]) for value in values]
    return float(aggregate(updates(rows), torch.zeros(1).double(), config(rule, **fields)))


@pytest.mark.parametrize(
    ("rule", "fields", "expected"),
    [
        ("median", {}, 0.2),
        ("trimmed_mean", {"trim": 0.2}, (0.1 + 0.2 + 0.35) / 3),
        ("trimmed_mean", {"trim": 0.0}, 10.65 / 5),
        ("norm_bound", {"bound": 0.3}, (0.1 + 0.2 + 0.3 + 0.3) / 5),
        ("geometric_median", {}, 0.2),  # of one entry it is the median
        # squares of the two nearest: 0.05, 0.02, 0.0325, 0.085, 188
        ("krum", {"byzantine": 1}, 0.1),
        ("multi_krum", {"byzantine": 1}, (0.0 + 0.1 + 0.2 + 0.35) / 4),
        ("multi_krum", {"byzantine": 0}, 10.65 / 5),
        ("bulyan", {"byzantine": 0}, 10.65 / 5),
    ],
)
def test_five_values_by_hand(rule: str, fields: dict[str, Value], expected: float) -> None:
    assert one_entry(rule, FIVE, **fields) == pytest.approx(expected, abs=1e-6)


def test_of_an_even_number_the_median_is_between_the_two_in_the_middle() -> None:
    assert one_entry("median", FIVE[1:]) == pytest.approx(0.275)
    assert one_entry("median", (1.0, 3.0)) == 2.0


def test_bulyan_by_hand() -> None:
    """Krum with f = 1 chooses five of seven: 2, 1, 3, 0 and of the rest (4, 50, 60) the 50, which
    has the 60 nearest to it; the three nearest to their median 2 are 1, 2, 3.
    """
    assert one_entry("bulyan", (0.0, 1.0, 2.0, 3.0, 4.0, 50.0, 60.0), byzantine=1) == 2.0


def test_krum_scores_by_hand() -> None:
    """Of squares, not of distances: with these the choice is another one."""
    rows = [torch.tensor([v]) for v in FIVE]
    distances = squared_distances(updates(rows), config("krum"))
    scores = scores_of(distances, 1)
    np.testing.assert_allclose(scores[:4], [0.05, 0.02, 0.0325, 0.085], rtol=1e-5)
    assert scores_of(distances.sqrt(), 1)[1] == pytest.approx(0.2)
    far = torch.full((3,), 1e4)  # a Gram matrix in float32 would say that these are apart by < 0
    near = updates([far, far + 1e-3, far - 1e-3])
    assert (squared_distances(near, config("krum", byzantine=0)) >= 0).all()
    assert float(squared_distances(near, config("krum", byzantine=0))[0, 1]) > 0


def test_the_geometric_median_weighs_examples() -> None:
    """Three corners of a triangle; then one with most of the weight, which it is."""
    corners = [torch.tensor(c) for c in ([0.0, 0.0], [4.0, 0.0], [2.0, 3.0])]
    start = torch.zeros(2).double()
    found = aggregate(updates(corners), start, config("geometric_median"))
    towards = torch.stack([(c - found) / (c - found).norm() for c in corners]).sum(0)
    assert float(towards.norm()) < 1e-4  # unit vectors balance
    heavy = aggregate(updates(corners, [1, 1, 5]), start, config("geometric_median"))
    torch.testing.assert_close(heavy, corners[2].double(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("rule", ROBUST)
@settings(derandomize=True, max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6), order=st.permutations(range(8)))
def test_the_order_of_clients_changes_no_bit(rule: str, seed: int, order: list[int]) -> None:
    """Ties included: some values are drawn twice."""
    rng = np.random.default_rng(seed)
    rows = [torch.from_numpy(rng.integers(-2, 3, 3) / 4).float() for _ in range(8)]
    sent = updates(rows, rng.integers(1, 9, 8).tolist())
    start = torch.zeros(3).double()
    wanted = aggregate(sent, start, config(rule))
    found = aggregate([sent[k] for k in order], start, config(rule))
    if rule == "norm_bound":  # one update at a time: who comes first, rounds first
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)
    else:
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("rule", ["mean", *ROBUST])
def test_how_far_one_attacker_moves_it(rule: str) -> None:
    """However far away it is; the mean follows it."""
    rng = np.random.default_rng(0)
    honest = [torch.from_numpy(rng.standard_normal(20)).float() for _ in range(9)]
    start = torch.zeros(20).double()
    moved = []
    for size in (1e3, 1e9):
        sent = updates([*honest, torch.full((20,), size)])
        moved.append(float(aggregate(sent, start, config(rule)).norm()))
    if rule == "mean":
        assert moved[1] > 1e8
    else:
        assert max(moved) < 6  # sqrt(20) is the norm of an honest one
        assert moved[0] == pytest.approx(moved[1], rel=1e-3)


@pytest.mark.parametrize("rule", ROBUST)
@pytest.mark.parametrize("masked", [False, True])
def test_in_chunks_it_is_the_same_to_the_bit(
    rule: str, masked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Values are small integers: their squares add up exactly, in whatever parts."""
    if masked and rule in ("krum", "multi_krum", "bulyan"):
        pytest.skip(f"{rule} refuses clients' own masks")
    rng = np.random.default_rng(1)
    rows = [torch.from_numpy(rng.integers(-8, 9, 101)).float() for _ in range(7)]
    masks = torch.from_numpy(rng.random((7, 101)) < 0.5) if masked else None
    start = torch.zeros(101).double()
    if masks is not None:
        rows = [torch.where(mask, row, 0.0) for mask, row in zip(masks, rows, strict=True)]
    found = []
    for chunk in (10**6, 7 * 10):
        monkeypatch.setattr(held, "CHUNK", chunk)
        found.append(aggregate(updates(rows, [1, 2, 3, 4, 5, 6, 7], masks), start, config(rule)))
    exact = rule != "geometric_median"  # its point is no integer after a step
    torch.testing.assert_close(*found, rtol=0 if exact else 1e-12, atol=0 if exact else 1e-12)


@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "geometric_median"])
def test_an_entry_is_decided_by_those_that_sent_it(rule: str) -> None:
    """The first entry by clients 0 to 2, the second by nobody: it stays as it was."""
    rows = [torch.tensor([v, -0.0]) for v in (1.0, 1.0, 1.0, 0.5, 0.5)]
    masks = torch.tensor([[True, False]] * 3 + [[False, False]] * 2)
    start = torch.tensor([0.5, -0.0]).double()
    found = aggregate(updates(rows, None, masks), start, config(rule))
    assert float(found[0]) == 1.0
    assert torch.signbit(found[1])


def test_a_user_s_rule_that_sends_more_is_refused_when_it_does() -> None:
    (update,) = updates([torch.zeros(2)])
    more = update._replace(sent={**update.sent, "control": torch.zeros(2)})
    for rule in ("median", "norm_bound"):
        with pytest.raises(ConfigError, match="summed, attackers' too"):
            aggregate([more], torch.zeros(2).double(), config(rule))


def test_a_round_with_too_few_clients_is_refused() -> None:
    with pytest.raises(ConfigError, match="krum needs 5 clients in a round, 3 took part"):
        one_entry("krum", (0.0, 1.0, 2.0), byzantine=1)
