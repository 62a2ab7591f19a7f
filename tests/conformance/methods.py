"""Every method of every table, as a setting of the configuration: what the suite draws from.

The cases come from the tables themselves. What a table cannot tell stands in FACTS, one entry a
method; a method without one fails with the name of what is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from other_values import FIELDS

from fl_core.config.trial_config import Value
from fl_core.federated.aggregates.table import AGGREGATES, PROTOCOLS
from fl_core.federated.attacks import ATTACKS
from fl_core.federated.pace.table import BATCHES, STEPS
from fl_core.federated.personal.table import PERSONALS
from fl_core.federated.rules.table import LOCAL_RULES
from fl_core.federated.schedule import SCHEDULES
from fl_core.federated.selections.table import SELECTIONS
from fl_core.federated.server import OPTIMISERS
from fl_core.federated.timing.table import MODES
from fl_core.optim.table import LOCAL_OPTIMISERS

Settings = Mapping[str, Value]

#: The field that chooses from each table. Its first choice is the neutral one: FedAvg.
TABLES: dict[str, Mapping[str, Any]] = {
    "local.rule": LOCAL_RULES,
    "local.optimiser": LOCAL_OPTIMISERS,
    "server.optimiser": OPTIMISERS,
    "select.rule": SELECTIONS,
    "aggregate.rule": {**AGGREGATES, **PROTOCOLS},
    "attack.rule": ATTACKS,
    "schedule.name": SCHEDULES,
    "schedule.steps": STEPS,
    "schedule.batch": BATCHES,
    "timing.mode": MODES,
    "personal.rule": PERSONALS,
}
#: Fields that choose a method without a table of their own: as many cases as they have choices.
CHOICES: dict[str, tuple[Value, ...]] = {
    "local.blend": FIELDS["local.blend"].metadata["choices"],
    "local.keep_momentum": (False, True),
    "local.clip": (0.0, 0.5),
    "head.loss": FIELDS["head.loss"].metadata["choices"],
    "select.reweight": FIELDS["select.reweight"].metadata["choices"],
}


@dataclass(frozen=True)
class Facts:
    """What no table says of a method.

    neutral: settings under which it is FedAvg to the bit, or is refused; or why there are none.
    variants: its own settings to be drawn, by name.
    down, up: vectors of the model's size that a client gets and sends in a round.
    numbers: messages of one number of four bytes that it gets and sends beside them.
    fisher: whose Fisher information is exchanged: nobody's, that of a "round", or of "all".
    needs: what else must be set wherever it is drawn.
    refuses: the masks (of `tiny.MASKS`) that it refuses: test_refusals says why.
    beside: whether the server's parameters are FedAvg's all the same, to the bit.
    protocol: what clients exchange beside the update: "seeds" of noise, or what "masked" numbers
    modulo 2^32 need, which then take the place of the update, one more than it has entries.
    """

    neutral: Settings | str
    variants: Mapping[str, Settings] = field(default_factory=lambda: {"": {}})
    down: int = 1
    up: int = 1
    numbers: tuple[int, int] = (0, 0)
    fisher: str = ""
    needs: Settings = field(default_factory=dict)
    refuses: tuple[str, ...] = ()
    beside: bool = False
    protocol: str = ""

    @property
    def neutral_values(self) -> Settings:
        return {} if isinstance(self.neutral, str) else self.neutral


FEDAVG = Facts({})
HONEST: Settings = {"attack.share": 0.0}
ATTACKED: Mapping[str, Settings] = {"": {"attack.share": 0.5}}
OWN_MASKS = ("senders", "all")
#: Seven of nine clients: as many as Bulyan needs.
NINE: Settings = {"federation.clients": 9, "federation.participation": 0.8}
#: A model of several layers, some of which normalise: so a part of it can stay with a client.
HIDDEN: Settings = {"head.hidden": 8, "head.norm": "layer"}
#: Every client takes as long: one example a step, so slow that messages do not count.
SAME_SPEED: Settings = {
    "timing.speed_spread": 0.0, "timing.speed": 1e-9, "timing.up": 1e12, "timing.down": 1e12,
    "local.batch_size": 1,
}  # fmt: skip
EVERYONE: Settings = {"federation.participation": 1.0}  # where all take part, all selections agree
FACTS: dict[str, Facts] = {
    "local.rule=plain": FEDAVG,
    "local.rule=prox": Facts({"local.mu": 0.0}, {"": {"local.mu": 0.5}}),
    "local.rule=scaffold": Facts(
        "no parameter of it gives FedAvg: clients weigh the same",
        {"1": {"local.option": 1}, "2": {"local.option": 2}}, down=2, up=2,
    ),
    "local.rule=dyn": Facts({"local.alpha": 0.0}, {"": {"local.alpha": 0.2}}),
    "local.rule=ghbm": Facts(
        {"local.beta": 0.0}, {"": {"local.beta": 0.8, "local.tau": 2}}, down=2
    ),
    "local.rule=hbm": Facts({"local.beta": 0.0}, {"": {"local.beta": 0.8}}),
    "local.rule=cm": Facts({"local.alpha": 1.0}, {"": {"local.alpha": 0.3}}, down=2),
    "local.optimiser=sgdm": FEDAVG,
    "local.optimiser=lars": Facts(
        "it scales every step", {"": {"local.trust": 0.1}}, refuses=("shared", *OWN_MASKS)
    ),
    "local.optimiser=lamb": Facts(
        "its step is of the size of the rate, whatever the gradient", refuses=("shared", *OWN_MASKS)
    ),
    "local.optimiser=adamw": Facts(
        "as lamb",
        {"": {"local.beta2": 0.95},
         "kept": {"local.keep_momentum": True, "federation.clients": 1, **EVERYONE}},
    ),
    "local.blend=none": FEDAVG,
    "local.blend=fisher": Facts("it has no parameter", fisher="round"),
    "local.blend=fisher_all": Facts("it has no parameter", fisher="all"),
    "local.clip=0.0": FEDAVG,
    "local.clip=0.5": Facts({"local.clip": 0.0}),
    "head.loss=cross_entropy": FEDAVG,
    "head.loss=one_vs_all": Facts("it has no parameter", needs={"mask.rule": "random"}),
    "local.keep_momentum=False": FEDAVG,
    "local.keep_momentum=True": Facts(
        {"local.momentum": 0.0, "local.optimiser": "sgdm"},
        {"": {"local.momentum": 0.9}, "adamw": {"local.optimiser": "adamw"}},
        needs=EVERYONE,
    ),
    "server.optimiser=sgd": FEDAVG,
    "server.optimiser=momentum": Facts({"server.momentum": 0.0}),
    "server.optimiser=adagrad": Facts("its step is of the size of the rate, whatever was sent"),
    "server.optimiser=adam": Facts(
        "as adagrad", {"": {}, "corrected": {"server.bias_correction": True}}
    ),
    "server.optimiser=yogi": Facts("as adagrad"),
    "server.optimiser=slowmo": Facts({"server.momentum": 0.0}, {"": {"server.momentum": 0.6}}),
    "server.optimiser=nesterov": Facts({"server.momentum": 0.0}),
    "select.rule=uniform": FEDAVG,
    "select.rule=dirichlet": Facts(EVERYONE, {"": {"select.gamma": 0.5}}),
    "select.rule=cyclic": Facts(EVERYONE),
    "select.rule=power_of_choice": Facts(
        "clients weigh the same", {"": {"select.candidates": 5, "select.examples": 8}}
    ),
    "select.rule=availability": Facts({"select.presence": 1.0}),
    "select.reweight=biased": FEDAVG,
    "select.reweight=unbiased": Facts(EVERYONE, refuses=("senders",)),
    "aggregate.rule=mean": FEDAVG,
    "aggregate.rule=median": Facts("it has no parameter", refuses=("all",)),
    "aggregate.rule=trimmed_mean": Facts(
        {"aggregate.trim": 0.0}, {"": {"aggregate.trim": 0.34}}, refuses=("all",)
    ),
    "aggregate.rule=norm_bound": Facts({"aggregate.bound": 1e6}, {"": {"aggregate.bound": 0.2}}),
    "aggregate.rule=geometric_median": Facts("it has no parameter"),
    "aggregate.rule=krum": Facts("it takes one client", needs=NINE, refuses=OWN_MASKS),
    "aggregate.rule=multi_krum": Facts("clients weigh the same", needs=NINE, refuses=OWN_MASKS),
    "aggregate.rule=bulyan": Facts("clients weigh the same", needs=NINE, refuses=OWN_MASKS),
    "aggregate.rule=secure_zero_sum": Facts(
        {"aggregate.noise": 0.0}, {"": {"aggregate.noise": 0.5}}, refuses=OWN_MASKS,
        protocol="seeds",
    ),
    "aggregate.rule=secure": Facts(
        "it rounds updates", {"": {"aggregate.clip": 0.5, "aggregate.threshold": 0.7}},
        refuses=OWN_MASKS, protocol="masked",
    ),
    "attack.rule=none": FEDAVG,
    "attack.rule=label_flip": Facts(HONEST, ATTACKED),
    "attack.rule=noisy_inputs": Facts(HONEST, ATTACKED),
    "attack.rule=sign_flip": Facts(HONEST, ATTACKED),
    "attack.rule=gaussian": Facts(HONEST, ATTACKED),
    "schedule.name=constant": FEDAVG,
    "schedule.name=cosine": Facts("it has no parameter"),
    "schedule.name=step": Facts({"schedule.gamma": 1.0}, {"": {"schedule.gamma": 0.5}}),
    "schedule.name=warmup_cosine": Facts(
        "it ends at zero whatever the warm-up", {"": {"schedule.warmup": 0.3}}
    ),
    "schedule.steps=constant": FEDAVG,
    "schedule.steps=adacomm": Facts(  # so that J falls in these few rounds
        {"local.steps": 1},
        {"": {"schedule.interval": 1},
         "shrinking": {"schedule.interval": 2, "schedule.shrink": 0.5}},
        numbers=(1, 1), needs={"local.steps": 9},
    ),
    "schedule.steps=post_local": Facts(
        {"schedule.switch": 0.0}, {"": {"schedule.switch": 0.05}}, needs={"local.steps": 3}
    ),
    "schedule.batch=constant": FEDAVG,
    "schedule.batch=noise_scale": Facts(
        {"schedule.batch_most": 4}, {"": {"schedule.smoothing": 0.5}}, numbers=(1, 0)
    ),
    "timing.mode=synchronous": FEDAVG,
    "timing.mode=buffered": Facts(
        {"timing.buffer": 3, **SAME_SPEED},
        {"": {"timing.buffer": 2}, "async": {"timing.buffer": 1, "timing.mixing": "model"}},
        needs={"timing.speed_spread": 1.0},
    ),
    "timing.mode=superclients": Facts(
        {"timing.chain": 1},
        {"": {"timing.chain": 3, "timing.examples": 25, "timing.pretraining": 1}},
        refuses=OWN_MASKS,
    ),
    "personal.rule=none": FEDAVG,
    "personal.rule=local": Facts("it shares nothing", needs=HIDDEN),
    "personal.rule=fedper": Facts("a head is never empty", needs=HIDDEN),
    "personal.rule=fedrep": Facts("as fedper", {"": {"personal.steps": 1}}, needs=HIDDEN),
    "personal.rule=fedbn": Facts("it is refused without a norm layer", needs=HIDDEN),
    "personal.rule=ditto": Facts(
        "the server's parameters are FedAvg's at any lambda",
        {"": {"personal.lambda_": 0.3, "personal.steps": 2}}, beside=True,
    ),
    "personal.rule=fine_tune": Facts(
        "as ditto at any number of steps", {"": {"personal.steps": 3}}, beside=True
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Method:
    """One choice of one field, with settings of its own."""

    field: str
    choice: Value
    variant: str
    values: Settings
    facts: Facts

    def __str__(self) -> str:
        return f"{self.field}={self.choice}" + (f"/{self.variant}" if self.variant else "")


def facts_of(name: str) -> Facts:
    """What is known of a method; a new one must say it."""
    if name not in FACTS:
        raise LookupError(f"tests/conformance/methods.py: FACTS has no entry for {name}")
    return FACTS[name]


def all_methods() -> list[Method]:
    """Every entry of every table, in every variant; one that FACTS does not know gets defaults.

    The neutral choices of all fields are one configuration: FedAvg stands for them, drawn once.
    """
    unknown = Facts("FACTS does not say")
    methods = [Method("local.rule", "plain", "", {}, FEDAVG)]
    for name, choices in {**TABLES, **CHOICES}.items():
        for choice in choices:
            if choice == FIELDS[name].default:
                continue
            facts = FACTS.get(f"{name}={choice}", unknown)
            for variant, values in facts.variants.items():
                chosen = {name: choice, **facts.needs, **values}
                methods.append(Method(name, choice, variant, chosen, facts))
    return methods


METHODS = all_methods()
