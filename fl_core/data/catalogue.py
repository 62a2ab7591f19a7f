"""The data sets that the suite knows by name: their titles in print and their sizes.

Standard library only: the configuration and the analysis read it; how each is loaded, `sets` knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DataSet:
    """A data set's name in print and, where every copy of it has the same, its size."""

    title: str
    classes: int
    train: int  # examples
    test: int
    mirrors: bool = True  # an image flipped left to right is still one of its class


DEFAULT = "cifar100"
#: By the value of `data.name`.
DATA_SETS: Mapping[str, DataSet] = {
    "cifar100": DataSet("CIFAR-100", classes=100, train=50_000, test=10_000),
    "cifar10": DataSet("CIFAR-10", classes=10, train=50_000, test=10_000),
    "digits": DataSet("Digits (8 × 8)", classes=10, train=1_438, test=359, mirrors=False),
}
#: Those whose sizes the user's own files decide (`data.path`), with their titles.
OF_A_PATH: Mapping[str, str] = {
    "features": "features of a file",
    "folder": "a folder of images",
}
NAMES = (*DATA_SETS, *OF_A_PATH)


def data_title(name: str) -> str:
    """A data set's name in print; an unknown one is printed as it is."""
    return DATA_SETS[name].title if name in DATA_SETS else OF_A_PATH.get(name, name)
