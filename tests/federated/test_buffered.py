"""FedBuff and FedAsync: FedAvg where all take as long, and the steps of the server by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from test_fedavg import config, linear_federation, plain, run
from torch import Tensor

from fl_core.base.errors import ConfigError
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.books import ledger_of
from fl_core.federated.results import RoundResult
from fl_core.federated.run import Run
from fl_core.federated.selection import Selection
from fl_core.federated.state import Federation, State
from fl_core.federated.timing.checks import check_devices
from fl_core.federated.timing.table import turnout_of
from fl_core.federated.timing.turnout import Turnout
from fl_core.federated.work import client_updates
from fl_core.optim.sgdm import Active

BUFFERED = {"timing__mode": "buffered", "federation__clients": 6, "federation__participation": 0.5,
            "local__steps": 3, "local__batch_size": 4, "local__lr": 0.3}  # fmt: skip
#: Every client takes as long: messages do not count.
SLOW = {"timing__speed": 1e-9, "timing__up": 1e12, "timing__down": 1e12}


def at_random(fed: Federation) -> State:
    return State(torch.randn(fed.model.layout.size, generator=torch.Generator().manual_seed(1)))


def coming(cfg: TrialConfig, fed: Federation, state: State) -> Turnout:
    run = Run.of(cfg, fed)
    return turnout_of(run, state, ledger_of(run, state, fed.before()))


def ends(cfg: TrialConfig, fed: Federation, client: int, version: int, params: Tensor) -> Tensor:
    """(P,) float64: where a client gets to alone, from the model of a version."""
    alone = Selection(np.array([client]))
    (update,) = client_updates(Run.of(cfg, fed), State(params, round=version), alone)
    return update.sent["params"].double()


@pytest.mark.parametrize("execution", ["sequential", "stacked"])
@pytest.mark.parametrize("masked", [False, True])
def test_with_a_full_buffer_and_equal_speeds_it_is_fedavg(execution: str, masked: bool) -> None:
    fed = linear_federation(clients=6)
    if masked:
        masks = [torch.rand(fed.model.layout.size) < 0.5 for _ in range(6)]
        fed.masks = lambda client: Active.of(masks[client])
    common = {**BUFFERED, **SLOW, "rounds": 6, "local__momentum": 0.9, "schedule__name": "cosine",
              "compute__execution": execution, "server__optimiser": "adam",
              "mask__scope": "per_client" if masked else "shared"}  # fmt: skip
    one = run(config(**common, timing__buffer=3), fed, at_random(fed))
    other = run(config(**{**common, "timing__mode": "synchronous"}), fed, at_random(fed))
    for ours, theirs in zip(one, other, strict=True):
        assert torch.equal(ours.state.params, theirs.state.params)
        assert plain(ours.metrics) == plain(theirs.metrics)
        assert ours.state.selected == theirs.state.selected


def speeds(folder: Path, seconds: Sequence[float]) -> str:
    """A table of clients that take so many billions of seconds for 12 examples."""
    rows = [f"{client},{12e-9 / s!r},1e12,1e12" for client, s in enumerate(seconds)]
    path = folder / "speeds.csv"
    path.write_text("\n".join(["client,speed,down,up", *rows]))
    return str(path)


def test_three_clients_of_speeds_1_2_and_5_by_hand(tmp_path: Path) -> None:
    """The queue of `test_queue`: when the server steps, and how stale what it steps with is."""
    fed = linear_federation(clients=3)
    cfg = config(**{**BUFFERED, "federation__clients": 3, "federation__participation": 1.0},
                 timing__buffer=2, timing__table=speeds(tmp_path, [1, 2, 5]), rounds=5)  # fmt: skip
    rows = [row for result in run(cfg, fed) for row in result.rounds]
    assert [row["staleness_mean"] for row in rows] == [0, 0, 1, 0.5, 0]
    assert [row["staleness_max"] for row in rows] == [0, 0, 2, 1, 0]
    moments = [round(row["virtual_seconds"] / 1e9, 6) for row in rows]
    assert moments == [2, 4, 5, 6, 8]


def test_a_table_with_windows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "windows.csv"
    path.write_text("client,speed,down,up,window\n" + "".join(f"{k},1,1,1,0.5\n" for k in range(6)))
    with pytest.raises(ConfigError, match="has windows, in which a round waits"):
        check_devices(config(**BUFFERED, timing__buffer=2, timing__table=str(path)))


@pytest.mark.parametrize(("staleness", "spread"), [(0.0, 1.0), (0.5, 1.0), (2.0, 1.0), (0.5, 0.0)])
def test_the_server_s_step_by_hand(staleness: float, spread: float) -> None:
    """w + sum v_k (w_k - w_old) / sum v_k, v_k = n_k (1 + s_k)^-a, in float64.

    Where all are as fast there are steps of updates that came with an earlier one's: nobody is sent
    out in them, and nobody's work may be lost.
    """
    fed = linear_federation(clients=6)
    fed.shards = np.split(np.concatenate(fed.shards), [4, 10, 20, 30, 44])
    cfg = config(**BUFFERED, timing__buffer=2, timing__staleness=staleness, rounds=12,
                 timing__speed_spread=spread)  # fmt: skip
    state, past, late = at_random(fed), list[Tensor](), 0
    for result in run(cfg, fed, state):
        past.append(state.params)
        turnout = coming(cfg, fed, state)
        moved, weight = torch.zeros_like(state.params, dtype=torch.float64), 0.0
        for client in turnout.chosen.clients.tolist():
            start = turnout.starts.get(client)
            version = state.round if start is None else start.version
            late += version < state.round
            share = len(fed.shards[client]) * (1 + state.round - version) ** -staleness
            moved += share * (ends(cfg, fed, client, version, past[version]) - past[version])
            weight += share
        wanted = (state.params.double() + moved / weight).float()
        torch.testing.assert_close(result.state.params, wanted, rtol=1e-6, atol=1e-7)
        state = result.state
        assert turnout.chosen.clients.size == 2
        assert result.metrics["bytes_up_round"] > 0
    assert late > 5


def test_an_update_of_the_current_model_arrives_to_the_bit() -> None:
    """One client of huge and tiny parameters: w + (w_k - w) would round."""
    fed = linear_federation(clients=1)
    same = {**BUFFERED, "federation__clients": 1, "timing__buffer": 1, "rounds": 1}
    start = at_random(fed)
    start.params[::2] *= 1e12
    (result,) = run(config(**same), fed, start)
    assert torch.equal(result.state.params.double(), ends(config(**same), fed, 0, 0, start.params))


@pytest.mark.parametrize("staleness", [0.0, 0.5])
def test_fedasync_mixes_in_the_model_itself(staleness: float) -> None:
    """w + alpha (1 + s)^-a (w_k - w), alpha = server.lr."""
    fed = linear_federation(clients=6)
    cfg = config(**BUFFERED, timing__buffer=1, timing__mixing="model", rounds=10, server__lr=0.6,
                 timing__staleness=staleness, timing__speed_spread=1.0, local__rule="prox",
                 local__mu=0.1)  # fmt: skip
    state, past, late = at_random(fed), list[Tensor](), 0
    for result in run(cfg, fed, state):
        past.append(state.params)
        turnout = coming(cfg, fed, state)
        (client,) = turnout.chosen.clients.tolist()
        start = turnout.starts.get(client)
        version = state.round if start is None else start.version
        late += version < state.round
        alpha = 0.6 * (1 + state.round - version) ** -staleness
        model = ends(cfg, fed, client, version, past[version])
        wanted = ((1 - alpha) * state.params.double() + alpha * model).float()
        torch.testing.assert_close(result.state.params, wanted, rtol=1e-6, atol=1e-7)
        state = result.state
    assert late > 3


def test_models_are_kept_as_long_as_a_client_works_on_them() -> None:
    """No longer, and as they were."""
    fed = linear_federation(clients=6)
    cfg = config(**BUFFERED, timing__buffer=1, rounds=15, timing__speed_spread=1.5)
    past, most = [at_random(fed).params], 0
    for result in run(cfg, fed, at_random(fed)):
        state = result.state
        versions = set(state.server["timing/versions"].tolist())
        kept = {n: t for n, t in state.server.items() if n.startswith("timing/model/")}
        assert kept.keys() == {f"timing/model/{version}" for version in versions}
        for version in versions:
            assert torch.equal(kept[f"timing/model/{version}"], past[version])
        assert len(state.server["timing/clients"]) <= 3
        most = max(most, len(versions))
        past.append(state.params)
    assert most > 1


def bytes_of(results: list[RoundResult], way: str) -> list[float]:
    return [row[f"bytes_{way}_round"] for result in results for row in result.rounds]


def test_who_is_at_work_at_the_end_has_had_its_model() -> None:
    """Dense: three downloads at first, then one for each that came back; two uploads a step."""
    fed = linear_federation(clients=6)
    cfg = config(**BUFFERED, timing__buffer=2, rounds=8, timing__speed_spread=1.0)
    found = run(cfg, fed)
    one = 16 + 4 * fed.model.layout.size
    assert set(bytes_of(found, "up")) == {2 * one}
    at_work = len(found[-1].state.server["timing/clients"])
    assert sum(bytes_of(found, "down")) == (2 * 8 + at_work) * one


def test_clients_that_fail_are_replaced_and_what_they_had_is_lost() -> None:
    fed = linear_federation(clients=6)
    cfg = config(**BUFFERED, timing__buffer=2, rounds=8, timing__speed_spread=1.0,
                 timing__dropout=0.5)  # fmt: skip
    found = run(cfg, fed)
    metrics = found[-1].metrics
    assert metrics["round"] == 8
    assert metrics["clients_lost"] > 3
    assert metrics["bytes_lost"] > 0
    one = 16 + 4 * fed.model.layout.size
    assert sum(bytes_of(found, "up")) > 16 * one  # some broke off while sending
    for cut in (1, 4, 7):  # and it goes on from anywhere
        again = run(cfg, fed, found[cut - 1].state)
        assert [plain(r.metrics) for r in again] == [plain(r.metrics) for r in found[cut:]]
        assert torch.equal(again[-1].state.params, found[-1].state.params)


def test_fifty_thousand_clients_cost_what_a_thousand_do() -> None:
    """The draws and the queue: less than 10 ms a step with ten of 50,000 at work."""
    import time

    fed = linear_federation(clients=6)
    cfg = config(**{**BUFFERED, "federation__clients": 50_000, "federation__participation": 2e-4},
                 timing__buffer=1, rounds=20, timing__speed_spread=1.0)  # fmt: skip
    fed = replace(fed, shards=Repeated(fed.shards))
    state, began = at_random(fed), time.perf_counter()
    for _ in range(20):
        turnout = coming(cfg, fed, state)
        state = replace(turnout.now.state, round=state.round + 1)
    assert time.perf_counter() - began < 0.2
    assert len(state.server["timing/clients"]) == 9


class Repeated(Sequence[np.ndarray]):
    """The shards of 50,000 clients, which are those of six."""

    def __init__(self, shards: Sequence[np.ndarray]) -> None:
        self._shards = shards

    def __len__(self) -> int:
        return 50_000

    def __getitem__(self, client: int) -> np.ndarray:  # type: ignore[override]
        return self._shards[client % len(self._shards)]
