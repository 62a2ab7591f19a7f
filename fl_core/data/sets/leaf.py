"""LEAF's samples of Shakespeare (Caldas et al. 2018): its own JSON files, or one table.

A sample is 80 characters and the one that follows them; each starts a character after the one
before, in the order of what a user says. What of them is taken: `fl_core.data.text`.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fl_core.config.fields import refuse
from fl_core.data.text import (
    LENGTH,
    Owners,
    Part,
    Parts,
    encoded,
    split_samples,
    thinned,
)

#: Of `flwrlabs/shakespeare`: whose a sample is, its 80 characters, the one that follows.
COLUMNS = ("character_id", "x", "y")
Columns = tuple[list[str], ...]


def leaf_parts(folder: Path, stride: int) -> Parts:
    """Of LEAF's JSON files, already split or not."""
    split = {True: sorted(folder.glob("train/*.json")), False: sorted(folder.glob("test/*.json"))}
    if all(split.values()):
        train, test = (_read_leaf(split[part]) for part in (True, False))
        shared = sorted(train.keys() & test.keys())
        return {True: _samples(train, shared, stride), False: _samples(test, shared, stride)}
    files = sorted({*folder.glob("all_data*.json"), *folder.glob("all_data/*.json")})
    if not files:
        needs = "has neither train/*.json and test/*.json nor all_data*.json, as LEAF writes them"
        raise refuse("data.path", str(folder), needs)
    users = _read_leaf(files)
    names = sorted(users)
    everything = _samples(users, names, 1)
    return _split(everything, stride)


def _read_leaf(files: list[Path]) -> dict[str, tuple[list[str], list[str]]]:
    """User -> samples: 80 characters each, and the one that follows."""
    users: dict[str, tuple[list[str], list[str]]] = {}
    for file in files:
        content = json.loads(file.read_text("utf-8"))["user_data"]
        users |= {name: (own["x"], own["y"]) for name, own in content.items()}
    return users


def _samples(
    users: Mapping[str, tuple[list[str], list[str]]], names: list[str], stride: int
) -> Part:
    """Of these users, numbered in this order."""
    text = [symbols for name in names for symbols in users[name][0]]
    following = [symbol for name in names for symbol in users[name][1]]
    sizes = [len(users[name][1]) for name in names]
    part = _part(text, following, np.repeat(np.arange(len(names)), sizes))
    return _kept(part, thinned(part.windows, part.owners, stride))


def table_parts(path: Path, stride: int) -> Parts:
    """Of one table with the columns character_id, x and y."""
    ids, text, following = _parquet(path) if path.suffix == ".parquet" else _csv(path)
    _, owners = np.unique(np.array(ids, str), return_inverse=True)
    part = _part(text, following, owners)
    order = np.argsort(owners, kind="stable")  # each owner's samples together, in their order
    return _split(_kept(part, order), stride)


def _parquet(path: Path) -> Columns:
    import pandas as pd  # not needed for anything else that trains

    table = pd.read_parquet(path, columns=list(COLUMNS))
    return tuple(table[name].tolist() for name in COLUMNS)


def _csv(path: Path) -> Columns:
    with path.open(encoding="utf-8", newline="") as file:
        rows = [[row[name] for name in COLUMNS] for row in csv.DictReader(file)]
    return tuple([row[place] for row in rows] for place in range(len(COLUMNS)))


def _split(part: Part, stride: int) -> Parts:
    """All samples of each owner split by time, then thinned; owners with both parts alone."""
    train, test = split_samples(part.owners)
    both = np.intersect1d(part.owners[train], part.owners[test])
    here = np.isin(part.owners, both)
    parts = {True: _kept(part, train & here), False: _kept(part, test & here)}
    return {which: _kept(own, thinned(*own, stride)) for which, own in parts.items()}


def _part(text: list[str], following: list[str], owners: Owners) -> Part:
    """From samples as strings."""
    lengths = {len(symbols) for symbols in text}, {len(symbol) for symbol in following}
    if lengths != ({LENGTH}, {1}) or len(text) != len(following):
        raise ValueError(f"samples must be {LENGTH} characters and the one that follows them")
    read, last = encoded("".join(text)).reshape(-1, LENGTH), encoded("".join(following))
    return Part(np.concatenate([read, last[:, None]], axis=1), owners.astype(np.int64))


def _kept(part: Part, which: np.ndarray) -> Part:
    return Part(part.windows[which], part.owners[which])
