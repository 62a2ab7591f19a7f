"""A data set of the Hugging Face hub: `data.name=hf:OWNER/NAME`, or `hf:OWNER/NAME@REVISION`.

Read by the library `datasets` (`pip install '.[hf]'`), from its own cache or the network. What
names a trial is this name, not the content: a revision pins it.

Train is the split of this name, test the split test, else validation; else a fifth of every class
is the test part. Inputs: the one column of images, each made a square of `data.image_size` (see
data.decoding); else all columns of numbers but the label and the owner. Label: the first of LABELS
that there is, else the only column of classes. Owner: the first of OWNERS, if there is one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fl_core.config.sections import DataConfig
from fl_core.data.catalogue import HUB
from fl_core.data.checks import Where
from fl_core.data.decoding import VERSION, UnreadableImage, decode
from fl_core.data.numbering import Classes, classes_of, owners_of
from fl_core.data.splits import fifth
from fl_core.data.task import Task

LABELS = ("label", "labels", "fine_label", "character", "class", "target", "y")
OWNERS = ("writer_id", "character_id", "client_id", "user_id", "speaker_id", "owner")
NUMBER = re.compile(r"u?int\d+|float\d+")


class Encoded(BytesIO):
    """The bytes of an image file, by its number in a line that tells what is wrong."""

    def __init__(self, content: bytes, number: int) -> None:
        super().__init__(content)
        self.number = number

    def __str__(self) -> str:
        return f"image {self.number}"


class Files(Sequence[Any]):
    """The image files of a column, each read when it is asked for."""

    def __init__(self, rows: Any, column: str) -> None:
        self.rows, self.column = rows, column

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> Any:
        found = self.rows[index][self.column]
        return Encoded(found["bytes"], index) if found["bytes"] else Path(found["path"])


def hub(data: DataConfig) -> Task:
    """The task of this name; a ConfigError of one line where it cannot be read as one."""
    splits = _splits(data.name)
    where, train = Where(data, "its"), splits["train"]
    label = _column(where, train, LABELS, "label")
    names = getattr(train.features[label], "names", None)
    values = _values(train, [label])[label]
    classes = Classes(len(names)) if names else classes_of(where, values)
    load = partial(_load, data, classes)
    size = f" at {data.image_size} px" if _images(where, train) else ""
    kept_as = f"{data.name}, {len(train)} examples{size}, {VERSION}"
    inputs = "images" if size else "features"
    return Task(classes.total, load, inputs, tuple(names or classes.names), kept_as=kept_as)


@lru_cache(maxsize=4)
def _splits(name: str) -> dict[str, Any]:
    """The splits train and, where there is one, test."""
    where = Where(DataConfig(name=name), "its")
    try:
        from datasets import load_dataset
    except ImportError:
        where.wrong("needs the library datasets: pip install '.[hf]'")
    place, _, revision = name.removeprefix(HUB).partition("@")
    try:
        found = load_dataset(place, revision=revision or None)
    except Exception as error:  # the network's, the hub's and its readers' own
        why = " ".join(f"{type(error).__name__}: {error}".split())
        where.wrong(f"cannot be loaded ({why})")
    if "train" not in found:
        where.wrong(f"has no split train; it has {', '.join(found)}")
    test = next((one for one in ("test", "validation") if one in found), None)
    return {"train": found["train"]} | ({"test": found[test]} if test else {})


def _load(data: DataConfig, classes: Classes, _: Path, *, train: bool) -> tuple[Any, ...]:
    """Inputs, labels and, where there are any, owners of a part."""
    splits, where = _splits(data.name), Where(data, "its")
    whole = splits["train"] if train or "test" not in splits else splits["test"]
    label = _column(where, splits["train"], LABELS, "label")
    owner = next((name for name in OWNERS if name in whole.features), None)
    values = _values(whole, [label, owner] if owner else [label])
    labels = classes.of(where, values[label])
    rows = np.arange(len(labels))
    if "test" not in splits:
        rows = fifth(labels)[0 if train else 1]
    found = [torch.from_numpy(labels[rows])]
    if owner:
        numbered = owners_of(where, [values[owner]])(values[owner])
        found.append(torch.from_numpy(np.asarray(numbered)[rows]))
    chosen = whole.select(rows)
    if image := _images(where, whole):
        from datasets import Image

        files = Files(chosen.cast_column(image, Image(decode=False)), image)
        try:
            return decode(files, data.image_size, f"images of {data.name}"), *found
        except UnreadableImage as error:
            where.wrong(str(error))
    numbers = _numbers(where, whole, {label, owner})
    columns = _values(chosen, numbers)
    table = [np.stack(list(columns[name])).reshape(len(rows), -1) for name in numbers]
    return np.concatenate(table, axis=1).astype(np.float32), *found


def _values(split: Any, names: Sequence[str]) -> dict[str, Any]:
    """Columns as arrays."""
    found = split.select_columns(list(names)).with_format("numpy")[:]
    return {name: np.asarray(found[name]) for name in names}


def _images(where: Where, split: Any) -> str | None:
    """The column of images, or None."""
    found = [name for name, kind in split.features.items() if type(kind).__name__ == "Image"]
    if len(found) > 1:
        where.wrong(f"has several columns of images, {', '.join(found)}: needs a Task of your own")
    return found[0] if found else None


def _column(where: Where, split: Any, known: Sequence[str], what: str) -> str:
    """The column of this name, or of classes where there is one."""
    classes = [name for name, kind in split.features.items() if getattr(kind, "names", None)]
    named = [name for name in known if name in split.features]
    if not named and len(classes) != 1:
        wanted = f"{', '.join(known)}, or one column of classes alone"
        where.wrong(f"has no {what}: needs a column {wanted}; it has {', '.join(split.features)}")
    return (named or classes)[0]


def _numbers(where: Where, split: Any, without: set[str | None]) -> list[str]:
    """The columns of numbers, or of lists of numbers."""

    def is_number(kind: Any) -> bool:
        inner = getattr(kind, "feature", kind)
        return NUMBER.fullmatch(str(getattr(inner, "dtype", ""))) is not None

    found = [n for n, kind in split.features.items() if n not in without and is_number(kind)]
    if not found:
        where.wrong(f"has no column of images or numbers; it has {', '.join(split.features)}")
    return found
