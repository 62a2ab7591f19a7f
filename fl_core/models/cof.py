"""The head that covariances give which nobody sent: FedCOF (Goswami et al., NeurIPS 2025).

Clients send what FedNCM's send (see `ncm`). Where K_c means of a class come in, each of n_k
examples, their scatter tells the covariance of the class without bias (their eq. for
Sigma_c):

    S_c = 1 / (K_c - 1) sum_k n_k (mu_k - mu_c)(mu_k - mu_c)^T + gamma I

provided the examples of a class are spread over the clients at random. The head is that of ridge
regression with the second moments G = sum_c (N_c - 1) S_c + N mu mu^T: within classes and of the
mean of all; what lies between classes is left out, which the authors find better. Rows have length
1, there is no bias (as in the authors' code, where gamma is 1 for ViTs and 0.1 for MobileNet).

With one mean of a class nothing is known of its covariance but the shrinkage, and with a class a
client (N_c = 1) of none: there clients may send the means of several random parts of a class
(`head.means`), which the authors offer too. With parts of one example it is the centralised head,
but then clients send their features.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fl_core.models.ncm import unit_rows


def scatter_within(rows: Sequence[Tensor], sums: Tensor) -> Tensor:
    """(D, D) float64, sum_c (N_c - 1) S_c without shrinkage, of all clients' messages and
    `class_sums` of them.
    """
    everything = torch.cat(list(rows)).double()
    classes, counts = everything[:, 0].long(), everything[:, 1]
    means = torch.bincount(classes, minlength=len(sums))  # K_c
    centre = sums[:, 1:] / sums[:, :1].clamp(min=1)
    share = (sums[:, 0] - 1) / (means - 1).clamp(min=1)  # (N_c - 1) / (K_c - 1)
    apart = (everything[:, 2:] - centre[classes]) * (counts * share[classes]).sqrt().unsqueeze(1)
    apart[means[classes] < 2] = 0.0
    return apart.T @ apart


def cof_head(sums: Tensor, scatter: Tensor, shrinkage: float) -> Tensor:
    """Flat head (C * D + C,) float32, weight then bias. The pseudoinverse is for as many examples
    as classes, where no direction is shrunk.
    """
    counts, total = sums[:, 0], sums[:, 1:].sum(0)
    shrunk = shrinkage * (counts - 1).clamp(min=0).sum()
    gram = scatter + torch.outer(total, total) / counts.sum()
    gram = gram + shrunk * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    return unit_rows(sums[:, 1:] @ torch.linalg.pinv(gram, hermitian=True))
