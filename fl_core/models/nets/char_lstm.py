"""The next-character model of LEAF (Caldas et al. 2018) and Reddi et al. (ICLR 2021, appendix B).

An embedding of 8 numbers a character, two LSTM layers of 256 units; the last layer, from the units
to the characters, is the classifier's head. Their frameworks have one bias a gate, torch has two
that are added up: 2,048 parameters more, 819,920 with LEAF's 80 characters, where LEAF's own code
has 817,872 (and Reddi et al.'s with 90 symbols 820,522). The sum moves twice as fast under SGD.

Weights begin as in Keras, whose LSTM the second paper used, gate by gate: Glorot's uniform for what
comes in, an orthogonal matrix for what comes back, biases of zero but one for the forget gate
(LEAF's cell adds the same one). The embedding begins as torch's, N(0, 1): with Keras's +-0.05 SGD
predicts the space everywhere for its first hundreds of steps (LOG.md).
"""

from __future__ import annotations

from torch import Tensor, nn

from fl_core.config.sections import BackboneConfig

EMBEDDING, UNITS, LAYERS = 8, 256, 2
SMALL_UNITS = 64


class CharLSTM(nn.Module):
    """(B, L) symbols, as int64 -> (B, L, units): what has been read up to each position."""

    def __init__(self, symbols: int, embedding: int, units: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, embedding)
        self.lstm = nn.LSTM(embedding, units, layers, batch_first=True)
        for name, weights in self.lstm.named_parameters():
            for gate, part in enumerate(weights.data.chunk(4)):  # input, forget, cell, output
                if name.startswith("weight_ih"):
                    nn.init.xavier_uniform_(part)
                elif name.startswith("weight_hh"):
                    nn.init.orthogonal_(part)
                else:
                    nn.init.constant_(part, float(gate == 1 and name.startswith("bias_ih")))

    def forward(self, symbols: Tensor) -> Tensor:
        read: Tensor = self.lstm(self.embedding(symbols))[0]
        return read


def char_lstm_small(config: BackboneConfig, classes: int) -> tuple[nn.Module, int]:
    """Ours, nobody's published: two layers of 64 units, a tenth of the work."""
    return CharLSTM(classes, EMBEDDING, SMALL_UNITS, LAYERS), SMALL_UNITS


def char_lstm(config: BackboneConfig, classes: int) -> tuple[nn.Module, int]:
    """(B, L) -> (B, L, 256), for as many symbols as classes."""
    return CharLSTM(classes, EMBEDDING, UNITS, LAYERS), UNITS
