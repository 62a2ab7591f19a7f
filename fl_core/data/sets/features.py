"""Features of the user's own: `data.name=features` with `data.path`, .npz or .safetensors.

    FILE    train_features, train_labels and test_features, test_labels
    FILE    features, labels: a fifth of every class is the test part, always the same one
    FOLDER  train.npz and test.npz (or .safetensors), each with features, labels

features: (N, D) numbers; labels: (N,) whole numbers from 0 without a gap, in a .npz also names.
With owners (train_owners, test_owners), (N,) whole numbers or names, an example is somebody's
(`federation.sharding=natural`). Other arrays are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from torch import Tensor

from fl_core.config.own import content_of
from fl_core.config.sections import DataConfig
from fl_core.data.checks import Where
from fl_core.data.numbering import Classes, classes_of, owners_of
from fl_core.data.splits import fifth
from fl_core.data.task import Task

VERSION = 1  # part of the name of what is kept
ENDS = (".npz", ".safetensors")
NEEDS = "train_features, train_labels, test_features, test_labels, or features, labels"
Array = npt.NDArray[Any]


class Part(NamedTuple):
    """A part of the data: where its features are, and the rest of it."""

    file: Path
    features: str  # the array's name
    labels: Array
    owners: Array | None
    rows: Array | None = None  # of the file; None = all


def features(data: DataConfig) -> Task:
    """The task that a file of features is; a ConfigError of one line where it is none."""
    name = content_of(data.path, "data.path")
    classes, parts = _found(data.path, name)
    load = partial(_load, parts)
    kept_as = f"{name} as features, {VERSION}"
    return Task(classes.total, load, "features", classes.names, kept_as=kept_as)


@lru_cache(maxsize=8)
def _found(path: str, content: str) -> tuple[Classes, Mapping[str, Part]]:
    """The classes and the parts, looked at once while the content stays."""
    where = Where(DataConfig(name="features", path=path), "its")
    arrays = {part: _arrays(where, *at) for part, at in _places(where, Path(path)).items()}
    numbers = classes_of(where, arrays["train"]["labels"])
    whose = owners_of(where, [one["owners"] for one in arrays.values() if "owners" in one])
    parts = {}
    for part, (file, start) in _places(where, Path(path)).items():
        own = arrays[part]
        labels = numbers.of(where, own["labels"])
        parts[part] = Part(file, f"{start}features", labels, whose(own.get("owners")))
    return numbers, parts if "test" in parts else _split(parts["train"])


def _split(whole: Part) -> dict[str, Part]:
    """Train and test of data without a test part."""
    labels, owners = whole.labels, whole.owners
    return {
        part: Part(
            whole.file, whole.features, labels[rows], None if owners is None else owners[rows], rows
        )
        for part, rows in zip(("train", "test"), fifth(labels), strict=True)
    }


def _places(where: Where, path: Path) -> dict[str, tuple[Path, str]]:
    """Of each part the file and what its arrays' names begin with."""
    if path.is_dir():
        files = {
            part: next((f for end in ENDS if (f := path / f"{part}{end}").is_file()), None)
            for part in ("train", "test")
        }
        for part, file in files.items():
            if file is None:
                where.wrong(f"has no {part}{' or '.join(ENDS)}")
        return {part: (file, "") for part, file in files.items() if file is not None}
    if path.suffix not in ENDS:
        ends = " or ".join(ENDS)
        where.wrong(f"must be a {ends} file, or a folder with train and test as such")
    there = _names(where, path)
    if any(name.startswith(("train_", "test_")) for name in there):
        return {part: (path, f"{part}_") for part in ("train", "test")}
    return {"train": (path, "")}


def _arrays(where: Where, file: Path, start: str) -> dict[str, Array]:
    """The labels and, where there are any, the owners."""
    there = _names(where, file)
    for name in ("features", "labels"):
        if start + name not in there:
            found = ", ".join(sorted(there)) or "nothing"
            inside = f"{file.name} " if file.name != Path(where.data.path).name else ""
            where.wrong(f"{inside}has no {start}{name}: needs {NEEDS}; it has {found}")
    names = [name for name in ("labels", "owners") if start + name in there]
    read = _read(where, file, [start + name for name in names])
    return {name: np.asarray(one) for name, one in zip(names, read, strict=True)}


def _load(parts: Mapping[str, Part], _: Path, *, train: bool) -> tuple[Any, ...]:
    part = parts["train" if train else "test"]
    where = Where(DataConfig(name="features", path=str(part.file)), "its")
    (values,) = _read(where, part.file, [part.features])
    chosen = values if part.rows is None else values[part.rows]
    if isinstance(chosen, Tensor):
        chosen = chosen.float()
    elif chosen.dtype.kind in "biuf":
        chosen = chosen.astype(np.float32)
    owners = () if part.owners is None else (torch.from_numpy(part.owners),)
    return chosen, torch.from_numpy(part.labels), *owners


def _names(where: Where, file: Path) -> Sequence[str]:
    return _opened(where, file, None)


def _read(where: Where, file: Path, names: Iterable[str]) -> list[Any]:
    return _opened(where, file, names)


def _opened(where: Where, file: Path, names: Iterable[str] | None) -> list[Any]:
    """Arrays or tensors of these names, or all names that a file has."""
    try:
        if file.suffix == ".npz":
            with np.load(file, allow_pickle=False) as arrays:
                return list(arrays.files) if names is None else [arrays[name] for name in names]
        with safe_open(file, framework="pt") as tensors:
            if names is None:
                return list(tensors.keys())
            return [tensors.get_tensor(name) for name in names]
    except Exception as error:  # zip's, numpy's and safetensors' readers each raise their own
        where.wrong(f"{file.name} cannot be read ({' '.join(str(error).split())})")
