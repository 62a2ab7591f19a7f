"""Names and numbers as a reader sees them: shared by the tables and the figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

DASH = "—"

#: The field's symbols for the suite's dotted names; others are derived from the name.
COMPACT = {
    "federation.clients": "K",
    "federation.participation": "C",
    "federation.sharding": "sharding",
    "federation.classes_per_client": "N_c",
    "federation.alpha": "α",
    "rounds": "T",
    "local.steps": "J",
    "local.lr": "lr",
    "local.momentum": "momentum",
    "local.weight_decay": "weight decay",
    "local.batch_size": "batch",
    "mask.sparsity": "sparsity",
    "mask.rounds": "R",
    "mask.rule": "mask rule",
    "mask.scope": "scope",
    "mask.hybrid_weight": "hybrid weight",
    "fine_tune.strategy": "strategy",
}
#: Letters where a value follows: s=0.5. In a column of its own a name says more.
LETTERS = {"mask.sparsity": "s", "mask.hybrid_weight": "w"}
#: Fields whose values speak for themselves.
NAMELESS = ("mask.rule", "mask.scope", "fine_tune.strategy")
DENSE = "dense"
BYTE_UNITS = {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1.0}
SHARDING = ("federation.sharding", "federation.classes_per_client", "federation.alpha")
DATA_SETS = {"cifar100": "CIFAR-100", "cifar10": "CIFAR-10"}


def compact(name: str) -> str:
    """A short column name: `local.lr` -> lr, `server.lr` -> server lr."""
    return COMPACT.get(name, name.replace(".", " ").replace("_", " "))


def known(value: object) -> bool:
    """Whether there is a value at all: not None and not NaN."""
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def cell(value: object) -> str:
    """A parameter's value in a table: three significant digits, — for none."""
    if not known(value):
        return DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(value)


def percent(mean: float, std: float | None = None) -> str:
    """An accuracy in percent with one decimal: 70.1, 70.1 ± 0.3, 70.1 ± — (one run), —.

    >>> percent(0.701, 0.0031), percent(0.701, math.nan), percent(math.nan)
    ('70.1 ± 0.3', '70.1 ± —', '—')
    """
    if not known(mean):
        return DASH
    text = f"{100 * mean:.1f}"
    if std is None:
        return text
    return f"{text} ± {100 * std:.1f}" if known(std) else f"{text} ± {DASH}"


def points(value: float) -> str:
    """A difference of accuracies in percentage points with its sign: +1.2, -0.3, — for none.

    >>> points(0.0123), points(-0.00004), points(math.nan)
    ('+1.2', '0.0', '—')
    """
    if not known(value):
        return DASH
    text = f"{100 * value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text


def span(low: float, high: float, form: Callable[[float], str] = percent) -> str:
    """An interval's ends: [69.1, 71.0], — for none.

    >>> span(0.691, 0.71), span(-0.01, 0.02, points), span(math.nan, math.nan)
    ('[69.1, 71.0]', '[-1.0, +2.0]', '—')
    """
    return f"[{form(low)}, {form(high)}]" if known(low) and known(high) else DASH


