"""Labels and owners as whole numbers from 0, where a file has numbers or names of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fl_core.data.checks import Where

Array = npt.NDArray[Any]
NAMED = "UO"  # numpy's kinds of texts


class Classes(NamedTuple):
    """The classes of training labels."""

    total: int
    names: tuple[str, ...] = ()  # in the order of their numbers, where the labels are names

    def of(self, where: Where, labels: Array) -> Array:
        """(N,) int64 of labels in any of the forms; ConfigError for others."""
        if not self.names or labels.ndim != 1:
            return _whole(where, "labels", labels)
        known = {name: number for number, name in enumerate(self.names)}
        if unknown := sorted(set(map(str, labels)) - set(known)):
            where.wrong(f"the test part has the class {unknown[0]!r}, the training part has not")
        return np.array([known[str(name)] for name in labels], dtype=np.int64)


def classes_of(where: Where, labels: Array) -> Classes:
    """The classes of the training part: names, or 0, 1, ... without a gap."""
    if labels.size == 0:
        where.wrong("has no examples")
    if labels.dtype.kind in NAMED:
        names = tuple(sorted(set(map(str, labels.ravel()))))
        return Classes(len(names), names)
    there = np.unique(_whole(where, "labels", labels))
    if there[0] < 0:
        where.wrong(f"its labels must be 0, 1, ... and not {there[0]}")
    gaps = np.flatnonzero(there != np.arange(len(there)))
    if len(gaps):
        where.wrong(
            f"its labels must be 0, 1, ... without a gap: up to {there[-1]}, none is {gaps[0]}"
        )
    return Classes(len(there))


def owners_of(where: Where, owners: Sequence[Array]) -> Callable[[Array | None], Array | None]:
    """What numbers the owners of each part, given those of all parts: names in their order."""
    named = [one for one in owners if one.dtype.kind in NAMED]
    names = np.unique(np.concatenate([one.ravel().astype(str) for one in named])) if named else None

    def numbered(one: Array | None) -> Array | None:
        if one is None or names is None or one.dtype.kind not in NAMED:
            return None if one is None else _whole(where, "owners", one)
        return np.searchsorted(names, one.astype(str)).astype(np.int64)

    return numbered


def _whole(where: Where, name: str, values: Array) -> Array:
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        where.wrong(f"its {name} must be whole numbers or names, not {values.dtype}")
    whole = values.astype(np.int64)
    if (whole != values).any():
        where.wrong(f"its {name} must be whole numbers")
    return whole
