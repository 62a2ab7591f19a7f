"""Connection saliency |g * w|: how much the loss would change, to first order, without a weight.

    s_i = |w_i * d L / d w_i|,   L the mean cross-entropy over some examples, with their own labels

the score of SNIP (Lee et al., ICLR 2019). SSFL (Ohib et al. 2024, arXiv 2405.09037) averages the
clients' by their examples and trains the entries of the HIGHEST: mask.rule=most_salient with
mask.source=scores. The gradient is that of the mean loss, so that examples may cancel: it is no
Fisher information.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad

from fl_core.base.params import FlatModule
from fl_core.data.sources import Source
from fl_core.masks.fisher import undisturbed


def saliency(model: FlatModule, source: Source, indices: np.ndarray, batch_size: int) -> Tensor:
    """(P,) of the examples `indices`, at the model as it stands, in eval mode."""

    def loss(params: dict[str, Tensor], inputs: Tensor, labels: Tensor) -> Tensor:
        logits = functional_call(model.module, params, (inputs,))
        return F.cross_entropy(logits, labels, reduction="sum")

    total = torch.zeros_like(model.flat)
    sums, params = model.layout.views(total), model.layout.views(model.flat)
    with undisturbed(model.module):
        for part in torch.split(torch.from_numpy(indices).to(total.device), batch_size):
            found = grad(loss)(params, source.batch(part), source.labels[part])
            for name, gradient in found.items():
                sums[name] += gradient
    return total.div_(len(indices)).mul_(model.flat).abs_()