def byte_cells(values: Iterable[float]) -> tuple[str, list[str]]:
    """Byte counts in one unit, that of the middle one.

    >>> byte_cells([98e3, 2.5e6, 4e8])
    ('MB', ['0.0980', '2.50', '400'])
    """
    values = list(values)
    sizes = sorted(v for v in values if known(v))
    middle = sizes[len(sizes) // 2] if sizes else 0.0
    name, size = next((unit for unit in BYTE_UNITS.items() if middle >= unit[1]), ("B", 1.0))
    return name, [_three_digits(v / size) if known(v) else DASH for v in values]


def _three_digits(value: float) -> str:
    """Three significant digits, never as a power of ten."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def shards(config: Mapping[str, Any]) -> str:
    """How the examples are spread, in words: iid, N_c=5, Dir(0.3)."""
    kind = config.get("federation.sharding")
    if kind == "classes" or (not known(kind) and known(config.get(SHARDING[1]))):
        return f"N_c={cell(config.get(SHARDING[1]))}"
    if kind == "dirichlet":
        return f"Dir({cell(config.get(SHARDING[2]))})"
    return cell(kind)


def masked(config: Mapping[str, Any]) -> bool:
    """Whether a mask freezes anything: some sparsity, or a choice of layers.

    >>> masked({"mask.sparsity": 0.0}), masked({"mask.sparsity": 0.0, "mask.layers": "norm"})
    (False, True)
    """
    sparsity, layers = config.get("mask.sparsity"), config.get("mask.layers")
    return (known(sparsity) and sparsity != 0) or (known(layers) and layers != "all")


def arm_label(setting: Mapping[str, Any]) -> str:
    """An arm in a few words.

    >>> arm_label({"local.steps": 4, "mask.rule": "random", "mask.sparsity": 0.9})
    'J=4, random, s=0.9'
    >>> arm_label({"federation.sharding": "iid", "mask.sparsity": 0.0})
    'iid, dense'
    """
    parts = []
    lone = [name for name in setting if name.startswith("mask.")] == ["mask.sparsity"]
    for name, value in setting.items():
        if name in SHARDING or (name == "mask.hybrid_weight" and not known(value)):
            continue
        if name in NAMELESS:
            parts.append(cell(value))
        elif lone and name == "mask.sparsity" and not masked(setting):
            parts.append(DENSE)
        else:
            parts.append(f"{LETTERS.get(name, compact(name))}={cell(value)}")
    if any(name in setting for name in SHARDING):
        parts.insert(0, shards(setting))
    return ", ".join(parts) or "base"


def unit_of_j(unit: object) -> str:
    """What J counts: steps or epochs."""
    return "epochs" if unit == "epochs" else "steps"


def arm_axes(
    settings: Sequence[Mapping[str, Any]], configs: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The independent names over which arms vary; `sharding` stands for its three fields.

    A name that another one decides (rounds that fall as J grows) is no axis of its own.
    """
    names: list[str] = []
    for name in dict.fromkeys(k for setting in settings for k in setting):
        axis = "sharding" if name in SHARDING else name
        if axis not in names:
            names.append(axis)
    levels = {n: [axis_value(n, config) for config in configs] for n in names}
    axes = [n for n in names if len(set(levels[n])) > 1]
    axes.sort(key=lambda n: n in ("rounds", "eval_every"))  # the first to be found redundant
    for name in reversed(list(axes)):
        others = [n for n in axes if n != name]
        if any(_decides(levels[other], levels[name]) for other in others):
            axes.remove(name)
    return axes


def axis_value(axis: str, config: Mapping[str, Any]) -> str:
    """The level of a configuration on an axis of `arm_axes`, as text.

    Without a mask the mask's settings mean nothing: "dense" for the sparsity, — for the others.
    """
    if axis == "sharding":
        return shards(config)
    if axis.startswith("mask.") and not masked(config):
        return DENSE if axis == "mask.sparsity" else DASH
    return cell(config.get(axis))


def axis_label(axis: str, unit: object) -> str:
    """The name of an axis, with what it counts."""
    if axis == "sharding":
        return "sharding"
    if axis == "mask.sparsity":
        return "sparsity (share frozen)"
    if axis == "mask.rounds":
        return "calibration rounds R"
    return f"J (local {unit_of_j(unit)})" if axis == "local.steps" else compact(axis)


def level_label(axis: str, level: str) -> str:
    """One level of an axis, for a legend or a panel: N_c=5, J=4, s=0.9, least sensitive.

    >>> level_label("mask.sparsity", "0.9"), level_label("mask.rule", "low_magnitude")
    ('s=0.9', 'low magnitude')
    """
    if axis == "sharding":
        return level
    if axis.startswith("mask.") and level in (DENSE, DASH):
        return DENSE
    if axis in NAMELESS:
        return tick_label(axis, level)
    if axis == "head.method":
        return f"head {level}"
    return f"{LETTERS.get(axis, compact(axis))}={level}"


def tick_label(axis: str, level: str) -> str:
    """One level where the axis is named beside it."""
    return level.replace("_", " ") if axis in NAMELESS else level


def _decides(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether each level of `one` comes with a single level of `other`."""
    return len(set(zip(one, other, strict=True))) == len(set(one))
