"""Flower's answers to the updates of a file: the other half of `against_flwr.py`.

Runs where flwr is installed (no torch, nothing of ours) and is started by it:

    PYTHON tests/benchmarks/flwr_side.py UPDATES.npz ANSWERS.npz
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from flwr.common import ArrayRecord, Code, FitRes, Status
from flwr.common import ndarrays_to_parameters as pack
from flwr.common import parameters_to_ndarrays as unpack
from flwr.server.strategy import (
    Bulyan,
    FedAdagrad,
    FedAdam,
    FedAvgM,
    FedMedian,
    FedTrimmedAvg,
    FedYogi,
    Krum,
)
from flwr.serverapp.strategy.multikrum import compute_distances

Array = np.ndarray


def results_of(params: Array, weights: Array) -> list[Any]:
    done = Status(Code.OK, "")
    rows = zip(params, weights, strict=True)
    return [(None, FitRes(done, pack([row]), int(weight), {})) for row, weight in rows]


def trained(make: Callable[[Array], Any], given: Any) -> Array:
    """(T, P): the server's parameters after every round, from the clients' moves (T, m, P)."""
    params, path = given["start"], []
    strategy = make(params)
    for round, moved in enumerate(given["moves"], start=1):
        answer, _ = strategy.aggregate_fit(round, results_of(params + moved, given["weights"]), [])
        (params,) = unpack(answer)
        path.append(params)
    return np.stack(path)


def main() -> None:
    given = np.load(sys.argv[1])
    own: dict[str, Callable[[Array], Any]] = {}
    f, trim = int(given["byzantine"]), float(given["trim"])
    adaptive = {n: float(given[n]) for n in ("eta", "tau")}
    betas = {"beta_1": float(given["beta1"]), "beta_2": float(given["beta2"])}
    keep = given["moves"].shape[1] - f
    own["momentum"] = lambda w: FedAvgM(
        initial_parameters=pack([w]),
        server_learning_rate=float(given["eta"]),
        server_momentum=float(given["beta1"]),
    )
    own["adagrad"] = lambda w: FedAdagrad(initial_parameters=pack([w]), **adaptive)
    own["adam"] = lambda w: FedAdam(initial_parameters=pack([w]), **adaptive, **betas)
    own["yogi"] = lambda w: FedYogi(initial_parameters=pack([w]), **adaptive, **betas)
    own["median"] = lambda w: FedMedian()
    own["trimmed_mean"] = lambda w: FedTrimmedAvg(beta=trim)
    own["krum"] = lambda w: Krum(num_malicious_clients=f)
    own["multi_krum"] = lambda w: Krum(num_malicious_clients=f, num_clients_to_keep=keep)
    own["bulyan"] = lambda w: Bulyan(num_malicious_clients=f, to_keep=0)
    answers = {name: trained(make, given) for name, make in own.items()}
    near = [ArrayRecord([row]) for row in given["near"]]
    np.savez(sys.argv[2], **answers, near_distances=compute_distances(near))


if __name__ == "__main__":
    main()
