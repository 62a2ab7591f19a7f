"""The data sets that the suite knows by name: their titles in print and their sizes.

Standard library only: the configuration and the analysis read it; how each is loaded, `sets` knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath

from fl_core.data.facts.cifar import CIFAR10, CIFAR100
from fl_core.data.facts.data_set import DataSet

DEFAULT = "cifar100"
#: By the value of `data.name`.
DATA_SETS: Mapping[str, DataSet] = {
    "cifar100": CIFAR100,
    "cifar10": CIFAR10,
    "digits": DataSet("Digits (8 × 8)", classes=10, train=1_438, test=359, mirrors=False),
    "tinyshakespeare": DataSet(
        "tinyshakespeare's speaking roles (not LEAF's users)",
        classes=80,
        train=10_031,
        test=2_440,
        inputs="tokens",
    ),
}
#: Those whose sizes the user's own files decide (`data.path`), with their titles.
OF_A_PATH: Mapping[str, str] = {
    "features": "features of a file",
    "folder": "a folder of images",
    "shakespeare": "Shakespeare's plays",
}
#: Those whose examples are windows of text.
TEXTS = ("tinyshakespeare", "shakespeare")
#: What the name of a data set of the Hugging Face hub begins with, and its form.
HUB, HUB_FORM = "hf:", "hf:OWNER/NAME"
NAMES = (*DATA_SETS, *OF_A_PATH)


def data_title(name: str, path: str = "") -> str:
    """A data set's name in print, with that of its file or folder where it has one; an unknown one
    is printed as it is.

    >>> data_title("features", "/somewhere/spectra.npz"), data_title("mine:spectra")
    ('spectra.npz (features of a file)', 'mine:spectra')
    """
    if name in OF_A_PATH:
        file = PurePath(path).name
        return f"{file} ({OF_A_PATH[name]})" if file else OF_A_PATH[name]
    return DATA_SETS[name].title if name in DATA_SETS else name
