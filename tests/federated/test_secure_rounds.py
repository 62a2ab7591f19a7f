"""Rounds whose updates are hidden: who fails, what is sent, and rounds without a sum."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_fedavg import config, linear_federation, plain, run

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.party import Party
from fl_core.federated.aggregates.table import PROTOCOLS, joined, planned, upload_of
from fl_core.federated.results import RoundResult
from fl_core.federated.run import Run
from fl_core.federated.secure.messages import vector_bytes
from fl_core.federated.selections.table import select
from fl_core.federated.state import State
from fl_core.federated.work import client_updates

SIZE = 28  # parameters of the model


def hidden(rule: str, **values: Any) -> TrialConfig:
    cfg = config(federation__clients=6, federation__participation=1.0, rounds=8, local__steps=2)
    return cfg.override({"server.optimiser": "momentum", "aggregate.rule": rule, **values})


def bits(result: RoundResult) -> bytes:
    return result.state.params.numpy().tobytes()


@pytest.mark.parametrize("rule", PROTOCOLS)
def test_the_clock_reckons_with_what_is_exchanged(rule: str) -> None:
    """But that the last client of zero-sum noise hears of all the others."""
    cfg, fed = hidden(rule), linear_federation()
    run_, state = Run.of(cfg, fed), State(fed.model.flat.clone())
    party = Party(run_, 0, range(6))
    updates = client_updates(run_, state, select(state, fed, cfg))
    exchanged = dict(joined(updates, state.params.double(), party).exchanged)
    if rule == "secure_zero_sum":
        del exchanged[5]
    assert set(exchanged.values()) == {planned(cfg)}


def test_an_upload_is_as_long_as_its_packed_numbers() -> None:
    length = upload_of(hidden("secure", **{"aggregate.bits": 8, "aggregate.modulus_bits": 29}))
    assert length is not None
    assert length(SIZE) == vector_bytes(SIZE + 1, 29)
    assert upload_of(hidden("secure_zero_sum")) is None
    assert upload_of(hidden("mean")) is None


def test_a_round_without_enough_survivors_passes_without_a_step() -> None:
    """Nor does momentum move the parameters; it is told, and resumed to the bit."""
    cfg = hidden("secure", **{"timing.dropout": 0.4, "aggregate.threshold": 0.8})
    fed = linear_federation()
    lost, before = 0.0, fed.model.flat.clone()
    found = run(cfg, fed)
    passed = []
    for done, result in enumerate(found, start=1):
        now = result.metrics["rounds_lost"]
        same = torch.equal(result.state.params, before)
        assert same == (now > lost)
        passed.append(same)
        lost, before = now, result.state.params
        again = run(cfg, fed, result.state)
        assert [bits(r) for r in again] == [bits(r) for r in found[done:]]
        assert [plain(r.metrics) for r in again] == [plain(r.metrics) for r in found[done:]]
    assert 0 < sum(passed) < len(passed)


def test_rounds_in_which_nobody_is_left_pass() -> None:
    """What was exchanged by then counts as lost."""
    cfg = hidden("secure", **{"timing.dropout": 0.99})
    result = run(cfg, linear_federation())[-1]
    assert result.metrics["rounds_lost"] == 8
    assert result.metrics["bytes_lost"] >= result.metrics["bytes_up_protocol"] > 0


def test_noise_that_does_not_cancel_breaks_a_run_with_dropouts() -> None:
    """And only such a run."""
    drops = {"timing.dropout": 0.3}
    for values, least, most in (({}, 0.0, 1e-4), (drops, 0.5, 100.0)):
        pair = [run(hidden(r, **values), linear_federation()) for r in ("mean", "secure_zero_sum")]
        one, other = (found[-1].state.params for found in pair)
        assert least <= float((one - other).abs().max()) <= most
