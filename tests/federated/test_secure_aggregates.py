"""Aggregates that hide single updates: equal to the plain sum, whoever fails, or no sum at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_aggregates import updates
from test_fedavg import config, linear_federation
from torch import Tensor

from fl_core.base.errors import ConfigError
from fl_core.base.rng import stream
from fl_core.config.secure_combinations import check_modulus
from fl_core.config.trial_config import Value
from fl_core.federated.aggregates import secure_zero_sum
from fl_core.federated.aggregates.party import Joined, Party
from fl_core.federated.aggregates.secure import CLIPPED
from fl_core.federated.aggregates.table import aggregate, joined
from fl_core.federated.run import Run
from fl_core.federated.secure.quantise import Grid
from fl_core.federated.update import Update
from fl_core.optim.sgdm import Active

CLIENTS = 6
START = torch.from_numpy(stream(3, "start").standard_normal(28)).float()
START[::5] = -0.0
START[7] = 0.0


def party_of(rule: str, mask: Tensor | None = None, **own: Value) -> Party:
    """All six clients of unequal sizes, nobody fails."""
    values = {f"aggregate.{name}": value for name, value in own.items()}
    cfg = config(federation__clients=CLIENTS, federation__participation=1.0)
    fed = linear_federation(clients=CLIENTS)
    fed.shards = [np.arange(client + 1) for client in range(CLIENTS)]
    if mask is not None:
        fed.masks = lambda client: Active.of(mask)
    run = Run.of(cfg.override({"aggregate.rule": rule, **values}), fed)
    return Party(run, 3, range(CLIENTS))


def sent_to(party: Party, spread: float = 0.3, mask: Tensor | None = None) -> list[Update]:
    """By those who arrive, after steps of about this size."""
    moved = stream(5, "moved").standard_normal((CLIENTS, len(START)))
    moved[:, 3] = 0.0  # an entry that nobody changes
    rows = START + spread * torch.from_numpy(moved).float()
    if mask is not None:
        rows = torch.where(mask, rows, START)
    alive = set(party.beyond("sending"))
    found = updates(list(rows), [party.weight(client) for client in range(CLIENTS)])
    return [update for update in found if update.client in alive]


def after(party: Party, sent: list[Update]) -> Joined:
    return joined(sent, START.double(), party)


def plain_mean(party: Party, sent: list[Update]) -> Tensor:
    return aggregate(sent, START.double(), config())


# --- on the grid --------------------------------------------------------------------------------


@given(
    st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=1, max_size=5),
    st.integers(2, 24),
    st.floats(1e-3, 1e3),
    st.integers(1, 1000),
)
@settings(max_examples=200, deadline=None)
def test_the_mean_on_the_grid_is_within_half_a_step(
    rows: list[list[float]], bits: int, clip: float, weight: int
) -> None:
    """Whatever the number of clients and their weights; and 0 is 0."""
    grid = Grid(clip, bits)
    moved = clip * np.array(rows)
    weights = weight + np.arange(len(rows))
    coded = [grid.encoded(row, int(n)) for row, n in zip(moved, weights, strict=True)]
    total = np.sum([vector for vector, _ in coded], axis=0, dtype=np.uint64)
    assert all(not beyond for _, beyond in coded)
    assert int(total.max()) <= max(int(weights.sum()) << bits, int(weights.sum()))
    mean, together = grid.decoded(total)
    assert together == weights.sum()
    wanted = weights @ moved / weights.sum()
    assert np.abs(mean - wanted).max() <= clip / 2**bits * (1 + 1e-9)
    unmoved = wanted == 0 if len(rows) == 1 else (moved == 0).all(0)
    assert not mean[unmoved].any()


def test_what_is_beyond_the_grid_is_cut_and_counted() -> None:
    coded, beyond = Grid(1.0, 8).encoded(np.array([1.0, -1.0, 1.5, np.inf, np.nan, 0.0]), 3)
    assert beyond == 3
    assert coded.tolist() == [768, 0, 768, 768, 384, 384, 3]


# --- secure -------------------------------------------------------------------------------------

FAILURES: list[dict[int, str]] = [
    {},
    {0: "download", 3: "training"},
    {5: "sending", 1: "answering"},
    {2: "answering", 4: "training"},
]


@pytest.mark.parametrize("failed", FAILURES, ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_the_secure_mean_is_that_of_the_rounded_updates(
    failed: dict[int, str], masked: bool
) -> None:
    """To the bit: the protocol adds nothing but the rounding, whoever fails before or after."""
    mask = torch.arange(len(START)) % 3 > 0 if masked else None
    party = party_of("secure", mask, clip=1.0, bits=10, threshold=0.51)._replace(failed=failed)
    sent = sent_to(party, mask=mask)
    found = after(party, sent)
    grid, entries = (
        Grid(1.0, 10),
        torch.ones(len(START), dtype=torch.bool) if mask is None else mask,
    )
    total = np.zeros(int(entries.sum()) + 1, np.uint64)
    for update in sent:
        moved = (update.sent["params"].double() - START.double())[entries]
        total += grid.encoded(moved.numpy(), int(update.weight))[0]
    wanted = START.double()
    wanted[entries] += torch.from_numpy(grid.decoded(total)[0])
    wanted[wanted == START] = START[wanted == START].double()
    assert found.target is not None
    assert found.target.numpy().tobytes() == wanted.numpy().tobytes()


def test_rounding_is_the_only_difference_to_fedavg() -> None:
    """At most half a step, and less with every bit; what nobody changed keeps its bits."""
    for bits in (4, 8, 16, 24):
        party = party_of("secure", clip=2.0, bits=bits, modulus_bits=48)
        sent = sent_to(party)
        found = after(party, sent)
        assert found.target is not None
        apart = (found.target - plain_mean(party, sent)).abs().max()
        assert apart <= 2.0 / 2**bits
        assert found.target[3] == START[3]
        assert found.told[CLIPPED] == 0


def test_clipped_entries_are_told() -> None:
    party = party_of("secure", clip=0.1)
    sent = sent_to(party)
    moved = torch.stack([update.sent["params"] - START for update in sent]).double().abs()
    assert after(party, sent).told[CLIPPED] == pytest.approx(float((moved > 0.1).double().mean()))


@pytest.mark.parametrize("stage", ["download", "training", "sending", "answering"])
def test_too_few_survivors_are_no_sum(stage: str) -> None:
    """And what they have exchanged by then is told."""
    party = party_of("secure", threshold=0.6)  # 4 of 6
    enough = party._replace(failed=dict.fromkeys((0, 2), stage))
    assert after(enough, sent_to(enough)).target is not None
    few = party._replace(failed=dict.fromkeys((0, 2, 4), stage))
    found = after(few, sent_to(few))
    assert found.target is None
    assert found.exchanged[1].up > 0


def test_the_secrets_of_two_rounds_differ_and_the_result_does_not() -> None:
    party = party_of("secure")
    sent = sent_to(party)
    one, other = (after(party._replace(round=number), sent) for number in (0, 1))
    assert one.target is not None
    assert other.target is not None
    assert torch.equal(one.target, other.target)


# --- zero-sum noise -----------------------------------------------------------------------------


def test_noise_cancels_to_rounding() -> None:
    """Of numbers of the size of the noise, in float32."""
    party = party_of("secure_zero_sum", noise=1.0)
    sent = sent_to(party)
    found = after(party, sent)
    assert found.target is not None
    apart = (found.target - plain_mean(party, sent)).abs().max()
    assert 0 < apart < 1e-6


def test_without_noise_it_is_fedavg_to_the_bit() -> None:
    party = party_of("secure_zero_sum", noise=0.0)
    sent = sent_to(party)
    found = after(party, sent)
    assert found.target is not None
    assert torch.equal(found.target, plain_mean(party, sent))
    assert not found.exchanged


@pytest.mark.parametrize("missing", [1, CLIENTS - 1])
@pytest.mark.parametrize("stage", ["training", "sending"])
def test_the_noise_of_who_drops_out_stays_in_the_mean(missing: int, stage: str) -> None:
    """Its stated limit. Who fails before the clients agree takes nothing along."""
    party = party_of("secure_zero_sum", noise=1.0)
    for failed, broken in (({missing: "download"}, False), ({missing: stage}, True)):
        party = party._replace(failed=failed)
        sent = sent_to(party)
        found = after(party, sent)
        assert found.target is not None
        apart = (found.target - plain_mean(party, sent)).abs()
        assert (apart.mean() > 0.05) == broken
        assert (apart.max() < 1e-5) != broken


@pytest.mark.parametrize("rule", ["secure", "secure_zero_sum"])
def test_one_client_alone_is_no_sum(rule: str) -> None:
    party = party_of(rule)
    others = dict.fromkeys(range(1, CLIENTS), "download")
    for alone in (party._replace(failed=others), party._replace(asked=[0])):
        found = after(alone, sent_to(alone))
        assert found.target is None


def test_every_update_is_hidden() -> None:
    """What a client sends has the noise's size, the last one's too."""
    party = party_of("secure_zero_sum", noise=3.0)
    seen: list[Tensor] = []
    for update in secure_zero_sum._noisy(sent_to(party), party, list(range(CLIENTS))):
        assert update.exact is not None
        seen.append(update.exact - update.sent["params"].double())
    for noise in seen:
        assert 1.5 < float(noise[3:].std()) < 8


# --- both ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["secure", "secure_zero_sum"])
def test_what_would_not_be_hidden_is_refused(rule: str) -> None:
    party = party_of(rule)
    sent = sent_to(party)
    beside = [u._replace(sent={**u.sent, "more": torch.zeros(2)}) for u in sent]
    with pytest.raises(ConfigError, match="beside their parameters would not be hidden"):
        after(party, beside)
    with pytest.raises(ConfigError, match="does not know"):
        after(party, [u._replace(weight=0.5) for u in sent])


def test_a_modulus_that_the_sum_reaches_is_refused() -> None:
    cfg = config(federation__clients=100, data__name="owner.module:task")
    cfg = cfg.override({"aggregate.rule": "secure", "aggregate.modulus_bits": 20})
    check_modulus(cfg, 15)
    with pytest.raises(ConfigError, match=r"modulus_bits=20: a round's 16 examples .*needs 21"):
        check_modulus(cfg, 16)
