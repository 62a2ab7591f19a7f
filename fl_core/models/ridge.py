"""The ridge head in closed form from summed statistics.

Each client sends X^T X and X^T Y of its examples once; their sums give exactly the centralised
solution, whatever the sharding (Fed3R: Fanì et al., ICML 2024). Float64, because the statistics
of correlated features are ill-conditioned.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor


def ridge_statistics(features: Tensor, labels: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """(X^T X, X^T Y) in float64 of one client, X (n, D + 1) with a column of ones for the bias."""
    x = F.pad(features.double(), (0, 1), value=1.0)
    y = F.one_hot(labels, num_classes).double()
    return x.T @ x, x.T @ y


def summed(statistics: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """The clients' statistics added up, one client at a time."""
    clients = iter(statistics)
    gram, target = (tensor.clone() for tensor in next(clients))
    for client_gram, client_target in clients:
        gram += client_gram
        target += client_target
    return gram, target


def ridge_head(gram: Tensor, target: Tensor, ridge_lambda: float) -> Tensor:
    """Flat head (C * D + C,) float32, weight then bias: argmin ||XW - Y||^2 / n + lambda ||W||^2.

    `gram`, `target`: the summed statistics. The bias is not penalised.
    """
    examples = gram[-1, -1]  # the ones column's squared norm
    penalty = torch.full_like(gram[0], ridge_lambda)
    penalty[-1] = 0.0
    solution = torch.linalg.solve(gram / examples + penalty.diag(), target / examples)  # (D+1, C)
    return torch.cat([solution[:-1].T.reshape(-1), solution[-1]]).float()
