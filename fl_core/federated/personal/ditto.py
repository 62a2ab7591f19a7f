"""Ditto (Li et al., ICML 2021, algorithm 1): a model v_k of each client's own, beside FedAvg's w.

    v_k <- v_k - eta * (grad f_k(v_k) + lambda * (v_k - w))      w: as the server sent it

`personal.steps` such steps in each of the client's rounds, by the client's optimiser (weight decay
and momentum apply to v_k as to w). w itself is trained and averaged as if there were no v_k: to the
bit, with FedAvg's bytes. v_k begins as the w of the client's first round (the paper takes it as an
input; the authors' code takes the first round's w of all); a client without one is judged with w.
lambda = 0 is local training from there. The authors' steps share their batches with w's; here v_k
draws its own, so that their numbers may differ.
"""

from __future__ import annotations

from torch import Tensor

from fl_core.config.method_sections import PersonalConfig
from fl_core.federated.personal.rule import Beside, Personal
from fl_core.federated.rule import LocalRule, Visit


def ditto(personal: PersonalConfig) -> Personal:
    """With `personal.lambda_` and `personal.steps`."""

    def pulled(grad: Tensor, params: Tensor, visit: Visit) -> None:
        grad.add_(params - visit.server["model"], alpha=personal.lambda_)

    return Personal(beside=Beside(LocalRule(correct=pulled, broadcast=("model",)), personal.steps))
