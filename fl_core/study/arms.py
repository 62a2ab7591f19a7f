"""Arms of a study: settings of the scientific parameters, put together by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from fl_core.config.mask_section import RULES
from fl_core.config.trial_config import Value

Setting = Mapping[str, Value]
DENSE: Setting = {"mask.sparsity": 0.0}
COMPARED = RULES[:6]  # the rules that the brief and its reports compare


def grid(*axes: Iterable[Setting]) -> list[Setting]:
    """Every combination of one setting of each axis, the last axis running fastest.

    >>> grid([{"seed": 1}, {"seed": 2}], [{"rounds": 5}])
    [{'seed': 1, 'rounds': 5}, {'seed': 2, 'rounds': 5}]
    """
    settings: list[Setting] = []
    for combination in itertools.product(*axes):
        merged: dict[str, Value] = {}
        for setting in combination:
            merged |= setting
        settings.append(merged)
    return settings


def shardings(*classes: int | None) -> list[Setting]:
    """Clients with N_c classes each; None is iid."""
    return [
        {"federation.sharding": "iid"}
        if n is None
        else {"federation.sharding": "classes", "federation.classes_per_client": n}
        for n in classes
    ]


def rules(*names: str, hybrid_weight: float = 0.5) -> list[Setting]:
    """These rules of a mask (the six of the brief by default) with the settings that it needs."""
    return [
        {"mask.rule": name, "mask.hybrid_weight": hybrid_weight}
        if name == "hybrid"
        else {"mask.rule": name}
        for name in names or COMPARED
    ]


def each(name: str, values: Sequence[Value]) -> list[Setting]:
    """One field at several values."""
    return [{name: value} for value in values]
