"""The estimator of a round: what the chosen clients' average stands for (`select.reweight`).

biased: FedAvg's w + sum_S n_k D_k / sum_S n_k, with D_k = w_k - w. Its mean is that of ALL clients
only where all are as likely to be chosen (and hold as much).

unbiased: w + sum_S n_k / (n pi_k) D_k, with n = sum_k n_k over all N clients and pi_k the
probability that k is among the round's clients: Horvitz & Thompson (1952); for clients Chen,
Horvath & Richtarik (Optimal Client Sampling for Federated Learning, TMLR 2022), whose clients
decide by independent coins. Where clients hold the same it is 1 / (N pi_k). Its mean is the step of
full participation, whoever is likely to be chosen; its weights need not sum to 1, and a client that
was unlikely moves the model far. pi_k is no client's share in the drawing: without replacement it
is larger (see `drawing`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.selection import Selection
from fl_core.federated.state import Federation


def reweighted(
    clients: np.ndarray,
    inclusion: Callable[[], np.ndarray],
    fed: Federation,
    config: TrialConfig,
) -> Selection:
    """These clients (m,), as the configuration has them weigh; inclusion() -> pi (N,)."""
    if config.select.reweight == "biased":
        return Selection(clients)
    examples = fed.num_examples.astype(float)
    weights = examples[clients] / inclusion()[clients]
    return Selection(clients, weights.tolist(), float(weights.sum() / examples.sum()))
