"""Names and numbers as a reader sees them: shared by the tables and the figures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from fl_core.config.methods import unread
from fl_core.config.titles import METHOD, TITLES, method_fields, method_title, title
from fl_core.config.vocabulary import (
    DASH,
    DENSE,
    SHARDING,
    cell,
    compact,
    field,
    known,
    masked,
    shards,
)

BYTE_UNITS = {"GB": 1e9, "MB": 1e6, "kB": 1e3, "B": 1.0}
TIME_UNITS = {"days": 86_400.0, "h": 3600.0, "min": 60.0, "s": 1.0}


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
    """Byte counts in one unit, that of the middle one above zero.

    >>> byte_cells([98e3, 2.5e6, 4e8, 0, 0])
    ('MB', ['0.0980', '2.50', '400', '0', '0'])
    """
    values = list(values)
    name, size = unit_for(values, BYTE_UNITS)
    return name, [in_unit(v, size) for v in values]


def unit_for(values: Iterable[float], units: Mapping[str, float]) -> tuple[str, float]:
    """The unit, of these from the largest to the smallest, that fits the middle value above zero.

    >>> unit_for([100.0, 4000.0, 9000.0], TIME_UNITS)
    ('h', 3600.0)
    """
    sizes = sorted(v for v in values if known(v) and v > 0)
    middle = sizes[len(sizes) // 2] if sizes else 0.0
    return next((unit for unit in units.items() if middle >= unit[1]), [*units.items()][-1])


def in_unit(value: float, size: float) -> str:
    """An amount in units of this size, — for none."""
    return _three_digits(value / size) if known(value) else DASH


def _three_digits(value: float) -> str:
    """Three significant digits, never as a power of ten."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if value > 0 else "0"


def unit_of_j(configs: Iterable[Mapping[str, Any]]) -> str:
    """What J counts in these configurations: steps, epochs, or epochs/steps where they differ."""
    units = {"epochs" if c.get("local.unit") == "epochs" else "steps" for c in configs}
    return "/".join(sorted(units)) or "steps"


def field_values(name: str, configs: Sequence[Mapping[str, Any]]) -> str:
    """A field's value over the arms: one, or several as a/b/c."""
    seen = list(dict.fromkeys(cell(config.get(name)) for config in configs))
    return "/".join(v for v in seen if v != DASH or len(seen) == 1)


def arm_axes(
    settings: Sequence[Mapping[str, Any]], configs: Sequence[Mapping[str, Any]]
) -> list[str]:
    """The independent names over which arms vary; `sharding` stands for its three fields, `method`
    for those of `method_fields`.

    A name that another one decides (rounds that fall as J grows) is no axis of its own; what not
    every arm reads decides nothing.
    """
    names = axis_names(settings)
    levels = {n: [axis_value(n, config) for config in configs] for n in names}
    axes = [n for n in names if len(set(levels[n])) > 1]
    axes.sort(key=lambda n: n in ("rounds", "eval_every"))  # the first to be found redundant
    whole = [n for n in axes if not any(unread(n, config) for config in configs)]
    for name in reversed(list(axes)):
        others = [n for n in axes if n != name and n in whole]
        if any(_decides(levels[other], levels[name]) for other in others):
            axes.remove(name)
    return axes


def axis_names(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What arms set, fields that say one thing together as one.

    >>> axis_names([{"federation.sharding": "iid", "local.rule": "plain", "server.lr": 1.0}])
    ['sharding', 'method', 'server.lr']
    """
    names = dict.fromkeys(k for setting in settings for k in setting)
    stands = dict.fromkeys(SHARDING, "sharding") | dict.fromkeys(method_fields(settings), METHOD)
    return list(dict.fromkeys(stands.get(name, name) for name in names))


def axis_value(axis: str, config: Mapping[str, Any]) -> str:
    """The level of a configuration on an axis of `arm_axes`, as text.

    Without a mask the mask's settings mean nothing: "dense" for the sparsity, — for the others.
    Nor does the sparsity where a threshold decides, nor a field that the method does not read.

    >>> axis_value("mask.sparsity", {"mask.sparsity": 0.0, "mask.threshold": 1e-6})
    'by threshold'
    >>> axis_value("select.gamma", {"select.rule": "cyclic", "select.gamma": 1.0})
    '—'
    """
    if axis == "sharding":
        return shards(config)
    if axis == METHOD:  # which an outcome knows from its setting; else by what the values choose
        return str(config.get(METHOD) or method_title(config))
    if axis in TITLES:
        return title(axis, cell(config.get(axis)))
    if axis.startswith("mask.") and not masked(config):
        return DENSE if axis == "mask.sparsity" else DASH
    if axis == "mask.sparsity" and known(config.get("mask.threshold")):
        return "by threshold"
    if unread(axis, config):
        return DASH
    return cell(config.get(axis))


def axis_label(axis: str, unit: str) -> str:
    """The name of an axis; `unit`: what J counts."""
    return field(axis).axis.format(unit=unit) or compact(axis)


def level_label(axis: str, level: str) -> str:
    """One level of an axis, for a legend or a panel: N_c=5, J=4, s=0.9, least sensitive.

    >>> level_label("mask.sparsity", "0.9"), level_label("mask.rule", "low_magnitude")
    ('s=0.9', 'low magnitude')
    """
    if axis == "sharding":
        return level
    if axis.startswith("mask.") and level in (DENSE, DASH):
        return DENSE
    if field(axis).plain or level == DASH:
        return tick_label(axis, level)
    template = field(axis).level or f"{field(axis).symbol or compact(axis)}={{}}"
    return template.format(level)


def level_labels(axes: Iterable[str], config: Mapping[str, Any]) -> list[str]:
    """A configuration's levels on these axes, each once, without those that mean nothing for it.

    >>> level_labels(["sharding", "select.gamma", "local.steps"], {
    ...     "federation.sharding": "iid", "select.rule": "cyclic", "local.steps": 4})
    ['iid', 'J=4']
    """
    found = dict.fromkeys(level_label(axis, axis_value(axis, config)) for axis in axes)
    return [label for label in found if label != DASH]


def tick_label(axis: str, level: str) -> str:
    """One level where the axis is named beside it; the user's own under its name."""
    return level.replace("_", " ") if field(axis).plain and ":" not in level else level


def _decides(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether each level of `one` comes with a single level of `other`."""
    return len(set(zip(one, other, strict=True))) == len(set(one))
