"""Centralised linear-probe test accuracy on float32 and on stored (int8) features.

    python tests/benchmarks/linear_probe.py [--float32 FILE]

A converged softmax regression (L-BFGS, L2 chosen on the validation split, then refitted on
train + val). FILE: a torch file with the float32 features {"train": (50000, D), "test": ...}, as
`models.features` computes them before quantisation; without it only the stored ones are probed.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor

from fl_core.base.machine import Machine
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import split_train_val
from fl_core.models.features import extract_features

PENALTIES = (3e-4, 1e-3, 3e-3, 1e-2)


def fit(x: Tensor, y: Tensor, penalty: float, start: Tensor | None = None) -> Tensor:
    """Minimise mean cross-entropy + penalty * ||W||^2 / 2 over (D + 1, classes), bias free."""
    weight = torch.zeros(x.shape[1] + 1, 100) if start is None else start.clone()
    weight.requires_grad_(True)
    optimiser = torch.optim.LBFGS(
        [weight], max_iter=400, tolerance_grad=1e-6, tolerance_change=1e-10, history_size=20,
        line_search_fn="strong_wolfe",
    )  # fmt: skip

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(x @ weight[:-1] + weight[-1], y)
        loss = loss + penalty / 2 * weight[:-1].square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weight.detach()


def accuracy(weight: Tensor, x: Tensor, y: Tensor) -> float:
    return float(((x @ weight[:-1] + weight[-1]).argmax(1) == y).double().mean())


def probe(train_x: Tensor, train_y: Tensor, test_x: Tensor, test_y: Tensor) -> tuple[float, float]:
    """(penalty chosen on validation, test accuracy after refitting on everything)."""
    mean, std = train_x.mean(0), train_x.std(0)  # a change of variables that helps L-BFGS
    train_x, test_x = (train_x - mean) / std, (test_x - mean) / std
    train, val = split_train_val(train_y.numpy(), TrialConfig().data)
    scores: dict[float, float] = {}
    weight = None
    for penalty in sorted(PENALTIES, reverse=True):
        weight = fit(train_x[train], train_y[train], penalty, weight)
        scores[penalty] = accuracy(weight, train_x[val], train_y[val])
        on_test = accuracy(weight, test_x, test_y)
        print(f"  penalty {penalty:g}: val {scores[penalty]:.4f} (its test score: {on_test:.4f})")
    best = max(scores, key=scores.__getitem__)
    return best, accuracy(fit(train_x, train_y, best, weight), test_x, test_y)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--float32", help="torch file with float32 features")
    args = parser.parse_args()
    machine = Machine()
    train = extract_features(TrialConfig(), machine)
    test = extract_features(TrialConfig(), machine, "test")
    rows = {"stored int8": (train.features, test.features)}
    if args.float32:
        full = torch.load(args.float32, weights_only=True)
        rows["float32"] = (full["train"], full["test"])
    for name, (train_x, test_x) in rows.items():
        print(name)
        penalty, result = probe(train_x, train.labels, test_x, test.labels)
        print(f"{name}: test accuracy {result:.4f} (penalty {penalty:g}, fitted on train + val)")


if __name__ == "__main__":
    main()
