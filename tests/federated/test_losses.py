"""The losses against torch's own, and what they say of a prediction."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fl_core.base.rng import stream
from fl_core.federated.losses import LOSSES


def drawn() -> tuple[Tensor, Tensor]:
    """Logits (3, 7, 5), of which some are beyond what exp takes, and labels."""
    rng = stream(0, "losses")
    logits = torch.from_numpy(rng.standard_normal((3, 7, 5))).float() * 5
    logits[0, 0, 0], logits[1, 1, 1] = 300.0, -300.0
    return logits, torch.from_numpy(rng.integers(0, 5, (3, 7)))


def expected(name: str, logits: Tensor, labels: Tensor) -> Tensor:
    if name == "cross_entropy":
        return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none")
    wanted = F.one_hot(labels, logits.shape[-1]).view_as(logits).float()
    every = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    return every.sum(-1).flatten()


@pytest.mark.parametrize("name", LOSSES)
def test_forms_of_a_loss_agree_with_torch(name: str) -> None:
    logits, labels = drawn()
    flat, loss = logits.flatten(0, -2).requires_grad_(), LOSSES[name]
    wanted = expected(name, flat, labels)
    for reduction, value in (("none", wanted), ("sum", wanted.sum()), ("mean", wanted.mean())):
        torch.testing.assert_close(loss.of(flat, labels.flatten(), reduction=reduction), value)
    gradient = torch.autograd.grad(wanted.sum(), flat)[0]
    losses, residual = loss.residual(logits.clone(), labels)
    torch.testing.assert_close(losses.flatten(), wanted)
    torch.testing.assert_close(residual.flatten(0, -2), gradient)


def test_confidence_is_the_probability_of_the_prediction() -> None:
    logits, _ = drawn()
    assert torch.equal(LOSSES["cross_entropy"].confidence(logits), logits.softmax(-1).amax(-1))
    assert torch.equal(LOSSES["one_vs_all"].confidence(logits), logits.sigmoid().amax(-1))


def test_a_class_moves_another_through_the_softmax_alone() -> None:
    """Why one-vs-all may suit clients of one class: its gradient by a logit sees that logit."""
    logits, labels = torch.zeros(1, 3), torch.tensor([0])
    other = torch.tensor([[5.0, 0.0, 0.0]])
    for name, same in (("one_vs_all", True), ("cross_entropy", False)):
        before, after = (LOSSES[name].residual(z.clone(), labels)[1] for z in (logits, other))
        assert torch.equal(before[:, 1:], after[:, 1:]) == same
