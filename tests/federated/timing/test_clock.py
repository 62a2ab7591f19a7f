"""The virtual clock: closed forms, what a slower or failing client changes, tables, refusals."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_fedavg import config, linear_federation, run

from fl_core.base.errors import ConfigError
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.messages import HEADER, length_of
from fl_core.federated.timing.checks import check_devices, check_reachable
from fl_core.federated.timing.devices import Device, devices_of
from fl_core.federated.timing.fates import (
    ANSWERING,
    ARRIVED,
    STAGES,
    Errand,
    answered,
    fate_of,
)

BASE = {"federation.clients": 6, "federation.participation": 0.5, "rounds": 3, "local.steps": 2,
        "local.batch_size": 5}  # fmt: skip
PARAMETERS = 28
MODEL = length_of(PARAMETERS, 0, "dense")
ERRAND = Errand(1000, 50, 400)
DEVICE = Device(10.0, 500.0, 100.0)  # 2 s, 5 s, 4 s
positive = st.floats(1e-3, 1e6)


def timed(**values: object) -> TrialConfig:
    named = {name.replace("__", "."): value for name, value in values.items()}
    return config().override({**BASE, **named})


PLAIN = timed()


def clock(cfg: TrialConfig) -> list[float]:
    """Virtual seconds after each round."""
    return [r.metrics["virtual_seconds"] for r in run(cfg, linear_federation())]


def test_clients_that_are_alike_take_the_plain_time() -> None:
    cfg = timed(timing__speed=4.0, timing__down=1000.0, timing__up=100.0)
    one = MODEL / 1000 + 2 * 5 / 4 + MODEL / 100
    assert clock(cfg) == pytest.approx([one, 2 * one, 3 * one], rel=1e-12)
    twice = timed(timing__speed=8.0, timing__down=2000.0, timing__up=200.0)
    assert clock(twice) == pytest.approx([one / 2, one, 1.5 * one], rel=1e-12)


def test_one_client_has_a_clock_too() -> None:
    cfg = timed(federation__clients=1, federation__participation=1.0, local__keep_momentum=True)
    fed = linear_federation(clients=1)
    (*_, last) = run(cfg, fed)
    one = MODEL / 750_000 + 2 * 5 / 100 + MODEL / 250_000
    assert last.metrics["virtual_seconds"] == pytest.approx(3 * one)


def test_a_round_takes_as_long_as_the_slowest_or_the_deadline() -> None:
    """And a deadline that everybody meets changes nothing."""
    cfg = timed(timing__speed_spread=1.0)
    devices, fed = devices_of(cfg), linear_federation()
    each = [Errand(MODEL, 10, MODEL).seconds(devices(client)) for client in range(6)]
    found = run(cfg.override({"federation.participation": 1.0}), fed)
    steps = np.diff([0.0, *(r.metrics["virtual_seconds"] for r in found)])
    assert steps == pytest.approx([max(each)] * 3)
    deadline = sorted(each)[3]  # which that client just meets
    late = run(cfg.override({"federation.participation": 1.0, "timing.deadline": deadline}), fed)
    assert late[-1].metrics["virtual_seconds"] == pytest.approx(3 * deadline)
    assert late[-1].state.selected == {k: 3 for k in range(6) if each[k] <= deadline}
    assert late[-1].metrics["clients_lost"] == 3 * 2
    enough = run(cfg.override({"timing.deadline": 1e6}), linear_federation())
    plain = run(cfg, linear_federation())
    assert (enough[-1].state.params == plain[-1].state.params).all()
    assert enough[-1].metrics["virtual_seconds"] == plain[-1].metrics["virtual_seconds"]


def test_those_asked_for_their_loss_take_their_time() -> None:
    """The model to all four and a number back; then the two who train have it."""
    cfg = timed(select__rule="power_of_choice", select__candidates=4, select__examples=3,
                timing__down=1000.0, timing__up=100.0, timing__speed=4.0, rounds=1)  # fmt: skip
    asking = MODEL / 1000 + 3 / 4 + (HEADER + 4) / 100
    assert clock(cfg) == pytest.approx([asking + 2 * 5 / 4 + MODEL / 100])


def test_the_clock_is_of_the_seed() -> None:
    cfg = timed(timing__speed_spread=1.0, timing__dropout=0.3)
    assert clock(cfg) == clock(cfg)
    assert clock(cfg) != clock(cfg.override({"seed": 1}))


def test_speeds_are_log_normal() -> None:
    devices = devices_of(timed(timing__speed_spread=0.5, timing__speed=7.0))
    logs = np.log([devices(client).speed / 7 for client in range(2000)])
    assert abs(logs.mean()) < 3 * 0.5 / math.sqrt(2000)
    assert logs.std() == pytest.approx(0.5, rel=0.06)


def test_as_many_drop_out_as_the_chance_says() -> None:
    """At each stage as many; where the server asks again, there too."""
    for rule, stages in (("mean", STAGES[:3]), ("secure", STAGES)):
        cfg = timed(timing__dropout=0.4)
        object.__setattr__(cfg.aggregate, "rule", rule)
        fates = [fate_of(cfg, 0, DEVICE, ERRAND, 0.0, turn) for turn in range(2000)]
        fates = answered(fates, 11.0)
        found = [fate.stage for fate in fates]
        for stage in stages:
            share = 0.4 / len(stages)
            error = math.sqrt(share * (1 - share) / 2000)
            assert found.count(stage) / 2000 == pytest.approx(share, abs=4 * error)
        assert {*found} == {*stages, ARRIVED}
        assert np.mean([f.done for f in fates if f.stage == "training"]) == pytest.approx(0.5, 0.1)


def test_failures_are_exponential() -> None:
    device = DEVICE._replace(failure_rate=0.05)
    cfg = timed()
    fates = [fate_of(cfg, 0, device, ERRAND, 0.0, turn) for turn in range(2000)]
    survive = np.mean([fate.stage == ARRIVED for fate in fates])
    assert survive == pytest.approx(math.exp(-0.05 * 11), abs=0.03)
    assert np.mean([fate.fails for fate in fates]) == pytest.approx(20, rel=0.1)


def test_a_fate_by_hand() -> None:
    def at(limit: float) -> tuple[str, float, float, int, float]:
        fate = fate_of(timed(), 0, DEVICE, ERRAND, 0.0, 0, limit)
        return fate.stage, fate.seconds, fate.share_down, fate.examples, fate.share_up

    assert at(1.0) == ("download", 1.0, 0.5, 0, 0.0)
    assert at(2.0) == ("training", 2.0, 1.0, 0, 0.0)
    assert at(4.5) == ("training", 4.5, 1.0, 25, 0.0)
    assert at(8.0) == ("sending", 8.0, 1.0, 50, 0.25)
    assert at(11.0) == (ARRIVED, 11.0, 1.0, 50, 1.0)
    (fate,) = answered([fate_of(timed(), 0, DEVICE, ERRAND, 0.0, 0)._replace(fails=12.0)], 12.5)
    assert fate.stage == ANSWERING
    assert fate.arrives


def test_who_leaves_at_work_fails_and_the_server_waits_for_who_comes() -> None:
    cfg = timed(timing__window=0.5, timing__day=20.0)
    device = DEVICE._replace(window=0.5, phase=0.25)  # there until 5 s, again from 15 s
    assert (device.opens_in(0.0, 20.0), device.closes_in(0.0, 20.0)) == (0.0, 5.0)
    assert fate_of(cfg, 0, device, ERRAND, 0.0, 0)[1:3] == ("training", 5.0)
    assert device.opens_in(6.0, 20.0) == pytest.approx(9.0)
    assert device.closes_in(15.0, 20.0) == pytest.approx(10.0)
    assert device._replace(window=1.0).closes_in(3.0, 20.0) == math.inf
    rare = timed(timing__window=0.05, timing__day=100.0, federation__participation=0.2, rounds=4)
    for result in run(rare, linear_federation()):
        assert sum(result.state.selected.values()) == result.state.round  # of a client each
    assert result.metrics["virtual_seconds"] > 20


@settings(max_examples=60, deadline=None)
@given(positive, positive, positive, st.floats(0, 1), st.integers(0, 9), st.floats(0.1, 50))
def test_a_slower_client_never_finishes_earlier(
    speed: float, down: float, up: float, slower: float, turn: int, limit: float
) -> None:
    """Whatever of it is slower; nor does a later end of the round lose it."""
    device = Device(speed, down, up)
    for name in ("speed", "down", "up"):
        worse = device._replace(**{name: getattr(device, name) * max(slower, 1e-3)})
        assert ERRAND.seconds(worse) >= ERRAND.seconds(device)
        fates = [fate_of(PLAIN, 0, d, ERRAND, 0.0, turn, limit) for d in (device, worse)]
        assert fates[0].seconds <= fates[1].seconds <= limit
        assert fates[0].arrives or not fates[1].arrives
    more = fate_of(PLAIN, 0, device, ERRAND, 0.0, turn, 2 * limit)
    assert more.arrives or not fates[0].arrives


def table(path: Path, text: str) -> TrialConfig:
    path.write_text(text)
    return timed(timing__table=str(path), federation__clients=2, federation__participation=1.0)


def test_a_table_says_what_devices_are(tmp_path: Path) -> None:
    text = "up,client,speed,down,failure_rate\n3,1,1,2,0\n30,0,10,20,0.5\n"
    cfg = table(tmp_path / "t.csv", text)
    assert devices_of(cfg)(1)[:5] == (1.0, 2.0, 3.0, 0.0, 1.0)
    assert devices_of(cfg)(0)[:5] == (10.0, 20.0, 30.0, 0.5, 1.0)
    other = table(tmp_path / "elsewhere.csv", text)
    assert other.digest() == cfg.digest()  # the content counts
    cfg = table(tmp_path / "t.csv", text.replace("0.5", "0.25"))
    assert other.digest() != cfg.digest()
    assert devices_of(cfg)(0).failure_rate == 0.25
    spaced = "\ufeff" + text.replace(",", ", ")  # as spreadsheets and people write it
    assert devices_of(table(tmp_path / "t.csv", spaced))(1)[:5] == (1.0, 2.0, 3.0, 0.0, 1.0)


HEAD = "client,speed,down,up\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HEAD + "0,1,1,1\n", "has no row for 1 clients: 1"),
        (HEAD + "0,1,1,1\n1,nan,1,1\n", "line 3: speed='nan' must be a number above 0"),
        (HEAD + "0,1,1,1\n1,1,-1,1\n", "line 3: down='-1' must be a number above 0"),
        (HEAD + "0,1,1,1\n1,1,1\n", "line 3: up=None must be"),
        (HEAD + "0,1,1,1\n0,1,1,1\n", "line 3: client 0 again"),
        (HEAD + "0.5,1,1,1\n", "line 2: client='0.5' is no client"),
        (HEAD + "0,1,1,1,9\n", "line 2: has more values than columns"),
        ("client,speed,down\n", "has no column up"),
        ("client,speed,down,up,colour\n", "column 'colour': must be client, speed"),
        ("client,speed,down,up,up\n", "column 'up': must be"),
        ("client,speed,down,up,window\n0,1,1,1,1.5\n", "line 2: window='1.5' is above 1"),
        ("\xff", "has no column client"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    cfg = table(tmp_path / "t.csv", text)
    with pytest.raises(ConfigError) as refusal:
        check_devices(cfg)
    assert reason in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_no_table_is_refused_in_one_line(tmp_path: Path) -> None:
    cfg = timed(timing__table=str(tmp_path / "none.csv"))
    for ask in (cfg.digest, lambda: check_devices(cfg)):
        with pytest.raises(ConfigError, match=r"timing\.table=.*cannot be read"):
            ask()


def test_a_table_that_lets_clients_fail_is_held_to_the_same(tmp_path: Path) -> None:
    rows = "".join(f"{client},1,1,1,0.1\n" for client in range(6))
    cfg = table(tmp_path / "t.csv", "client,speed,down,up,failure_rate\n" + rows)
    cfg = cfg.override({"federation.clients": 6, "aggregate.rule": "median"})
    with pytest.raises(ConfigError, match=r"lets clients fail: aggregate\.rule=median needs 3"):
        check_devices(cfg)


def test_what_nobody_has_the_time_for_is_refused() -> None:
    fed, least = linear_federation(), MODEL / 750_000 + 0.1 + MODEL / 250_000
    check_reachable(timed(timing__deadline=least * 1.001), fed)
    with pytest.raises(ConfigError, match=r"timing\.deadline=0\.1: nobody has the time"):
        check_reachable(timed(timing__deadline=0.1), fed)
    with pytest.raises(ConfigError, match=r"timing\.window=0\.5: nobody has the time"):
        check_reachable(timed(timing__deadline=1.0, timing__window=0.5, timing__day=0.1), fed)
