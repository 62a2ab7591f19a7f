"""Text as symbols: LEAF's alphabet, windows of 80 characters, and how text is split by time.

A window is 81 characters, uint8: 80 to read, each with the one that follows it. Windows that start
a `stride` of 80 apart have every character as a target once. Of closer ones, as LEAF has them with
a stride of 1, most are copies of each other: a validation split drawn from them at random has been
read in training all but a character, so that validation then tells nothing but memory.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint8]
Owners = npt.NDArray[np.integer[Any]]


class Part(NamedTuple):
    """The windows of one part (N, 81), and whose each is (N,)."""

    windows: Codes
    owners: Owners


Parts = Mapping[bool, Part]  # train, or not

#: The 80 characters of LEAF (models/utils/language_utils.py): a symbol is a place in it.
ALPHABET = "\n !\"&'(),-.0123456789:;>?ABCDEFGHIJKLMNOPQRSTUVWXYZ[]abcdefghijklmnopqrstuvwxyz}"
#: Of each in print.
NAMES = ("newline", "space", *ALPHABET[2:])
LENGTH = 80
TRAIN_SHARE = 0.8  # of a role's text, the beginning; McMahan et al. 2017: "the first 80% of lines"

_BLANK = ALPHABET.index(" ")
_CODE = np.full(256, _BLANK, np.uint8)
_CODE[list(ALPHABET.encode())] = np.arange(len(ALPHABET))


def encoded(text: str) -> Codes:
    """(len(text),): the symbols of a text; a character outside the alphabet is a space.

    >>> encoded("no $").tolist()
    [67, 68, 1, 1]
    """
    plain = text if text.isascii() else re.sub(r"[^\x00-\x7f]", " ", text)
    return _CODE[np.frombuffer(plain.encode(), np.uint8)]


def decoded(codes: Codes) -> str:
    """The text of these symbols."""
    return "".join(ALPHABET[code] for code in codes)


def windows(codes: Codes, stride: int) -> Codes:
    """(n, 81): a text's windows, whole ones alone."""
    if len(codes) <= LENGTH:
        return np.empty((0, LENGTH + 1), np.uint8)
    return np.lib.stride_tricks.sliding_window_view(codes, LENGTH + 1)[::stride].copy()


def split_text(codes: Codes) -> tuple[Codes, Codes]:
    """A role's text to train on, and the text after it: no window is of both."""
    end = int(TRAIN_SHARE * len(codes))
    return codes[:end], codes[end:]


def split_samples(owners: Owners) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which of LEAF's samples (N,), in the order of each owner's text, train and which test.

    As LEAF's split_data.py has it: the first 80 %, and those that start behind their last window.
    """
    place, size = _place_and_size(owners)
    count = np.maximum(1, (TRAIN_SHARE * size).astype(np.int64))
    return place < count, place >= count + LENGTH


def thinned(samples: Codes, owners: Owners, stride: int) -> npt.NDArray[np.bool_]:
    """Which samples (N, 81) to keep, so that those left of a text start a stride apart.

    A sample goes on with the text of the one before where it is that, a character later; from the
    first of each such run every `stride`-th is kept.
    """
    goes_on = np.zeros(len(samples), np.bool_)
    goes_on[1:] = (samples[1:, :-1] == samples[:-1, 1:]).all(1) & (owners[1:] == owners[:-1])
    index = np.arange(len(samples))
    start = np.maximum.accumulate(np.where(goes_on, 0, index))
    return np.asarray((index - start) % stride == 0)


def _place_and_size(owners: Owners) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(N,) each: the how-manieth of its owner a sample is, and how many that has."""
    _, code, count = np.unique(owners, return_inverse=True, return_counts=True)
    order = np.argsort(code, kind="stable")
    first = np.cumsum(count) - count
    place = np.empty(len(owners), np.int64)
    place[order] = np.arange(len(owners)) - first[code[order]]
    return place, count[code]
