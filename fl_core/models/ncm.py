"""The head of nearest class means in closed form: FedNCM (Legate et al., NeurIPS 2023).

Each client sends, once, the mean of its features of each class that it holds, and how many there
are; weighted by these the server has the mean of every class, whatever the sharding. The rows of
the head are the class means at length 1 (as in the authors' code; the features stay as they are,
whose length changes no order of classes): the class of the highest cosine wins. No bias. A class
that nobody holds has a row of zeros.

A message is rows of float32: class, number of examples, mean.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def class_means(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    means: int = 1,
    random: np.random.Generator | None = None,
) -> Tensor:
    """One client's message (rows, 2 + D) float32: for each class that it holds, its mean, or those
    of `means` parts of nearly equal size, drawn at random, but of no more parts than examples.
    """
    part = torch.zeros_like(labels)
    if means > 1:
        assert random is not None, "parts are drawn"
        order = torch.from_numpy(random.permutation(len(labels))).to(labels.device)
        order = order[labels[order].argsort(stable=True)]
        counts = torch.bincount(labels, minlength=num_classes)
        first = (counts.cumsum(0) - counts)[labels[order]]
        part[order] = (torch.arange(len(labels), device=labels.device) - first) % means
    group = labels * means + part
    held, of = torch.unique(group, return_inverse=True)
    count = torch.bincount(of, minlength=len(held)).double()
    total = features.new_zeros((len(held), features.shape[1]), dtype=torch.float64)
    total.index_add_(0, of, features.double())
    columns = [(held // means).unsqueeze(1), count.unsqueeze(1), total / count.unsqueeze(1)]
    return torch.cat(columns, 1).float()


def class_sums(rows: Iterable[Tensor], num_classes: int) -> Tensor:
    """(C, 1 + D) float64 of the clients' messages: how many examples, the sum of their features."""
    clients = iter(rows)
    total = _sums(next(clients), num_classes)
    for client in clients:
        total += _sums(client, num_classes)
    return total


def _sums(rows: Tensor, num_classes: int) -> Tensor:
    classes, counts, means = rows[:, 0].long(), rows[:, 1:2].double(), rows[:, 2:].double()
    total = means.new_zeros((num_classes, 1 + means.shape[1]))
    return total.index_add_(0, classes, torch.cat([counts, counts * means], 1))


def ncm_head(sums: Tensor) -> Tensor:
    """Flat head (C * D + C,) float32, weight then bias, of `class_sums`."""
    return unit_rows(sums[:, 1:])


def unit_rows(weight: Tensor) -> Tensor:
    """The flat head of these rows (C, D) at length 1, without a bias."""
    rows = F.normalize(weight, dim=1)
    return torch.cat([rows.reshape(-1), rows.new_zeros(len(rows))]).float()


def moments(sums: Tensor) -> Tensor:
    """(D + 1, D + 1) X^T X with a column of ones, as if every example were the mean of its class:
    what the server knows of how far a head's logits are apart (`temperature.spread_of`).
    """
    counts = sums[:, :1]
    x = torch.cat([sums[:, 1:], counts], 1) / counts.clamp(min=1).sqrt()
    return x.T @ x
