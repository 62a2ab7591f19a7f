"""A folder of images, one folder a class: torchvision's ImageFolder, and Tiny ImageNet's layout.

    DIR/train/CLASS/*.jpg   with DIR/test/CLASS/*.jpg, or val instead of test
    DIR/train/CLASS/...     with DIR/val/images/* and DIR/val/val_annotations.txt (Tiny ImageNet)
    DIR/CLASS/*.jpg         a seeded fifth of every class is the test part, as without test and val

Images may lie in folders below that of their class and be of any size (see data.decoding); what
is hidden or no image is left alone. Where there are test and val, val is. Classes are numbered in
the order of their names, as in torchvision; words.txt, where it is there, translates WordNet's.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from fl_core.base.contents import listing
from fl_core.base.errors import ConfigError
from fl_core.config.fields import refuse
from fl_core.config.own import content_of
from fl_core.config.sections import DataConfig
from fl_core.data.decoding import ENDS, VERSION, UnreadableImage, decode
from fl_core.data.sources import split_train_val
from fl_core.data.splits import fifth
from fl_core.data.task import Task

ANNOTATIONS = "val/val_annotations.txt"
Labelled = list[tuple[str, int]]  # (path relative to the folder, label)


class Part(NamedTuple):
    """The files of a part of the data, relative to the folder, with their labels."""

    files: tuple[str, ...]
    labels: tuple[int, ...]


class Parts(NamedTuple):
    """Both of them; `of_train`: the test part is set aside here."""

    train: Part
    test: Part
    of_train: bool


def folder(data: DataConfig) -> Task:
    """The task that the folder `data.path` is; a ConfigError of one line where it is none."""
    if not Path(data.path).is_dir():
        raise _wrong(data, "is not a folder")
    name = content_of(data.path, "data.path")
    return _task(data, listing(data.path).state, f"{name} at {data.image_size} px, {VERSION}")


@lru_cache(maxsize=8)
def _task(data: DataConfig, state: str, kept_as: str) -> Task:
    """Found once while the folder's state stays: a task is asked for all the time."""
    sizes = listing(data.path).sizes
    root = Path(data.path)
    start = "train/" if (root / "train").is_dir() else ""
    classes = _folders(root / start)
    _check_classes(data, classes, start)
    images = [name for name in sizes if name.lower().endswith(ENDS)]
    found = _below(images, start, classes)
    for empty in sorted(set(range(len(classes))) - {label for _, label in found}):
        why = f"class folder {start}{classes[empty]} has no images ({', '.join(ENDS)})"
        raise _wrong(data, why)
    test = _test_part(data, images, classes, start)
    train, rest = (found, test) if test else _split(data, found, classes)
    for name, _ in (*train, *rest):
        if not sizes[name]:
            raise _wrong(data, f"{name}: is no image that can be read (an empty file)")
    parts = Parts(_part(train), _part(rest), of_train=not test)
    _check_validation(data, parts.train, classes)
    names = _in_words(root, classes)
    return Task(len(classes), partial(_load, data, parts), names=names, kept_as=kept_as)


def _load(data: DataConfig, parts: Parts, _: Path, *, train: bool) -> tuple[Tensor, Tensor]:
    """Decoded images and labels of a part."""
    part, root = parts.train if train else parts.test, Path(data.path)
    if parts.of_train and not train:
        share = f"a fifth of every class, {len(part.files)} images in all"
        print(f"{data.path} has no test part: {share}, is set aside for it", file=sys.stderr)
    what = f"images of {data.path} ({'train' if train else 'test'})"
    try:
        pixels = decode([root / name for name in part.files], data.image_size, what)
    except UnreadableImage as error:
        raise _wrong(data, str(error).removeprefix(f"{data.path}/")) from error
    return pixels, torch.tensor(part.labels)


def _folders(where: Path) -> list[str]:
    """The names of the folders in a folder, in order, without hidden ones."""
    found = (one.name for one in where.iterdir() if one.is_dir())
    return sorted(name for name in found if not name.startswith("."))


