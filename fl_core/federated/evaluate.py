"""Accuracy and loss on a fixed set of examples, batched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from fl_core.base.tables import csv_text
from fl_core.data.sources import Source, TokenSource
from fl_core.federated.client import precision_context
from fl_core.federated.losses import CROSS_ENTROPY, Loss, compared
from fl_core.models.heads import Head

BATCH = {"head": 8192, "cpu": 256, "cuda": 1024}


@dataclass(frozen=True)
class Evaluation:
    """Totals over the examples, and the class-wise counts that any client mix weighs."""

    accuracy: float  # in [0, 1]
    loss: float  # mean over the examples of the loss that training minimises
    class_correct: np.ndarray  # (classes,) correctly predicted examples of each class
    class_total: np.ndarray  # (classes,)
    #: (examples, 3) label, prediction, its probability; none unless asked for
    predictions: np.ndarray | None = None
    #: (examples,) bool: which were predicted correctly; (examples, L) where each position counts
    hits: torch.Tensor | None = None
    #: of a text, whichever counts: accuracy on the "last" symbol and on "every" one
    by_position: Mapping[str, float] = field(default_factory=dict)

    def client_accuracies(self, class_counts: np.ndarray) -> np.ndarray:
        """Expected accuracy (clients,) on each client's own mix of classes (clients, classes).

        The central evaluation's class accuracies weighted by the client's class shares: what a
        client would see on fresh examples of its own distribution, at no cost in K. A client with
        none of the evaluated classes is left out.
        """
        seen = self.class_total > 0
        by_class = self.class_correct[seen] / self.class_total[seen]
        counts = class_counts[:, seen].astype(float)
        counts = counts[counts.sum(1) > 0]
        shares = counts / counts.sum(1, keepdims=True)
        accuracies: np.ndarray = shares @ by_class
        return accuracies

    def predictions_csv(self) -> str:
        """Every example's label, prediction and its probability, in the order of the source."""
        assert self.predictions is not None, "evaluate(..., keep=True)"
        rows = [
            (f"{label:.0f}", f"{guess:.0f}", f"{p:.4f}") for label, guess, p in self.predictions
        ]
        return csv_text(("label", "prediction", "confidence"), rows)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    source: Source,
    precision: str = "float32",
    *,
    loss: Loss = CROSS_ENTROPY,
    keep: bool = False,
) -> Evaluation:
    """Evaluate `model` as it stands on all of `source`, without augmentation.

    keep: whether every single prediction is kept.
    """
    labels = source.labels
    device = labels.device
    kind = "head" if isinstance(model, Head) else device.type
    model.eval()
    right: list[torch.Tensor] = []
    targets: list[torch.Tensor] = []
    everywhere: list[torch.Tensor] = []  # of a text, (B, L)
    kept: list[torch.Tensor] = []
    total = torch.zeros((), dtype=torch.float64, device=device)
    classes = 0
    for indices in torch.split(torch.arange(len(labels), device=device), BATCH[kind]):
        with precision_context(device, precision):
            output = model(source.batch(indices)).float()
        logits, target = compared(output, source.targets(indices))
        total += loss.of(logits, target, reduction="sum").double()
        right.append(logits.argmax(1) == target)
        targets.append(target)
        if isinstance(source, TokenSource):
            everywhere.append(output.argmax(2) == source.following(indices))
        if keep:
            kept.append(_predictions(output, labels[indices], loss))
        classes = logits.shape[1]
    hits, truth = torch.cat(right), torch.cat(targets)
    return Evaluation(
        accuracy=float(hits.double().mean()),
        loss=float(total) / len(truth),
        class_correct=torch.bincount(truth[hits], minlength=classes).cpu().numpy(),
        class_total=torch.bincount(truth, minlength=classes).cpu().numpy(),
        predictions=torch.cat(kept).cpu().numpy() if keep else None,
        hits=hits.view(len(labels), -1).squeeze(1),
        by_position=_by_position(torch.cat(everywhere)) if everywhere else {},
    )


def _predictions(output: torch.Tensor, labels: torch.Tensor, loss: Loss) -> torch.Tensor:
    """(B, 3) label, prediction, its probability; of a text those of the last symbol."""
    logits, _ = compared(output, labels)
    return torch.stack([labels.float(), logits.argmax(1).float(), loss.confidence(logits)], 1)


def _by_position(hits: torch.Tensor) -> dict[str, float]:
    """From (N, L) bool."""
    return {"last": float(hits[:, -1].double().mean()), "every": float(hits.double().mean())}
