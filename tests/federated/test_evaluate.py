"""Accuracy and loss against a loop over single examples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from test_client import cnn, feature_source, image_source, linear, source_of
from torch import nn

from fl_core.data.sources import FeatureSource
from fl_core.federated import evaluate as evaluation
from fl_core.federated.evaluate import Evaluation, evaluate


def one_by_one(model: nn.Module) -> tuple[float, float, np.ndarray, np.ndarray]:
    source = source_of(model)
    correct, total, loss = np.zeros(5, int), np.zeros(5, int), 0.0
    with torch.no_grad():
        for i, label in enumerate(source.labels.tolist()):
            logits = model(source.batch(torch.tensor([i])))
            total[label] += 1
            correct[label] += int(logits.argmax()) == label
            loss += float(F.cross_entropy(logits, torch.tensor([label])))
    return correct.sum() / total.sum(), loss / total.sum(), correct, total


@pytest.mark.parametrize("make", [linear, cnn])
@pytest.mark.parametrize("batch", [7, 60, 1000])
def test_equals_a_loop_over_examples(
    make: type, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "BATCH", dict.fromkeys(("head", "cpu", "cuda"), batch))
    model = make()
    accuracy, loss, correct, total = one_by_one(model)
    got = evaluate(model, source_of(model))
    assert got.accuracy == pytest.approx(accuracy, abs=1e-12)
    assert got.loss == pytest.approx(loss, rel=1e-5)
    assert np.array_equal(got.class_correct, correct)
    assert np.array_equal(got.class_total, total)
    assert 0 < got.accuracy < 1  # neither trivial


def test_by_hand() -> None:
    model = nn.Linear(2, 2, bias=False)
    model.weight.data = torch.eye(2)
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.0]])
    got = evaluate(model, FeatureSource(features, torch.tensor([0, 0, 0, 1])))
    assert got.accuracy == 0.5  # a tie goes to the first class
    right, wrong = np.log1p(np.exp(-1)), np.log1p(np.exp(1))
    assert got.loss == pytest.approx((right + wrong + np.log1p(np.exp(-3)) + np.log(2)) / 4)
    assert got.class_correct.tolist() == [2, 0]
    assert got.class_total.tolist() == [3, 1]


def test_there_is_no_augmentation_and_no_dropout() -> None:
    model = nn.Sequential(nn.Dropout(0.9), cnn()).train()
    assert evaluate(model, image_source()).loss == evaluate(cnn(), image_source()).loss


def test_the_random_state_and_the_parameters_are_left_alone() -> None:
    model = linear()
    before, state = model.weight.detach().clone(), torch.get_rng_state()
    evaluate(model, feature_source())
    assert torch.equal(model.weight, before)
    assert torch.equal(torch.get_rng_state(), state)


def test_client_accuracies_in_closed_form() -> None:
    got = Evaluation(0.0, 0.0, np.array([1, 3, 0, 0]), np.array([4, 4, 2, 0]))
    mixes = np.array([[5, 0, 0, 0], [1, 3, 0, 0], [2, 2, 4, 0], [0, 1, 0, 9]])
    wanted = [0.25, (1 * 0.25 + 3 * 0.75) / 4, (2 * 0.25 + 2 * 0.75) / 8, 0.75]
    assert got.client_accuracies(mixes) == pytest.approx(wanted)  # unseen classes carry no weight


def test_clients_like_the_whole_see_the_whole_accuracy() -> None:
    model = linear()
    got = evaluate(model, feature_source())
    assert got.client_accuracies(got.class_total[None]) == pytest.approx([got.accuracy])
