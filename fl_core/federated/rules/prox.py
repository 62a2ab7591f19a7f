"""FedProx (Li et al., MLSys 2020, algorithm 2): every step is pulled back to where it started.

    g <- g + mu * (w - w_start)

The gradient of mu/2 ||w - w_start||^2. It enters before momentum, which thus gathers it too. With
one local step there is no pull; mu = 0 is FedAvg. No state, no further bytes.
"""

from __future__ import annotations

from torch import Tensor

from fl_core.config.method_sections import LocalConfig
from fl_core.federated.rule import PLAIN, LocalRule, Visit


def prox(local: LocalConfig) -> LocalRule:
    """The rule at `local.mu`."""

    def correct(grad: Tensor, params: Tensor, visit: Visit) -> None:
        grad.add_(params - visit.start, alpha=local.mu)

    return LocalRule(correct=correct) if local.mu else PLAIN
