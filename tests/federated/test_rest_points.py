"""Two clients whose losses are quadratics, full batches, several steps: where a method ends.

A client's steps are affine in the server's parameters, so that where the rounds come to rest can be
written down. FedAvg rests off the joint minimiser, by a distance that is known beforehand.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from quadratics import Quadratic, joint_minimiser, one_round
from test_fedavg import config
from test_rules import SIZE, in_float32, quadratic
from torch import Tensor

from fl_core.config.trial_config import Value
from fl_core.federated.state import State

RATE = 0.1
EQUAL, UNEQUAL = (5, 5), (3, 9)
every_steps = pytest.mark.parametrize("steps", [EQUAL, UNEQUAL], ids=["equal", "unequal"])


def ends(rounds: int, steps: Sequence[int], examples: int = 1, **values: Value) -> Tensor:
    """(P,) float64: where rounds of both clients lead; the second has so many examples."""
    cfg = config(federation__clients=2, **values)
    state, clients = State(torch.zeros(SIZE)), [in_float32(c) for c in two(examples)]
    for _ in range(rounds):
        state = one_round(cfg, state, clients, [0, 1], lambda client: [RATE] * steps[client])
    return state.params.double()


def two(examples: int = 1) -> list[Quadratic]:
    return [quadratic(1), quadratic(2, examples)]


def rests(rate: float, steps: Sequence[int], examples: int = 1) -> Tensor:
    """Where FedAvg's rounds rest: sum_k n_k A_k (w - w_k*) = 0 with A_k = I - (I - rate H_k)^J_k.

    J steps of gradient descent leave (I - rate H)^J of the way to a client's own minimiser.
    """
    identity = torch.eye(SIZE, dtype=torch.float64)
    ways = [
        client.examples
        * (identity - torch.linalg.matrix_power(identity - rate * client.hessian, j))
        for client, j in zip(two(examples), steps, strict=True)
    ]
    optima = [client.optimum for client in two(examples)]
    moved = torch.stack([way @ optimum for way, optimum in zip(ways, optima, strict=True)])
    return torch.linalg.solve(torch.stack(ways).sum(0), moved.sum(0))


@every_steps
@pytest.mark.parametrize("examples", [1, 3])
def test_fedavg_misses_the_joint_minimiser_by_the_predicted_distance(
    steps: tuple[int, int], examples: int
) -> None:
    found, wanted = ends(200, steps, examples), rests(RATE, steps, examples)
    assert float((found - wanted).norm()) < 1e-6
    missed = float((found - joint_minimiser(two())).norm())
    assert missed == pytest.approx(float((wanted - joint_minimiser(two())).norm()), rel=1e-4)
    assert missed > 0.04


@every_steps
@pytest.mark.parametrize(
    "values",
    [{"local__rule": "scaffold", "local__option": 1}, {"local__rule": "scaffold"},
     {"local__rule": "dyn", "local__alpha": 0.3}, {"local__rule": "dyn", "local__alpha": 1.0}],
    ids=["scaffold/1", "scaffold/2", "dyn/0.3", "dyn/1"],
)  # fmt: skip
def test_methods_without_drift_reach_it(steps: tuple[int, int], values: dict[str, Value]) -> None:
    """Whatever the clients' examples: they weigh the same."""
    distance = float((ends(350, steps, examples=3, **values) - joint_minimiser(two())).norm())
    assert distance < 1e-6


@every_steps
@pytest.mark.parametrize("tau", [1, 2])
def test_ghbm_rests_where_fedavg_rests(steps: tuple[int, int], tau: int) -> None:
    """Its momentum is the way of past rounds, and zero once they rest: it is faster, not nearer."""
    found = ends(150, steps, local__rule="ghbm", local__beta=0.5, local__tau=tau)
    assert float((found - rests(RATE, steps)).norm()) < 1e-6


def test_fedcm_rests_where_fedavg_with_a_share_of_the_rate_rests() -> None:
    """So it is nearer to the joint minimiser than FedAvg with the rate that it is given."""
    found = ends(600, EQUAL, local__rule="cm", local__alpha=0.2)
    assert float((found - rests(0.2 * RATE, EQUAL)).norm()) < 2e-6
    joint = joint_minimiser(two())
    assert float((found - joint).norm()) < 0.5 * float((rests(RATE, EQUAL) - joint).norm())


def test_fedhbm_rests_where_its_anchors_do() -> None:
    """With q = beta / J and every client always there, a step is w <- M w + rate H w* - q a with
    M = (1 + q) I - rate H, and a client ends at its own anchor a: an affine map of the server's w.

    To first order in the rate it takes (a - w), own way less everybody's, off a client's step: its
    fixed point is nearer to the joint minimiser than FedAvg's.
    """
    beta, steps = 0.5, 5
    q, identity = beta / steps, torch.eye(SIZE, dtype=torch.float64)
    slopes, offsets = [], []
    for client in two():
        step = (1 + q) * identity - RATE * client.hessian
        powers = [torch.linalg.matrix_power(step, i) for i in range(steps + 1)]
        summed = torch.stack(powers[:-1]).sum(0)
        held = identity + q * summed
        slopes.append(torch.linalg.solve(held, powers[-1]))
        pushed = RATE * summed @ client.hessian @ client.optimum
        offsets.append(torch.linalg.solve(held, pushed))
    slope, offset = torch.stack(slopes).mean(0), torch.stack(offsets).mean(0)
    wanted = torch.linalg.solve(identity - slope, offset)
    found = ends(300, EQUAL, local__rule="hbm", local__beta=beta)
    assert float((found - wanted).norm()) < 1e-6
    joint = joint_minimiser(two())
    assert float((found - joint).norm()) < 0.8 * float((rests(RATE, EQUAL) - joint).norm())
