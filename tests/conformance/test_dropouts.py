"""Clients that fail: for every method as if they had not been chosen, but for what it has cost."""

from __future__ import annotations

import numpy as np
import pytest
from methods import METHODS, Method
from tiny import allowed, configured, content, federation, results, rough, start

from fl_core.base.errors import ConfigError
from fl_core.config.methods import SECURE
from fl_core.config.trial_config import TrialConfig
from fl_core.federated import rounds
from fl_core.federated.ledger import Ledger
from fl_core.federated.messages import length_of
from fl_core.federated.results import RoundResult
from fl_core.federated.selection import Selection
from fl_core.federated.selections import table
from fl_core.federated.timing.turnout import Turnout
from fl_core.federated.update import Traffic

FIELDS = ("local.rule", "server.optimiser", "personal.rule", "aggregate.rule", "local.clip")
#: Secure aggregates are told who fails, and some fail with them: federated/test_secure_rounds.py.
SYNCHRONOUS = [m for m in METHODS if m.field in FIELDS and m.choice not in SECURE]


def observed(
    cfg: TrialConfig, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[RoundResult], list[Turnout]]:
    """The results of a run, and who turned out in its rounds."""
    seen: list[Turnout] = []
    original = rounds.turnout_of

    def watched(*args: object) -> Turnout:
        seen.append(original(*args))  # type: ignore[arg-type]
        return seen[-1]

    with monkeypatch.context() as patch:
        patch.setattr(rounds, "turnout_of", watched)
        return results(cfg), seen


def numbers(result: RoundResult) -> dict[str, object]:
    return {name: value for name, value in content(result.state).items() if name != "totals"}


