"""SCAFFOLD (Karimireddy et al., ICML 2020, algorithm 1): steps corrected by control variates.

    g    <- g + c - c_k                                    every local step
    c_k+ <- gradient of all the client's examples at w                        option 1
    c_k+ <- c_k - c + (w - w_k) / (sum of the steps' learning rates)          option 2
    w    <- w + lr * mean_S (w_k - w)                      clients weigh the same
    c    <- c + 1/N sum_S (c_k+ - c_k)                     N: ALL clients

c and c_k begin as zeros. A client keeps c_k and sends its change; the server sends c: twice
FedAvg's bytes each way. Momentum is refused: the paper has none, and it would gather corrections
that are out of date. Under a mask all of it happens on the client's own entries; where few clients
train an entry, 1/N makes its c smaller than the mean of theirs. Option 1 costs a pass over all of
a client's examples a round, which counts in the images, not in the local steps.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from fl_core.config.method_sections import LocalConfig
from fl_core.federated.rule import Gathered, LocalRule, Visit


def scaffold(local: LocalConfig) -> LocalRule:
    """The rule with `local.option` 1 or 2."""

    def correct(grad: Tensor, params: Tensor, visit: Visit) -> None:
        grad.add_(visit.server["control"]).sub_(visit.memory["control"])

    def finish(params: Tensor, visit: Visit) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
        own = visit.memory["control"]
        if visit.gradient is not None:
            change = visit.gradient - own
        else:
            change = (visit.start - params).div_(visit.travel).sub_(visit.server["control"])
        change = visit.within(change)
        return {"control": change}, {"control": own + change}

    def serve(gathered: Gathered) -> tuple[Mapping[str, Tensor], Tensor]:
        control = gathered.server["control"].double()
        control = control + gathered.sums["control"] / gathered.clients
        return {"control": control.float()}, gathered.target

    return LocalRule(
        correct=correct,
        finish=finish,
        serve=serve,
        memory=("control",),
        broadcast=("control",),
        sends=1,
        uniform=True,
        full_gradient=local.option == 1,
    )