def _below(images: Iterable[str], start: str, classes: Sequence[str]) -> Labelled:
    """The images in the folders of classes below `start`."""
    labels = {name: label for label, name in enumerate(classes)}
    inside = ((one, one.removeprefix(start)) for one in images if one.startswith(start))
    named = ((one, rest.partition("/")) for one, rest in inside)
    return [(one, labels[name]) for one, (name, slash, _) in named if slash and name in labels]


def _test_part(
    data: DataConfig, images: Sequence[str], classes: Sequence[str], start: str
) -> Labelled | None:
    """The test part that the folder has, or None."""
    root = Path(data.path)
    if not start:
        return None
    if (root / ANNOTATIONS).is_file():
        return _annotated(data, images, classes)
    for part in ("test", "val"):
        there = _folders(root / part) if (root / part).is_dir() else []
        if there:
            if unknown := sorted(set(there) - set(classes)):
                raise _wrong(data, f"{part} has {_some(unknown)}, which train lacks")
            if not (found := _below(images, f"{part}/", classes)):
                raise _wrong(data, f"{part} has no images ({', '.join(ENDS)})")
            return found
    return None


def _annotated(data: DataConfig, images: Sequence[str], classes: Sequence[str]) -> Labelled:
    """Tiny ImageNet's validation images: a line each, of the file's name, its class and a box."""
    labels, there = {name: label for label, name in enumerate(classes)}, set(images)
    found = {}
    for line in (Path(data.path) / ANNOTATIONS).read_text().splitlines():
        name, _, rest = line.partition("\t")
        file, of = f"val/images/{name}", rest.partition("\t")[0]
        if of not in labels:
            raise _wrong(data, f"{ANNOTATIONS} has {of!r}, which train lacks")
        if file not in there:
            raise _wrong(data, f"{ANNOTATIONS} names {file}, which is not there")
        found[file] = labels[of]
    return sorted(found.items())


def _split(
    data: DataConfig, all_images: Labelled, classes: Sequence[str]
) -> tuple[Labelled, Labelled]:
    """Train and test of a folder without a test part."""
    labels = np.array([label for _, label in all_images])
    train, test = fifth(labels)
    if few := _absent(labels, test, classes):
        raise _wrong(data, f"{few}: too few to set a fifth aside for the test")
    return [all_images[i] for i in train], [all_images[i] for i in test]


def _part(found: Labelled) -> Part:
    files, labels = zip(*sorted(found, key=lambda one: (one[1], one[0])), strict=True)
    return Part(files, labels)


def _check_classes(data: DataConfig, classes: Sequence[str], start: str) -> None:
    where = start.rstrip("/") or "it"
    if not start and {"test", "val"} & set(classes):
        raise _wrong(data, f"has {_some(classes)} but no train")
    if len(classes) < 2:
        found = f"{where} has {_some(classes) or 'none'}"
        raise _wrong(data, f"needs a folder of images for each of at least two classes: {found}")


def _check_validation(data: DataConfig, train: Part, classes: Sequence[str]) -> None:
    """The validation split has images of every class."""
    labels = np.array(train.labels)
    _, val = split_train_val(labels, replace(data, train_on="train"))
    if few := _absent(labels, val, classes):
        split = f"validation split of data.val_fraction={data.val_fraction:g}"
        raise _wrong(data, f"{few} to train on: too few for the {split}")


def _absent(labels: np.ndarray, part: np.ndarray, classes: Sequence[str]) -> str:
    """The first class that a part has no image of, with how many there are; "" for none."""
    for label, name in enumerate(classes):
        if not (labels[part] == label).any():
            return f"class {name} has {int((labels == label).sum())} images"
    return ""


def _in_words(root: Path, classes: Sequence[str]) -> tuple[str, ...]:
    """The classes by the first word for each in words.txt, if that tells all of them apart."""
    words: dict[str, str] = {}
    if (root / "words.txt").is_file():
        lines = (root / "words.txt").read_text().splitlines()
        words = {name: rest.split(",")[0] for name, _, rest in (x.partition("\t") for x in lines)}
    named = tuple(words.get(name, name) for name in classes)
    return named if len(set(named)) == len(classes) else tuple(classes)


def _some(names: Sequence[str]) -> str:
    """A few of them."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _wrong(data: DataConfig, why: str) -> ConfigError:
    return refuse("data.path", data.path, why)
