"""Images of a published data set from disk, for pictures alone; the numbers need none of them.

The published files are Python pickles, which can execute code. They are read only if their bytes
are the published ones (md5), and then by an unpickler that knows nothing but numpy arrays. Which
data sets have such files says `fl_core.data.catalogue`; of others there are no pictures.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from fl_analysis.reading.connect import AnalysisError
from fl_core.data.catalogue import DATA_SETS
from fl_core.data.facts.data_set import Published


def published_files(data: str) -> Published | None:
    """The files of the images of `data.name`, where it is a data set that has some."""
    known = DATA_SETS.get(data)
    return None if known is None else known.files


def find_images(data: str, data_dir: Path | None) -> Path | None:
    """The folder of a data set's files in `data_dir`, else FL_DATA_DIR, else ./data; None where it
    has no such files, or they are not there.
    """
    files = published_files(data)
    if files is None or not (folder := _place(data_dir) / files.folder).is_dir():
        return None
    return folder


def check_named(names: Iterable[str], data_dir: Path | None) -> None:
    """AnalysisError for a folder that was named but has the images of none of these data sets."""
    wanted = {name: files for name in names if (files := published_files(name)) is not None}
    if data_dir is None or any(find_images(name, data_dir) for name in wanted):
        return
    for files in wanted.values():
        line = f"--data-dir {data_dir}: holds no {files.folder}; get it with {files.command}"
        raise AnalysisError(line)


def where(files: Published, data_dir: Path | None) -> str:
    """Where the images are looked for and how to get them, for a line about their absence."""
    folder = _place(data_dir).resolve()
    return f"no {files.folder} in {folder} (--data-dir, FL_DATA_DIR); get it with {files.command}"


def _place(data_dir: Path | None) -> Path:
    return data_dir or Path(os.environ.get("FL_DATA_DIR") or "data")


def read_images(files: Published, folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """(uint8 pixels (N, H, W, 3), labels (N,)) of "train" or "test"."""
    found = [read_published(folder / file, md5) for file, md5 in files.parts[part].items()]
    pixels = np.concatenate([np.asarray(one["data"], np.uint8) for one in found])
    labels = np.concatenate([np.asarray(one[files.labels], dtype=int) for one in found])
    images = pixels.reshape(-1, *files.shape).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels


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
