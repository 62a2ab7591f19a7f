"""The next-character model: its size is the published one, its start the one that it says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fl_core.base.params import FlatModule
from fl_core.config.sections import BackboneConfig
from fl_core.models.backbone import Classifier, build_backbone
from fl_core.models.heads import linear_head
from fl_core.models.nets.char_lstm import CharLSTM

#: Parameters of a 2 x 256 LSTM behind an embedding of 8, with one bias a gate: LEAF's
#: stacked_lstm.py has 80 characters, TensorFlow Federated's 90 symbols with those it adds.
PUBLISHED = {80: 817_872, 90: 820_522}
SECOND_BIASES = 2 * 4 * 256


def built(name: str, symbols: int) -> tuple[nn.Module, int]:
    config = BackboneConfig(name=name, weights="random")
    backbone, features, _ = build_backbone(config, None, 0, symbols)
    return Classifier(backbone, linear_head(features, symbols)), features


@pytest.mark.parametrize("symbols", PUBLISHED)
def test_the_parameters_are_the_published_ones(symbols: int) -> None:
    model, features = built("char_lstm", symbols)
    assert features == 256
    assert FlatModule(model).layout.size == PUBLISHED[symbols] + SECOND_BIASES


def test_the_small_one() -> None:
    model, features = built("char_lstm_small", 80)
    assert features == 64
    assert FlatModule(model).layout.size == 58_064
    assert model(torch.zeros(3, 80, dtype=torch.long)).shape == (3, 80, 80)


def test_gates_begin_as_in_keras() -> None:
    lstm = CharLSTM(12, 4, 16, 2).lstm
    for name, weights in lstm.named_parameters():
        for gate, part in enumerate(weights.detach().chunk(4)):
            if name.startswith("weight_hh"):
                torch.testing.assert_close(part @ part.T, torch.eye(16), rtol=1e-5, atol=1e-5)
            if name.startswith("bias"):
                assert (part == (gate == 1 and name.startswith("bias_ih"))).all()


def test_the_future_is_not_read() -> None:
    model = CharLSTM(12, 4, 16, 2)
    text = torch.randint(0, 12, (2, 8))
    other = torch.cat([text[:, :5], (text[:, 5:] + 1) % 12], dim=1)
    assert torch.equal(model(text)[:, :5], model(other)[:, :5])