@pytest.mark.parametrize("masks", ["dense", pytest.param("senders", marks=pytest.mark.soak)])
@pytest.mark.parametrize("method", SYNCHRONOUS, ids=str)
def test_as_if_those_who_fail_had_not_been_chosen(
    method: Method, masks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parameters, server's and clients' memories, weights, who took part: to the bit."""
    cfg = rough(configured(method, masks, federation__participation=0.8))
    try:
        failing = cfg.override({"timing.dropout": 0.35})
    except ConfigError:
        pytest.skip("it needs an update of everybody")
    found, turnouts = observed(failing, monkeypatch)
    arrived = [turnout.chosen.clients for turnout in turnouts]
    assert any(turnout.lost for turnout in turnouts)
    assert all(map(len, arrived))
    images = [
        fate.errand.examples for turnout in turnouts for fate in turnout.fates if fate.arrives
    ]
    assert found[-1].state.totals["images"] == sum(images)  # as they were known before
    monkeypatch.setitem(
        table.SELECTIONS,  # type: ignore[arg-type]
        "uniform",
        lambda state, fed, config: Selection(arrived[state.round]),
    )
    for one, other in zip(found, results(cfg), strict=True):
        assert numbers(one) == numbers(other)
        assert one.metrics["train_loss"] == other.metrics["train_loss"]


def test_what_becomes_of_a_client_is_its_own_affair(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever else is chosen."""
    cfg = configured(SYNCHRONOUS[0], timing__dropout=0.5, timing__speed_spread=1.0, rounds=1)
    fates = []
    for share in (0.5, 1.0):
        _, (turnout,) = observed(cfg.override({"federation.participation": share}), monkeypatch)
        fates.append({fate.client: fate for fate in turnout.fates})
    assert fates[0].items() < fates[1].items()


@pytest.mark.parametrize("masks", ["dense", "shared", "senders"])
def test_bytes_by_hand(masks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrived, as a ledger without failures counts it, and of the rest what was sent."""
    (plain,) = (m for m in METHODS if str(m) == "local.rule=scaffold/2")
    cfg = configured(plain, masks, timing__dropout=0.5, rounds=6)
    found, turnouts = observed(cfg, monkeypatch)
    fed = federation(cfg)
    size, sent, lost, images = fed.model.layout.size, 0, 0, 0
    ledger = Ledger(size, None if fed.masks is None else cfg.mask.scope, {})
    mask_of = (lambda c: None) if fed.masks is None else (lambda c: fed.masks(c).mask)  # type: ignore[misc]
    params, stages = start(fed).params, set()
    for turnout in turnouts:
        own = {f.client: ledger.parcel(params, _one(f.client), 1, mask_of) for f in turnout.fates}
        for fate in turnout.fates:
            parcel = own[fate.client]
            if fate.arrives:
                sent += parcel.bytes_down + parcel.bytes_up
                continue
            stages.add(fate.stage)
            down = int(fate.done * parcel.bytes_down)
            up = int(fate.done * parcel.bytes_up) if fate.stage == "sending" else 0
            lost += up + (down if fate.stage == "download" else parcel.bytes_down)
            done = {"download": 0.0, "training": fate.done, "sending": 1.0}[fate.stage]
            images += int(done * fate.errand.examples)
        arrived = [_one(client) for client in turnout.chosen.clients.tolist()]
        ledger.round_trip(params, arrived, 1, mask_of)
    metrics = found[-1].metrics
    assert metrics["bytes_lost"] == lost > 0
    assert metrics["bytes_up"] + metrics["bytes_down"] == sent + lost
    assert metrics["images_lost"] == images
    assert metrics["clients_lost"] == sum(len(turnout.lost) for turnout in turnouts)
    assert stages == {"download", "training", "sending"}
    if masks == "dense":
        assert turnouts[0].fates[0].errand.down == 2 * length_of(size, 0, "dense")


def _one(client: int) -> Traffic:
    return Traffic(client, 1, 0)


@pytest.mark.parametrize("rule", ["plain", "scaffold", "dyn", "ghbm", "cm"])
def test_a_round_without_updates_passes(rule: str) -> None:
    """A deadline that nobody meets: the parameters keep their bits, there is no loss to tell."""
    (method, *_) = (m for m in METHODS if m.field == "local.rule" and m.choice == rule)
    cfg = configured(method, timing__deadline=1e-3)
    fed = federation(cfg)
    before = start(fed)
    found = results(cfg, fed, before)
    assert len(found) == cfg.rounds
    for result in found:
        assert (result.state.params == before.params).all()
        assert not result.diverged
        assert "train_loss" not in result.metrics
        assert not result.state.selected
        (row,) = result.rounds
        assert row.keys() & {"train_loss", "client_drift"} == set()
    assert found[-1].metrics["virtual_seconds"] == pytest.approx(cfg.rounds * 1e-3)
    assert found[-1].metrics["clients_lost"] == cfg.rounds * cfg.federation.sampled


@pytest.mark.parametrize("rule", ["scaffold", "ghbm"])
def test_resume_under_dropout_is_exact(rule: str) -> None:
    """At every round; the clock goes on, and with it who is there."""
    (method, *_) = (m for m in METHODS if m.field == "local.rule" and m.choice == rule)
    cfg = configured(
        method, timing__dropout=0.6, timing__window=0.7, timing__day=1.0, timing__speed_spread=1.0
    )
    whole = results(cfg)
    for cut, result in enumerate(whole[:-1]):
        rest = results(cfg, state=result.state)
        for one, other in zip(whole[cut + 1 :], rest, strict=True):
            assert content(one.state) == content(other.state)
            assert one.metrics["virtual_seconds"] == other.metrics["virtual_seconds"]


def test_scaffold_s_control_is_the_mean_of_all_clients() -> None:
    """Its divisor is N, and its sum is over those who arrived."""
    (method, *_) = (m for m in METHODS if m.field == "local.rule" and m.choice == "scaffold")
    cfg = allowed(configured(method), timing__dropout=0.5, rounds=8)
    for result in results(cfg):
        state, clients = result.state, result.state.clients
        kept = sum(clients.of(client)["control"].double() for client in clients.clients())
        mean = np.asarray(kept) / cfg.federation.clients
        np.testing.assert_allclose(state.server["rule/control"].numpy(), mean, atol=1e-6)
        assert set(clients.clients()) == set(state.selected)
