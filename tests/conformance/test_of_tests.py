"""A test of the tests: methods with the mistakes that others have published are caught.

Each broken copy takes its method's place in the table; the tests named beside it must fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import test_every_method
import test_feddyn
import test_masked
import test_rules
import test_server_optimisers
from methods import METHODS, Method
from torch import Tensor

from fl_core.config.method_sections import LocalConfig, ServerConfig
from fl_core.federated.rule import Gathered, LocalRule, Visit
from fl_core.federated.rules.dyn import dyn
from fl_core.federated.rules.prox import prox
from fl_core.federated.rules.scaffold import scaffold
from fl_core.federated.rules.table import LOCAL_RULES
from fl_core.federated.server import OPTIMISERS
from fl_core.optim.adaptive import Adaptive
from fl_core.optim.sgdm import SGDM


def without_n(local: LocalConfig) -> LocalRule:
    """SCAFFOLD whose server divides the changes of the controls by nothing."""
    rule = scaffold(local)
    assert rule.serve is not None
    serve = rule.serve
    return replace(rule, serve=lambda gathered: serve(replace(gathered, clients=1)))


def without_pull(local: LocalConfig) -> LocalRule:
    """FedDyn with the linear part of its step alone."""

    def correct(grad: Tensor, params: Tensor, visit: Visit) -> None:
        grad.sub_(visit.memory["linear"])

    return replace(dyn(local), correct=correct)


def without_beta1(server: ServerConfig, rate: float) -> Adaptive:
    """FedAdam whose m is the last change alone."""
    return Adaptive("adam", 0.0, server.beta2, server.tau, server.bias_correction)


def forgetful(local: LocalConfig) -> LocalRule:
    """FedProx that counts its rounds where no checkpoint looks."""
    rounds = [0]

    def serve(gathered: Gathered) -> tuple[dict[str, Tensor], Tensor]:
        rounds[0] += 1
        return {}, gathered.target * (1 + 0.01 * rounds[0])

    return replace(prox(local), serve=serve)


class Decaying(SGDM):
    """FedAvgM that decays all parameters, frozen ones among them."""

    def step(self, params: Tensor, *rest: Any, **more: Any) -> None:
        params.mul_(0.99)
        super().step(params, *rest, **more)


def drawn(name: str) -> Method:
    return next(method for method in METHODS if str(method) == name)


CASES: dict[str, tuple[Any, str, Any, Callable[[], None]]] = {
    "SCAFFOLD without 1/N": (
        LOCAL_RULES, "scaffold", without_n,
        lambda: test_rules.test_the_server_s_control_is_the_mean_of_all_clients(2, "dense"),
    ),
    "FedDyn without its pull": (
        LOCAL_RULES, "dyn", without_pull,
        lambda: test_feddyn.test_a_client_minimises_its_bent_loss(0.0, False),
    ),
    "FedAdam without beta1": (
        OPTIMISERS, "adam", without_beta1, test_server_optimisers.test_adam_s_first_round_by_hand,
    ),
    "state beside the checkpoint": (
        LOCAL_RULES, "prox", forgetful,
        lambda: test_every_method.test_going_on_from_any_state_gives_the_same_bits(
            drawn("local.rule=prox"), "dense"
        ),
    ),
    "a server that moves what is frozen": (
        OPTIMISERS, "momentum", lambda server, rate: Decaying(server.momentum),
        lambda: test_masked.test_frozen_entries_keep_their_bits(
            drawn("server.optimiser=momentum"), "shared", "stacked"
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_caught(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    table, name, broken, test = CASES[case]
    test()  # passes as long as the method is right
    monkeypatch.setitem(table, name, broken)
    with pytest.raises(AssertionError):
        test()
