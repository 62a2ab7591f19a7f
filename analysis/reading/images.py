"""CIFAR-100's images from disk, for pictures of images alone; the numbers need none of them.

The published files are Python pickles, which can execute code. They are read only if their bytes
are the published ones (md5), and then by an unpickler that knows nothing but numpy arrays.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from fl_analysis.reading.connect import AnalysisError

FOLDER = "cifar-100-python"
#: As torchvision publishes them (`torchvision.datasets.CIFAR100`).
MD5 = {
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "meta": "7973b15100ade9c7d40fb424638fde48",
}
DOWNLOAD = (
    "python -c \"from torchvision.datasets import CIFAR100; CIFAR100('data', download=True)\""
)


def find_images(data_dir: Path | None) -> Path | None:
    """The folder of CIFAR-100's files: `data_dir`, else FL_DATA_DIR, else ./data; None if absent.

    A folder that was named but holds no CIFAR-100 is an error.
    """
    folder = (data_dir or Path(os.environ.get("FL_DATA_DIR") or "data")) / FOLDER
    if folder.is_dir():
        return folder
    if data_dir is not None:
        raise AnalysisError(f"--data-dir {data_dir}: holds no {FOLDER}; get it with {DOWNLOAD}")
    return None


def where(data_dir: Path | None) -> str:
    """Where the images are looked for and how to get them, for a line about their absence."""
    folder = data_dir or Path(os.environ.get("FL_DATA_DIR") or "data")
    return f"no {FOLDER} in {folder.resolve()} (--data-dir, FL_DATA_DIR); get it with {DOWNLOAD}"


def read_images(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 pixels (N, 32, 32, 3), labels (N,)) of "train" or "test"."""
    found = read_published(folder / part, MD5[part])
    pixels = np.asarray(found["data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels), np.asarray(found["fine_labels"], dtype=int)


def read_published(path: Path, md5: str) -> dict[str, Any]:
    """A pickled dictionary whose bytes have this md5; AnalysisError otherwise."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise AnalysisError(f"{path}: {error.strerror}") from None
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if digest != md5:
        raise AnalysisError(f"{path}: not the published file (md5 {digest}, published {md5})")
    found: dict[str, Any] = ArraysOnly(io.BytesIO(content), encoding="latin1").load()
    return found


class ArraysOnly(pickle.Unpickler):
    """Unpickles numbers, text, lists, dictionaries and numpy arrays; refuses everything else."""

    def find_class(self, module: str, name: str) -> Any:
        """The three names that an array needs (numpy 2 moved the third)."""
        allowed = {
            ("numpy", "ndarray"): np.ndarray,
            ("numpy", "dtype"): np.dtype,
            ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
            ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        }
        if (module, name) not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed here")
        return allowed[module, name]
