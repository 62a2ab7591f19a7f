"""How much clients do in a round where it follows the training: against the equations."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_fedavg import CLASSES, WIDTH, config, linear_federation, plain, run
from torch import Tensor

from fl_core.base.rng import stream
from fl_core.config.method_sections import ScheduleConfig
from fl_core.config.steps_done import rounds_of, single_rounds, steps_before
from fl_core.federated.account import steps_done
from fl_core.federated.evaluate import evaluate
from fl_core.federated.memory import ClientMemory
from fl_core.federated.pace.adacomm import fewer
from fl_core.federated.pace.noise_scale import NOISE_SCALE, estimate, noise_scale
from fl_core.federated.pace.pace import Memory
from fl_core.federated.schedule import step_rates
from fl_core.federated.state import State
from fl_core.federated.update import Measured, Update

ADACOMM = {"schedule__steps": "adacomm", "schedule__interval": 1, "local__steps": 16}
NOISE = {"schedule__batch": "noise_scale", "local__batch_size": 4, "schedule__smoothing": 0.0}
SMALL = {"federation__clients": 6, "federation__participation": 0.5, "local__lr": 0.3}


# --- AdaComm ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "ratio", "shrink", "after"),
    [
        (16, 1.0, 1.0, 16),
        (16, 0.25, 1.0, 8),
        (16, 0.26, 1.0, 9),  # ceil(8.16)
        (8, 0.5, 1.0, 8),  # 12 would be more
        (16, 4.0, 1.0, 16),  # nor does a loss that rises lengthen a round
        (16, 0.0, 1.0, 1),
        (16, 1.0, 0.5, 8),
        (8, 0.5, 0.5, 4),
        (1, 1.0, 0.5, 1),
        (16, 0.25, 0.5, 8),  # the loss asks for fewer: no factor
        (16, math.nan, 0.5, 16),
        (16, math.inf, 0.5, 16),
    ],
)
def test_j_by_hand(before: int, ratio: float, shrink: float, after: int) -> None:
    cfg = config(**ADACOMM, schedule__shrink=shrink)
    assert fewer(cfg, before, 2.0 * ratio, 2.0) == after
    assert fewer(cfg, before, 1.0, 0.0) == before  # of no loss at the start there is no share


def told(cfg_values: dict[str, object], losses: list[float], rounds: int) -> list[int]:
    """J of every round of a run in which the clients find these losses."""
    cfg = config(**{**SMALL, "rounds": rounds, **cfg_values})
    left = iter(losses)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Measured, "first_loss", property(lambda self: next(left)))
        results = run(cfg, linear_federation())
    return [int(row["steps_round"]) for result in results for row in result.rounds]


def test_j_follows_the_loss_of_the_round_before() -> None:
    assert told(ADACOMM, [4.0, 2.0, 1.0, 3.0, 1.0], 5) == [16, 16, 12, 8, 8]


def test_the_mean_of_an_interval() -> None:
    values = {**ADACOMM, "schedule__interval": 2}
    assert told(values, [4.0, 2.0, 1.5, 0.5, 9.0, 9.0], 6) == [16, 16, 14, 14, 8, 8]


def test_a_rate_that_decays_asks_for_more_steps() -> None:
    """sqrt(eta_0 F / (eta F_0)): half the loss at half the rate leaves J as it is."""
    values = {**ADACOMM, "schedule__name": "step", "schedule__gamma": 0.5,
              "schedule__step_size": 0.5}  # fmt: skip
    assert told(values, [4.0, 3.0, 2.0, 0.5], 4) == [16, 16, 16, 16]
    assert told(values, [4.0, 1.0, 2.0, 0.5], 4)[2:] == [12, 12]  # sqrt(2/4) * 16 at half the rate
    warm = {**ADACOMM, "schedule__name": "warmup_cosine", "schedule__warmup": 0.9}
    assert told(warm, [4.0] * 4, 4) == [16] * 4


@pytest.mark.parametrize("execution", ["stacked", "sequential"])
def test_a_constant_loss_is_fedavg_to_the_bit(
    execution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {**SMALL, "rounds": 8, "local__steps": 5, "compute__execution": execution}
    monkeypatch.setattr(Measured, "first_loss", property(lambda self: 0.7))
    one = run(config(**values, schedule__steps="adacomm"), linear_federation())
    other = run(config(**values), linear_federation())
    for a, b in zip(one, other, strict=True):
        assert a.state.params.numpy().tobytes() == b.state.params.numpy().tobytes()
        differ = {name for name, _ in plain(a.metrics).items() ^ plain(b.metrics).items()}
        assert all(name.startswith(("bytes_", "virtual_")) for name in differ)  # of numbers told


@pytest.mark.parametrize("execution", ["stacked", "sequential"])
def test_the_loss_is_that_of_the_model_that_was_sent(execution: str) -> None:
    """On whole shards: of the server's model on the round's examples, before any step."""
    cfg = config(**ADACOMM, federation__clients=6, federation__participation=1.0, rounds=2,
                 local__batch_size=60, compute__execution=execution)  # fmt: skip
    fed = linear_federation()
    first, second = run(cfg, fed)
    start = first.state.server["schedule/start_loss"]
    assert float(start) == pytest.approx(math.log(CLASSES), rel=1e-6)  # of zeros
    assert start.dtype == torch.float64
    fed.model.flat.copy_(first.state.params)
    everything = fed.train.subset(np.concatenate(fed.shards))
    now = evaluate(fed.model.module, everything, "float32").loss
    steps = math.ceil(16 * math.sqrt(now / float(start)))
    assert int(second.state.server["schedule/steps"]) == steps < 16


def test_what_was_done_is_summed() -> None:
    cfg = config(**SMALL, **ADACOMM, rounds=5, eval_every=2, local__batch_size=4)
    found = run(cfg, linear_federation())
    rounds = [row for result in found for row in result.rounds]
    each = [row["steps_round"] for row in rounds]
    assert each[0] > each[-1] >= 1
    assert [row["local_steps"] for row in rounds] == np.cumsum(each).tolist()
    assert found[-1].metrics["local_steps"] == sum(each)
    assert found[-1].state.totals["images"] == 3 * 4 * sum(each)  # clients, batch
    assert not any("batch_round" in row or "noise_scale" in row for row in rounds)


def test_a_checkpoint_of_before_has_done_j_in_every_round() -> None:
    cfg = config(**SMALL, rounds=4, local__steps=3)
    whole = run(cfg, linear_federation())
    old = whole[1].state
    old = replace(old, totals={n: v for n, v in old.totals.items() if n != "steps"})
    assert steps_done(cfg, old) == 6
    later = run(cfg, linear_federation(), old)
    assert [r.metrics["local_steps"] for r in later] == [9, 12]
    assert later[-1].state.totals["steps"] == whole[-1].state.totals["steps"]


# --- noise scale --------------------------------------------------------------------------------


def test_expected_norms_give_the_true_scale() -> None:
    """E|G_b|^2 = |G|^2 + S / b, put in, gives S and |G|^2."""
    noise, signal, b, clients = 7.0, 0.3, 5.0, 4
    found = estimate(signal + noise / b, signal + noise / (clients * b), b, clients)
    assert found == pytest.approx((noise, signal))
    large, small = signal + noise / (clients * b), signal + noise / b  # as the paper writes it
    big = clients * b
    assert found[1] == pytest.approx((big * large - b * small) / (big - b))
    assert found[0] == pytest.approx((small - large) / (1 / b - 1 / big))


def of_round(gradients: Tensor, examples: list[int], rate: float, memory: Memory) -> Memory:
    """What is remembered after a round in which each client takes one step along its row."""
    cfg = config(**NOISE)
    start = torch.zeros(gradients.shape[1])
    measured = Measured(start, moves=True)
    measured.begin(start, ClientMemory.empty())
    for k, (grad, count) in enumerate(zip(gradients, examples, strict=True)):
        sent = {"params": (start - rate * grad).float()}
        update = Update(k, 0, 10, 10, sent, {}, torch.tensor(0.0), count, travel=rate)
        list(measured.passing([update]))
    return NOISE_SCALE.after(cfg, memory, 1, measured)


def test_gaussian_gradients_of_a_known_scale() -> None:
    """Clients with unequal numbers of examples, 300 rounds, within five standard errors."""
    rng, size, examples = stream(0, "toy"), 12, [2, 3, 6, 4]
    mean, deviations = rng.standard_normal(size), rng.random(size) + 0.5
    noise, signal = float((deviations**2).sum()), float(mean @ mean)
    drawn = []
    for _ in range(300):
        rows = [mean + deviations * rng.standard_normal(size) / math.sqrt(b) for b in examples]
        memory = of_round(torch.from_numpy(np.array(rows)), examples, 0.3, {})
        drawn.append((memory["noise"], memory["signal"]))
    found, error = np.mean(drawn, 0), np.std(drawn, 0) / math.sqrt(len(drawn))
    assert (np.abs(found - (noise, signal)) < 5 * error).all()
    assert found[0] / found[1] == pytest.approx(noise / signal, rel=0.1)


def test_one_step_of_a_model_measures_its_own_gradients() -> None:
    """Batches drawn from N examples without replacement: unbiased for S, the trace of the sample
    covariance (ddof = 1) of the examples' gradients, and for |G|^2 - S / N.
    """
    fed = linear_federation()
    cfg = config(**NOISE, federation__clients=6, federation__participation=1.0, rounds=1,
                 local__steps=1, local__lr=0.5)  # fmt: skip
    rows = np.concatenate(fed.shards)
    x = torch.cat([fed.train.features[rows], torch.ones(len(rows), 1)], 1).double()  # type: ignore[attr-defined]
    gap = torch.full((len(rows), CLASSES), 1 / CLASSES, dtype=torch.float64)
    gap[torch.arange(len(rows)), fed.train.labels[rows]] -= 1
    each = torch.einsum("nc,nw->ncw", gap, x).flatten(1)  # of a head of zeros
    assert each.shape[1] == CLASSES * (WIDTH + 1)
    noise = float(each.var(0, correction=1).sum())
    signal = float(each.mean(0).square().sum()) - noise / len(rows)
    found, zeros = [], State(torch.zeros_like(fed.model.flat))
    for seed in range(80):
        fed.shards = np.array_split(rows[stream(seed, "toy shard").permutation(len(rows))], 6)
        server = run(cfg.override({"seed": seed}), fed, zeros)[0].state.server
        found.append([float(server[f"schedule/{name}"]) for name in ("noise", "signal")])
    error = np.std(found, 0) / math.sqrt(len(found))
    assert (np.abs(np.mean(found, 0) - (noise, signal)) < 4 * error).all()
    assert (error < 0.15 * noise).all()


def test_batches_stay_within_their_bounds() -> None:
    cfg = config(**NOISE, schedule__batch_most=32, federation__clients=10,
                 federation__participation=0.5)  # fmt: skip
    for scale, batch in ((0.0, 4), (21.0, 5), (20.0, 4), (100.0, 20), (1e9, 32)):
        assert NOISE_SCALE.now(cfg, {"noise": scale, "signal": 1.0}, 0) == batch
    assert NOISE_SCALE.now(cfg, {}, 0) == 4  # the first round
    assert NOISE_SCALE.now(cfg, {"noise": 1.0, "signal": -1.0}, 0) == 32  # all is noise
    assert NOISE_SCALE.now(cfg, {"noise": -1.0, "signal": 1.0}, 0) == 4  # none is
    assert math.isnan(noise_scale({"noise": math.nan, "signal": 1.0}))


def test_both_are_smoothed_on_their_own() -> None:
    cfg = config(**{**NOISE, "schedule__smoothing": 0.75, "rounds": 3}, **SMALL, local__steps=1)
    found = run(cfg, linear_federation())
    raw = run(cfg.override({"schedule.smoothing": 0.0}), linear_federation())
    for name in ("noise", "signal"):  # the first two rounds have the same batches
        one, two = (float(r.state.server[f"schedule/{name}"]) for r in found[:2])
        assert one == pytest.approx(0.25 * float(raw[0].state.server[f"schedule/{name}"]))
        assert two == pytest.approx(
            0.75 * one + 0.25 * float(raw[1].state.server[f"schedule/{name}"])
        )
    rows = [row for result in found for row in result.rounds]
    assert rows[0]["batch_round"] == 4
    assert [found[i].state.totals["images"] for i in range(3)] == np.cumsum(
        [3 * min(int(r["batch_round"]), 10) for r in rows]
    ).tolist()


def test_one_client_alone_tells_nothing() -> None:
    memory = {"noise": 2.0, "signal": 1.0}
    assert of_round(torch.ones(1, 3), [4], 0.1, memory) == memory


def test_a_diverged_run_ends_as_a_result() -> None:
    cfg = config(**SMALL, **ADACOMM, **{**NOISE, "schedule__batch_most": 8}, rounds=30)
    state = State(torch.full_like(linear_federation().model.flat, math.nan))
    (last,) = run(cfg, linear_federation(), state)
    assert last.diverged


# --- post-local SGD -----------------------------------------------------------------------------


def test_one_step_a_round_and_then_j() -> None:
    """Half of 32 steps alone, the others by four; a rate that counts steps; no number is told."""
    half = {**SMALL, "local__steps": 4, "schedule__steps": "post_local", "rounds": 20}
    found = run(config(**half, schedule__name="step", schedule__step_size=0.5), linear_federation())
    rounds = [row for result in found for row in result.rounds]
    assert [row["steps_round"] for row in rounds] == [1] * 16 + [4] * 4
    assert [row["local_steps"] for row in rounds] == [*range(1, 17), 20, 24, 28, 32]
    cfg = config(**half, schedule__name="step", schedule__step_size=0.5)
    rates = [step_rates(cfg.local, cfg.schedule, round, 20, 1) for round in range(16)]
    rates += [step_rates(cfg.local, cfg.schedule, round, 20, 4) for round in range(16, 20)]
    assert [rate for own in rates for rate in own] == pytest.approx([0.3] * 16 + [0.03] * 16)
    plainly = run(config(**{**half, "schedule__steps": "constant"}), linear_federation())
    assert found[-1].metrics["bytes_down"] == plainly[-1].metrics["bytes_down"]


@pytest.mark.parametrize("steps", [1, 4, 16, 64])
@pytest.mark.parametrize("switch", [0.0, 0.25, 0.5, 1.0])
def test_the_rounds_of_a_budget_spend_it(steps: int, switch: float) -> None:
    """To less than J, as those of a constant J do; the share of single steps is as asked."""
    schedule = ScheduleConfig(steps="post_local", switch=switch)
    for budget in (64, 100, 800, 1280):
        rounds = rounds_of(schedule, steps, budget)
        assert budget - steps < steps_before(schedule, steps, rounds, rounds) <= budget
        alone = single_rounds(schedule, steps, rounds)
        assert abs(alone - switch * budget) <= steps
        assert rounds_of(ScheduleConfig(), steps, budget) == budget // steps
