"""The naive baseline of a text: the character that most often follows the one just read."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fl_core.data.text import Codes

Symbols = npt.NDArray[np.integer[Any]]


def bigram(windows: Codes) -> Symbols:
    """(256,): for each symbol its most frequent successor in these windows (N, L + 1); ties go to
    the first, and a symbol that never occurs gets the most frequent one of all.
    """
    pairs = np.zeros((256, 256), np.int64)
    np.add.at(pairs, (windows[:, :-1].ravel(), windows[:, 1:].ravel()), 1)
    guess: Symbols = pairs.argmax(1)
    guess[pairs.sum(1) == 0] = pairs.sum(0).argmax()
    return guess


def bigram_accuracy(guess: Symbols, windows: Codes) -> tuple[float, float]:
    """(on the last characters, on every one) of these windows."""
    hits = guess[windows[:, :-1]] == windows[:, 1:]
    return float(hits[:, -1].mean()), float(hits.mean())
