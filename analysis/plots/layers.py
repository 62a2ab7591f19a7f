"""Where in a model a tensor lies: bands of like tensors (qkv, proj, fc1, fc2, norms) by depth.

A transformer has some 150 maskable tensors: too many rows to read. Those of one kind in one block
become one cell, weight and bias averaged by size.
"""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

_BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.(.+)$")
_KINDS = {"attn.qkv": "qkv", "attn.proj": "proj", "mlp.fc1": "fc1", "mlp.fc2": "fc2"}


def place(layer: str) -> tuple[str, int | None]:
    """The band of a tensor, and its block (None: outside the blocks).

    >>> place("backbone.blocks.3.attn.qkv.weight"), place("blocks.0.norm2.bias")
    (('qkv', 3), ('norms', 0))
    >>> place("backbone.patch_embed.proj.bias"), place("weight")
    (('patch_embed.proj', None), ('weight', None))
    """
    inside = _BLOCK.search(layer)
    name = re.sub(r"\.(weight|bias|gamma)$", "", inside[2] if inside else layer)
    if inside is None:
        return name.removeprefix("backbone."), None
    kind = "norms" if name.startswith("norm") else _KINDS.get(name, name)
    return kind, int(inside[1])


def by_place(layers: pd.DataFrame, column: str) -> pd.Series:
    """A column of `mask_layers` averaged by size over the tensors of each (band, block).

    Index (band, block), block -1 outside the blocks; in the model's order.
    """
    places = [place(str(layer)) for layer in layers.index]
    return _averages(layers, [(band, -1 if b is None else b) for band, b in places], column)


def by_block(layers: pd.DataFrame, column: str) -> pd.Series:
    """The same over all tensors of each block, without those outside the blocks."""
    blocks = [place(str(layer))[1] for layer in layers.index]
    inside = layers[np.array([block is not None for block in blocks], dtype=bool)]
    return _averages(inside, [block for block in blocks if block is not None], column)


def _averages(layers: pd.DataFrame, keys: Sequence[Hashable], column: str) -> pd.Series:
    """Means weighted by size over the tensors of a key that have a value, by first appearance."""
    sums: dict[Hashable, tuple[float, float]] = {}
    for key, value, size in zip(keys, layers[column], layers["size"], strict=True):
        if math.isfinite(value):
            total, weight = sums.get(key, (0.0, 0.0))
            sums[key] = (total + value * size, weight + size)
    index = pd.Index(list(sums), tupleize_cols=False)
    return pd.Series([total / weight for total, weight in sums.values()], index, dtype=float)
