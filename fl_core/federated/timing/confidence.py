"""What a client's model says of its classes: the confidence vector (Zaccone et al. 2022, III-B).

Every client trains the start for some epochs on its own (`timing.pretraining`), with the settings
of the section `local` and the plain rule, densely, at a constant rate, and sends the server its
model, which nobody keeps. The server has a few exemplars of every class. Entry c of the vector is
the mean probability that the client's model gives class c on the exemplars of class c, and the
vector is scaled to sum to 1: it is high for the classes that the client has.

The exemplars are ten examples a class of the validation split (`data.sources.exemplars`), never
test images, of which the authors take them. So validation accuracy is of examples of which a tenth
or so has had a say in who trains with whom, and in nothing else.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from fl_core.config.method_sections import ScheduleConfig
from fl_core.data.sources import Source
from fl_core.federated.client import precision_context
from fl_core.federated.evaluate import BATCH
from fl_core.federated.rule import PLAIN
from fl_core.federated.run import Run
from fl_core.federated.state import State
from fl_core.federated.turns import trained


def confidences(run: Run, state: State) -> np.ndarray:
    """(K, classes) float64, rows that sum to 1."""
    config, fed = run.config, run.fed
    assert fed.exemplars is not None
    local = replace(config.local, unit="epochs", steps=config.timing.pretraining)
    alone = Run(
        replace(config, local=local, schedule=ScheduleConfig()),
        replace(fed, masks=None, changing=None),
        PLAIN,
        purpose="pretraining_",
    )
    rows = []
    clients, together = range(config.federation.clients), config.federation.sampled
    for first in clients[::together]:  # as many in memory as in a round
        for _, _, result in trained(alone, state, clients[first : first + together], None):
            rows.append(_confidence(run, result.params, fed.exemplars).cpu().numpy())
    return np.stack(rows)


@torch.inference_mode()
def _confidence(run: Run, params: Tensor, exemplars: Source) -> Tensor:
    """(classes,) of a model; a class without exemplars has none."""
    model, labels = run.fed.model, exemplars.labels
    model.flat.copy_(params)
    model.module.eval()
    sure = []
    size = BATCH["cpu"] if labels.device.type == "cpu" else BATCH["cuda"]
    for indices in torch.split(torch.arange(len(labels), device=labels.device), size):
        with precision_context(labels.device, run.config.compute.precision):
            logits = model.module(exemplars.batch(indices)).double()
        sure.append(logits.softmax(1).gather(1, labels[indices, None]).flatten())
    classes = run.fed.class_counts.shape[1]
    total = torch.zeros(classes, dtype=torch.float64, device=labels.device)
    total.index_add_(0, labels, torch.cat(sure))
    mean = total / labels.bincount(minlength=classes).clamp_min(1)
    return mean / mean.sum()
