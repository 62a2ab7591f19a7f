"""Arms of a study: settings of the scientific parameters, put together by name."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence

from fl_core.config.sections import RULES
from fl_core.config.trial_config import Value

Setting = Mapping[str, Value]
DENSE: Setting = {"mask.sparsity": 0.0}

#: The field's letters for dotted names, in tables and on the screen.
SYMBOLS = {
    "federation.classes_per_client": "N_c",
    "federation.clients": "K",
    "federation.participation": "C",
    "federation.alpha": "alpha",
    "local.steps": "J",
    "mask.sparsity": "s",
    "mask.rounds": "R",
    "mask.hybrid_weight": "w",
}
#: Fields whose values speak for themselves.
NAMELESS = ("mask.rule", "mask.scope", "fine_tune.strategy")


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
    """These rules of a mask (all by default) with the settings that a rule needs."""
    return [
        {"mask.rule": name, "mask.hybrid_weight": hybrid_weight}
        if name == "hybrid"
        else {"mask.rule": name}
        for name in names or RULES
    ]


def each(name: str, values: Sequence[Value]) -> list[Setting]:
    """One field at several values."""
    return [{name: value} for value in values]


def arm_name(values: Setting) -> str:
    """A short name: `iid, J=4`, `N_c=5, J=8` or `random, s=0.9`; `dense` for no sparsity."""
    masked = [name for name in values if name.startswith("mask.")]
    parts = []
    for name, value in values.items():
        if name == "federation.sharding":
            if value == "iid":
                parts.append("iid")
        elif masked == ["mask.sparsity"] and name in masked and value == 0:
            parts.append("dense")
        elif name in NAMELESS:
            parts.append(str(value))
        else:
            leaf = SYMBOLS.get(name, name.split(".")[0] if name.endswith(".name") else name)
            parts.append(f"{leaf}={value}")
    return ", ".join(parts) or "all"
