"""How a method is called in print, and which paper it is from: the one place that names methods.

A choice that has no title is printed by its own name. Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fl_core.config.methods import METHODS

FEDAVG = "FedAvg"  # the neutral choices together


class Title(NamedTuple):
    """A method's name, and its paper's key in `papers.PAPERS` or among the published reports."""

    name: str
    cite: str = ""


#: By field and choice.
TITLES: Mapping[str, Mapping[str, Title]] = {
    "local.rule": {
        "plain": Title(FEDAVG, "mcmahan2017"),
        "prox": Title("FedProx", "li2020"),
        "scaffold": Title("SCAFFOLD", "karimireddy2020"),
        "dyn": Title("FedDyn", "acar2021"),
        "ghbm": Title("GHBM", "zaccone2025"),
        "hbm": Title("FedHBM", "zaccone2025"),
        "cm": Title("FedCM", "xu2021"),
    },
    "local.optimiser": {
        "sgdm": Title("SGD"),
        "lars": Title("LARS", "you2017"),
        "lamb": Title("LAMB", "you2020"),
        "adamw": Title("AdamW", "loshchilov2019"),
    },
    "local.blend": {
        "none": Title(FEDAVG, "mcmahan2017"),
        "fisher": Title("Fisher blending", "pirilli2025"),
        "fisher_all": Title("Fisher blending of all", "pirilli2025"),
    },
    "server.optimiser": {
        "sgd": Title(FEDAVG, "mcmahan2017"),
        "momentum": Title("FedAvgM", "hsu2019"),
        "adagrad": Title("FedAdagrad", "reddi2021"),
        "adam": Title("FedAdam", "reddi2021"),
        "yogi": Title("FedYogi", "reddi2021"),
        "slowmo": Title("SlowMo", "wang2020"),
        "nesterov": Title("Nesterov (DiLoCo)", "douillard2023"),
    },
    "personal.rule": {
        "none": Title(FEDAVG, "mcmahan2017"),
        "local": Title("each alone"),
        "fedper": Title("FedPer", "arivazhagan2019"),
        "fedrep": Title("FedRep", "collins2021"),
        "fedbn": Title("FedBN", "li2021bn"),
        "ditto": Title("Ditto", "li2021ditto"),
        "fine_tune": Title("FedAvg, fine-tuned"),
    },
    "timing.mode": {
        "synchronous": Title(FEDAVG, "mcmahan2017"),
        "buffered": Title("FedBuff", "nguyen2022"),
        "superclients": Title("FedSeq", "zaccone2022"),
    },
    "schedule.steps": {
        "constant": Title(FEDAVG, "mcmahan2017"),
        "adacomm": Title("AdaComm", "wang2019"),
        "post_local": Title("post-local steps", "lin2020"),
    },
    "schedule.batch": {
        "constant": Title(FEDAVG, "mcmahan2017"),
        "noise_scale": Title("noise scale", "mccandlish2018"),
    },
    "select.rule": {
        "uniform": Title("uniform"),
        "dirichlet": Title("Dirichlet"),
        "cyclic": Title("cyclic", "cho2023"),
        "power_of_choice": Title("power of choice", "cho2020"),
        "availability": Title("by availability"),
    },
    "aggregate.rule": {
        "mean": Title("mean"),
        "median": Title("median", "yin2018"),
        "trimmed_mean": Title("trimmed mean", "yin2018"),
        "norm_bound": Title("norm bound", "sun2019"),
        "geometric_median": Title("geometric median", "pillutla2022"),
        "krum": Title("Krum", "blanchard2017"),
        "multi_krum": Title("Multi-Krum", "blanchard2017"),
        "bulyan": Title("Bulyan", "elmhamdi2018"),
        "secure_zero_sum": Title("zero-sum noise", "alcani2025"),
        "secure": Title("secure aggregation", "bonawitz2017"),
    },
    "timing.mixing": {
        "difference": Title("difference", "nguyen2022"),
        "model": Title("FedAsync", "xie2019"),
    },
}
METHOD = "method"  # the axis of arms that differ in these fields:
TOGETHER = (
    *("local.rule", "local.blend", "server.optimiser", "personal.rule", "timing.mode"),
    *("schedule.steps", "schedule.batch"),
)
#: Methods that are several choices together: the first whose choices are all made is the name of
#: them. They are of several workers; one that keeps its optimiser's state is plain training.
WHOLE: Sequence[tuple[Mapping[str, str], Title]] = (
    (
        {
            "local.keep_momentum": "True",
            "local.optimiser": "adamw",
            "server.optimiser": "nesterov",
        },
        Title("DiLoCo", "douillard2023"),
    ),
    (
        {"local.keep_momentum": "True", "server.optimiser": "slowmo"},
        Title("SlowMo", "wang2020"),
    ),
    (
        {"local.keep_momentum": "True", "schedule.steps": "post_local"},
        Title("post-local SGD", "lin2020"),
    ),
    ({"local.keep_momentum": "True"}, Title("LocalSGD", "stich2019")),
)
_PARTS = frozenset(name for choices, _ in WHOLE for name in choices)
_SECTIONS = tuple(f"{name.partition('.')[0]}." for name in TOGETHER)


def title(field: str, choice: object) -> str:
    """What a choice of a field is called.

    >>> title("local.rule", "prox"), title("server.optimiser", "my_methods:mine")
    ('FedProx', 'my_methods:mine')
    """
    found = TITLES.get(field, {}).get(str(choice))
    return found.name if found else str(choice)


def whole(values: Mapping[str, object]) -> tuple[Sequence[str], Title | None]:
    """The method that several of these values choose together: their fields and its title.

    >>> slow = {"local.keep_momentum": True, "server.optimiser": "slowmo"}
    >>> whole(slow)
    (['local.keep_momentum', 'server.optimiser'], Title(name='SlowMo', cite='wang2020'))
    >>> whole({**slow, "federation.clients": 1})
    ([], None)
    """
    alone = str(values.get("federation.clients")) == "1"
    for choices, named in () if alone else WHOLE:
        if all(str(values.get(name)) == choice for name, choice in choices.items()):
            return list(choices), named
    return [], None


def method_title(values: Mapping[str, object]) -> str:
    """The method that these values of a configuration choose; FedAvg where all are neutral.

    >>> method_title({"local.rule": "prox", "server.optimiser": "adam"})
    'FedProx + FedAdam'
    >>> method_title({"local.rule": "plain", "rounds": 3})
    'FedAvg'
    >>> method_title({"local.keep_momentum": True, "local.rule": "prox"})
    'LocalSGD + FedProx'
    """
    fields, named = whole(values)
    first = [named.name] if named else []
    others = [title(name, values[name]) for name in _changed(values) if name not in fields]
    return " + ".join(first + others) or FEDAVG


def method_fields(settings: Sequence[Mapping[str, object]]) -> list[str]:
    """The fields that say together which method an arm is: what arms choose, and what some of
    them, not all, set beside. None where no arm chooses a method.

    >>> both = {"local.steps": 4}
    >>> method_fields([{**both, "server.lr": 1.0}, {**both, "local.rule": "prox"}])
    ['server.lr', 'local.rule']
    """
    names = dict.fromkeys(name for setting in settings for name in setting)
    if not any(name in TOGETHER for name in names):
        return []
    partial = [n for n in names if n.startswith(_SECTIONS) and any(n not in s for s in settings)]
    return [name for name in names if name in TOGETHER or name in _PARTS or name in partial]


def cited(configs: Sequence[Mapping[str, object]]) -> dict[str, str]:
    """Names of the methods that configurations use, with the key of each one's paper; none where
    all of them are FedAvg.
    """
    found = {}
    for config in configs:
        fields, of_all = whole(config)
        if of_all is not None:
            found[of_all.name] = of_all.cite
        for name in _changed(config, tuple(TITLES)):
            if name in fields:
                continue
            named = TITLES[name].get(str(config[name]))
            if named is not None and named.cite:
                found[named.name] = named.cite
    return {FEDAVG: TITLES["local.rule"]["plain"].cite, **found} if found else {}


def _changed(values: Mapping[str, object], fields: tuple[str, ...] = TOGETHER) -> list[str]:
    """Those of the fields that are there and not neutral."""
    neutral = {name: next(iter(METHODS.get(name, TITLES[name]))) for name in fields}
    given = {name: values[name] for name in fields if name in values}
    return [n for n, v in given.items() if v is not None and v == v and v != neutral[n]]
