"""The names of this suite and how they are shown: fields and arms (metrics: `record`, methods:
`titles`, data sets: `data.catalogue`).

`fl_core` writes them and `analysis` reads them, so they stand here once, and this module needs
nothing but the standard library. A new field of the configuration that is worth a symbol is one
entry of FIELDS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fl_core.config.titles import METHOD, TITLES, TOGETHER, method_title, title, whole

DASH = "—"  # there is no value
DENSE = "dense"  # nothing is frozen

# --- fields ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Field:
    """How a configuration field is shown; what is left empty follows from its dotted name.

    column: head of a table's column. symbol: before a value (s=0.9), where the column says more.
    axis: beside a figure's axis. level: one value in a legend. caption: a value in the caption of
    a table. plain: its values speak for themselves, no name stands before them.
    """

    column: str = ""
    symbol: str = ""
    axis: str = ""
    level: str = ""
    caption: str = ""
    plain: bool = False


FIELDS: Mapping[str, Field] = {
    "data.flip": Field("flip"),
    "data.rotation": Field("rotation"),
    "data.crop": Field("crop"),
    "federation.clients": Field("K"),
    "federation.participation": Field("C"),
    "select.gamma": Field("γ"),
    "select.reweight": Field("estimator", plain=True),
    "federation.sharding": Field("sharding"),
    "federation.classes_per_client": Field("N_c"),
    "federation.alpha": Field("α"),
    "rounds": Field("T"),
    "local.steps": Field("J", axis="J (local {unit})"),
    "schedule.switch": Field("switch", caption="J = 1 for a share of {} of the local steps"),
    "schedule.interval": Field("interval", caption="J looked at every {} rounds"),
    "schedule.shrink": Field("J factor", caption="J × {} where the loss does not fall"),
    "schedule.batch_most": Field("largest batch"),
    "local.lr": Field("lr"),
    "local.lr_scaling": Field("lr scaling", caption="lr scaled with the batch ({})"),
    "local.base_batch": Field("base batch", caption="lr of a batch of {}"),
    "local.optimiser": Field("optimiser", plain=True),
    "local.trust": Field("η_t"),
    "local.beta1": Field("β1"),
    "local.beta2": Field("β2"),
    "local.momentum": Field("momentum"),
    "local.weight_decay": Field("weight decay"),
    "local.batch_size": Field("batch"),
    METHOD: Field("method", plain=True),
    "select.rule": Field("selection", plain=True),
    "aggregate.rule": Field("aggregate", plain=True),
    "aggregate.byzantine": Field("f"),
    "aggregate.noise": Field("noise"),
    "aggregate.clip": Field("c"),
    "aggregate.bits": Field("bits"),
    "aggregate.threshold": Field("t/m"),
    "attack.rule": Field("attack"),
    "attack.share": Field("attackers"),
    "attack.scale": Field("attack scale"),
    "timing.mode": Field("timing", plain=True),
    "timing.grouping": Field("grouping", plain=True),
    "timing.chain": Field("clients of a chain"),
    "timing.speed": Field("speed", caption="the median client {} examples/s"),
    "timing.speed_spread": Field(
        "speed spread", "spread", "spread of the speeds, sigma", caption="sigma {} (log-normal)"
    ),
    "timing.down": Field("bytes/s down", caption="{} kB/s down"),
    "timing.up": Field("bytes/s up", caption="{} kB/s up"),
    "timing.table": Field("clients of", caption="clients of {}"),
    "timing.failure_rate": Field("failures/s", caption="{} failures a second of work"),
    "timing.dropout": Field("dropout", caption="a client of a round fails with chance {}"),
    "timing.window": Field("window", caption="each there for a share of {} of its day"),
    "timing.deadline": Field("deadline", caption="deadline after {} s"),
    "timing.buffer": Field("B", caption="a buffer of {} updates"),
    "timing.staleness": Field("staleness", caption="staleness weight (1 + s)^-{}"),
    "timing.mixing": Field("mixing", plain=True),
    "personal.rule": Field("personal", plain=True),
    "personal.lambda_": Field("λ", caption="λ = {}"),
    "personal.steps": Field("own steps"),
    "head.method": Field(level="head {}"),
    "head.hidden": Field("hidden units"),
    "head.norm": Field("head norm"),
    "fine_tune.strategy": Field("strategy", plain=True),
    "mask.preset": Field("mask preset", "preset", caption="conventions of {}"),
    "mask.rule": Field("mask rule", caption="trainable {}", plain=True),
    "mask.sparsity": Field(
        "sparsity", "s", "sparsity (share frozen)", caption="sparsity {} (share frozen)"
    ),
    "mask.schedule": Field("mask schedule", caption="mask schedule {}", plain=True),
    "mask.sparsity_end": Field("end sparsity", "s_end", caption="sparsity {} in the last round"),
    "mask.recalibrate": Field("recalibrate", caption="calibrated anew every {} rounds"),
    "mask.size_power": Field(
        "size power", caption="active shares as the clients' examples to the power {}"
    ),
    "mask.threshold": Field(
        "threshold",
        axis="threshold of the Fisher information",
        caption="trainable where the Fisher information is below {}",
    ),
    "mask.rounds": Field("R", axis="calibration rounds R", caption="R = {} calibration rounds"),
    "mask.scope": Field("scope", caption="scope {}", plain=True),
    "mask.source": Field(caption="source {}"),
    "mask.layers": Field(caption="layers {}"),
    "mask.granularity": Field(caption="threshold {}"),
    "mask.fisher": Field(caption="Fisher {}"),
    "mask.examples": Field(caption="{} calibration examples"),
    "mask.dropped_weight": Field(caption="dropped weights × {} while calibrating"),
    "mask.hybrid_weight": Field(
        "hybrid weight", "w", caption="hybrid: {} Fisher, the rest magnitude"
    ),
    "mask.min_active": Field(caption="guard: at least {} active entries a tensor"),
    "mask.min_share": Field(caption="and a share of {} of it"),
    "mask.average": Field(caption="averaged over {}"),
}
#: The fields that say together how the examples are spread over the clients.
SHARDING = ("federation.sharding", "federation.classes_per_client", "federation.alpha")
#: Mask rules that look at gradients, so that Fisher information and its examples mean something.
FISHER_RULES = ("least_sensitive", "most_sensitive", "hybrid")
#: Those that look at examples at all.
EXAMPLE_RULES = (*FISHER_RULES, "most_salient")


def field(name: str) -> Field:
    """How a field is shown; an unknown one by its name alone."""
    return FIELDS.get(name, Field())


def compact(name: str) -> str:
    """A short column name.

    >>> compact("local.lr"), compact("server.lr"), compact("bytes_up")
    ('lr', 'server lr', 'bytes up')
    """
    return field(name).column or name.replace(".", " ").replace("_", " ")


# --- values and arms ------------------------------------------------------------------------------


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


def shards(config: Mapping[str, object]) -> str:
    """How the examples are spread, in words: iid, N_c=5, Dir(0.3), label Dir(0.3).

    Dir: a mix of classes drawn for each client (Hsu et al. 2019); label Dir: a split over the
    clients drawn for each class (Yurochkin et al. 2019, NIID-Bench).
    """
    kind, classes, alpha = (config.get(name) for name in SHARDING)
    if kind == "classes" or (not known(kind) and known(classes)):
        return f"N_c={cell(classes)}"
    if kind == "dirichlet":
        return f"Dir({cell(alpha)})"
    if kind == "dirichlet_labels":
        return f"label Dir({cell(alpha)})"
    return cell(kind)


def masked(config: Mapping[str, object]) -> bool:
    """Whether a mask freezes anything: some sparsity, a threshold, or a choice of layers.

    >>> masked({"mask.sparsity": 0.0}), masked({"mask.sparsity": 0.0, "mask.layers": "norm"})
    (False, True)
    >>> masked({"mask.sparsity": 0.0, "mask.threshold": 1e-6})
    True
    """
    ends, layers = ("mask.sparsity", "mask.sparsity_end"), config.get("mask.layers")
    some = any(known(config.get(name)) and config.get(name) != 0 for name in ends)
    some = some or known(config.get("mask.threshold"))
    return some or (known(layers) and layers != "all")


def arm_name(setting: Mapping[str, object]) -> str:
    """An arm in a few words, from what it sets.

    Values stand in full: arms that differ have names that differ.

    >>> arm_name({"federation.sharding": "classes", "federation.classes_per_client": 5,
    ...           "local.steps": 4, "mask.rule": "random", "mask.sparsity": 0.9})
    'N_c=5, J=4, random, s=0.9'
    >>> arm_name({"federation.sharding": "iid", "mask.sparsity": 0.0}), arm_name({})
    ('iid, dense', 'all')
    >>> arm_name({"local.rule": "plain", "server.optimiser": "adam", "server.lr": 0.1})
    'FedAdam, server.lr=0.1'
    >>> arm_name({"local.keep_momentum": True, "server.optimiser": "slowmo", "local.steps": 16})
    'SlowMo, J=16'
    """
    spread = [name for name in setting if name in SHARDING]
    choices, _ = whole(setting)
    method = [name for name in setting if name in TOGETHER or name in choices]
    alone = [name for name in setting if name.startswith("mask.")] == ["mask.sparsity"]
    parts = []
    for name, value in setting.items():
        if name in spread:
            parts += [shards(setting)] if name == spread[0] else []
        elif name in method:
            parts += [method_title(setting)] if name == method[0] else []
        elif name in TITLES:
            parts.append(title(name, value))
        elif alone and name == "mask.sparsity" and value == 0:
            parts.append(DENSE)
        elif field(name).plain:
            parts.append(str(value))
        elif known(value) or name != "mask.hybrid_weight":  # which only one rule has
            symbol = field(name).symbol or field(name).column or name.removesuffix(".name")
            parts.append(f"{symbol}={value}")
    return ", ".join(parts) or "all"
