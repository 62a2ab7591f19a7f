"""What may be known of a data set whose every copy is the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Published:
    """The files of images as they are published: Python pickles, each known by its md5."""

    folder: str
    parts: Mapping[str, Mapping[str, str]]  # "train", "test" -> file -> md5
    meta: Mapping[str, str]  # the file of the names
    labels: str  # under which key a file of examples has its labels
    command: str  # that downloads them into ./data
    shape: tuple[int, int, int] = (3, 32, 32)  # of an image in a file's rows


@dataclass(frozen=True)
class DataSet:
    """A data set's name in print and its size; where they are known, its classes' names.

    names: as published, in the order of the labels. superclasses: the classes of each, as a text.
    short: names of superclasses that are too long for an axis. files: of its images.
    """

    title: str
    classes: int
    train: int  # examples
    test: int
    inputs: str = "images"  # a key of data.task.INPUTS
    mirrors: bool = True  # an image flipped left to right is still one of its class
    names: tuple[str, ...] = ()
    superclasses: Mapping[str, str] = field(default_factory=dict)
    short: Mapping[str, str] = field(default_factory=dict)
    files: Published | None = None
