"""The order of an axis's levels where they have one: for a palette, an axis, a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fl_analysis.results.labels import axis_value
from fl_core.config.vocabulary import DASH, DENSE, SHARDING, known

IID = "iid"


def ordered_levels(axis: str, configs: Sequence[Mapping[str, Any]]) -> list[str] | None:
    """The levels of an axis from the plainest on; None where they are names without an order.

    Numbers rise, dense before them. Shardings go from iid to the most different clients: fewer
    classes each, or a smaller alpha; ways of sharding that are no matter of degree have no order.

    >>> kinds = [("classes", 1), ("iid", None), ("classes", 50)]
    >>> configs = [{"federation.sharding": k, "federation.classes_per_client": n} for k, n in kinds]
    >>> ordered_levels("sharding", configs)
    ['iid', 'N_c=50', 'N_c=1']
    >>> ordered_levels("data.name", [{"data.name": "folder"}, {"data.name": "features"}])
    """
    places: dict[str, float] = {}
    kinds = set()
    for config in configs:
        level = axis_value(axis, config)
        if axis == "sharding":
            kind, place = _difference(config)
            kinds |= {kind} - {IID}
        else:
            place = _number(level)
        if place is None or len(kinds) > 1:
            return None
        places[level] = place
    return sorted(places, key=lambda level: places[level])


def _difference(config: Mapping[str, Any]) -> tuple[str, float | None]:
    """The kind of a sharding, and how different the clients are in it: minus its size."""
    kind, classes, alpha = (config.get(name) for name in SHARDING)
    kind = str(kind) if known(kind) else "classes" if known(classes) else ""
    size = {IID: math.inf, "classes": classes, "dirichlet": alpha, "dirichlet_labels": alpha}
    found = size.get(kind)
    return kind, -float(found) if found is not None and known(found) else None


def _number(level: str) -> float | None:
    if level in (DENSE, DASH):
        return -math.inf
    try:
        return float(level)
    except ValueError:
        return None
