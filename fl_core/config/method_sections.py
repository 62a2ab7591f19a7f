"""The sections of a trial's configuration that choose how it is trained, one a seam.

Each method's own fields are those that `fl_core.config.methods` lists beside its name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from fl_core.config.fields import Section, choice, number, refuse
from fl_core.config.methods import CORRECTING, METHODS

#: Local rules beside which the clients' own momentum makes no sense, and why.
WITHOUT_MOMENTUM = {
    "scaffold": "it would gather outdated corrections",
    **dict.fromkeys(("ghbm", "hbm", "cm"), "it has one of its own, which this would multiply"),
}


@dataclass(frozen=True)
class LocalConfig(Section):
    """One client's work in one round: J steps (or epochs) of an optimiser, SGD with momentum."""

    prefix: ClassVar[str] = "local."
    steps: int = number(4, 1)
    unit: str = choice("steps", "steps", "epochs")
    lr: float = number(0.1, 0, above=True)
    lr_scaling: str = choice("none", *METHODS["local.lr_scaling"])  # with batch_size / base_batch
    base_batch: int = number(256, 1)  # at which lr is the rate
    optimiser: str = choice("sgdm", *METHODS["local.optimiser"])  # see optim.table
    momentum: float = number(0.0, 0, 1, below=True)
    dampening: float = number(0.0, 0, 1)
    nesterov: bool = False
    trust: float = number(1e-3, 0, above=True)  # of optimiser=lars: eta_t
    beta1: float = number(0.9, 0, 1, below=True)  # of the means of optimiser=adamw, lamb
    beta2: float = number(0.999, 0, 1, below=True)
    eps: float | None = number(None, 0, above=True)  # None = 1e-8 for adamw, 1e-6 for lamb
    weight_decay: float = number(0.0, 0)
    clip: float = number(0.0, 0)  # L2 norm that a step's gradient has at most; 0 = any
    batch_size: int = number(64, 1)
    keep_momentum: bool = False  # the optimiser's state survives the round (see kept_combinations)
    #: What a client starts a round from: the server's parameters, or those blended with its own
    #: old ones by its share of the Fisher information of the round's clients, or of all clients
    #: (see federated.rules.blend).
    blend: str = choice("none", *METHODS["local.blend"])
    rule: str = choice("plain", *METHODS["local.rule"], own=True)  # see federated.rules
    mu: float = number(0.01, 0)  # pull of rule=prox; 0 = FedAvg
    option: int = number(2, 1, 2)  # how rule=scaffold renews a control variate
    alpha: float = number(0.1, 0, above=True)  # of rule=dyn's bend; share of the gradient in cm
    beta: float = number(0.9, 0, 1)  # momentum of rule=ghbm, hbm; 0 = FedAvg
    tau: int = number(10, 1, 1000)  # rounds that rule=ghbm's momentum looks back

    def __post_init__(self) -> None:
        super().__post_init__()
        self.only_for("rule", METHODS["local.rule"])
        self.only_for("optimiser", METHODS["local.optimiser"])
        self.only_for("lr_scaling", METHODS["local.lr_scaling"])
        if self.optimiser != "sgdm" and self.rule in METHODS["local.rule"]:
            self._check_rule()
        if self.rule != "plain" and self.blend != "none":
            raise refuse(f"{self.prefix}blend", self.blend, f"only for {self.prefix}rule=plain")
        if self.momentum and (why := WITHOUT_MOMENTUM.get(self.rule)):
            allowed = f"{self.prefix}rule={self.rule} takes no momentum: {why}"
            raise refuse(f"{self.prefix}momentum", self.momentum, allowed)
        if self.rule == "cm" and self.alpha > 1:
            allowed = f"must be in (0, 1] for {self.prefix}rule=cm"
            raise refuse(f"{self.prefix}alpha", self.alpha, allowed)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            needs = f"needs {self.prefix}momentum > 0 and {self.prefix}dampening = 0"
            raise refuse(f"{self.prefix}nesterov", True, needs)

    def _check_rule(self) -> None:
        """A rule that is derived for SGD's step is not beside another optimiser."""
        if self.rule not in CORRECTING:
            needs = f"needs {self.prefix}optimiser=sgdm, which is {self.optimiser!r}: it takes a "
            needs += "step for the gradient times the learning rate"
            raise refuse(f"{self.prefix}rule", self.rule, needs)


@dataclass(frozen=True)
class HeadLocalConfig(LocalConfig):
    """One client's work in one round of the head's own federated training."""

    prefix: ClassVar[str] = "head.local."

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_momentum:
            allowed = "a head always keeps it where there is one client only"
            raise refuse("head.local.keep_momentum", True, allowed)
        if self.blend != "none":
            raise refuse("head.local.blend", self.blend, "a head starts from the server's alone")


@dataclass(frozen=True)
class ScheduleConfig(Section):
    """What changes over the run: the learning rate (see federated.schedule), and how much a client
    does in a round (see federated.pace).
    """

    prefix: ClassVar[str] = "schedule."
    name: str = choice("constant", *METHODS["schedule.name"])
    warmup: float = number(0.1, 0, 1, above=True, below=True)  # share of the run, warmup_cosine
    step_size: float = number(0.34, 0, 1, above=True)  # share of the run between drops, step
    gamma: float = number(0.1, 0, 1, above=True)  # factor of each drop, step
    steps: str = choice("constant", *METHODS["schedule.steps"])
    switch: float = number(0.5, 0, 1)  # share of the local steps in rounds of one, steps=post_local
    interval: int = number(5, 1)  # rounds after which steps=adacomm looks at the loss
    shrink: float = number(1.0, 0, 1, above=True)  # factor of J where the loss asks for no less
    batch: str = choice("constant", *METHODS["schedule.batch"])
    batch_most: int = number(1024, 1)  # examples of a local step, batch=noise_scale
    smoothing: float = number(0.9, 0, 1, below=True)  # share of the old in what it measures

    def __post_init__(self) -> None:
        super().__post_init__()
        for chosen in ("name", "steps", "batch"):
            self.only_for(chosen, METHODS[f"schedule.{chosen}"])


@dataclass(frozen=True)
class ServerConfig(Section):
    """The server's step towards the aggregate of the clients' parameters.

    sgd: w <- w + lr * (aggregate - w), FedAvg at lr = 1; momentum: FedAvgM (Hsu et al. 2019);
    adagrad, adam, yogi: Reddi et al. 2021; slowmo: Wang et al. 2020;
    nesterov: DiLoCo's outer step (Douillard et al. 2023).
    """

    prefix: ClassVar[str] = "server."
    optimiser: str = choice("sgd", *METHODS["server.optimiser"], own=True)
    lr: float = number(1.0, 0, above=True)
    momentum: float = number(0.9, 0, 1, below=True)
    beta1: float = number(0.9, 0, 1, below=True)
    beta2: float = number(0.99, 0, 1, below=True)
    tau: float = number(1e-3, 0, above=True)  # added to the root of the second moment
    bias_correction: bool = False  # Adam's, which Reddi et al. leave out

    def __post_init__(self) -> None:
        super().__post_init__()
        self.only_for("optimiser", METHODS["server.optimiser"])


@dataclass(frozen=True)
class SelectConfig(Section):
    """Who takes part in a round."""

    prefix: ClassVar[str] = "select."
    rule: str = choice("uniform", *METHODS["select.rule"], own=True)
    gamma: float = number(1.0, 1e-3)  # concentration of rule=dirichlet
    candidates: int = number(20, 1)  # d of rule=power_of_choice
    examples: int | None = number(None, 1)  # of which its loss is measured; None = all
    presence: float = number(0.5, 0.01, 1)  # mean share of rounds, rule=availability
    reweight: str = choice("biased", "biased", "unbiased")  # see federated.selections.reweight

    def __post_init__(self) -> None:
        super().__post_init__()
        self.only_for("rule", METHODS["select.rule"])


@dataclass(frozen=True)
class AggregateConfig(Section):
    """How the clients' parameters become one (see federated.aggregates)."""

    prefix: ClassVar[str] = "aggregate."
    rule: str = choice("mean", *METHODS["aggregate.rule"], own=True)
    trim: float = number(0.1, 0, 0.5, below=True)  # share of the clients cut off at either end
    bound: float = number(1.0, 0, above=True)  # L2 norm that no update exceeds
    byzantine: int = number(1, 0, 1000)  # f, the attackers of a round that the rule reckons with
    noise: float = number(1.0, 0)  # standard deviation, of rule=secure_zero_sum; 0 = FedAvg
    clip: float = number(4.0, 0, above=True)  # c: a larger change of an entry is cut down to it
    bits: int = number(16, 2, 32)  # of rule=secure: [-c, c] is cut into L = 2^bits steps
    modulus_bits: int = number(32, 8, 62)  # of the modulus R, in which masked numbers add up
    #: t of rule=secure as a share of the round's clients: so many must answer at the end.
    threshold: float = number(0.6, 0.5, 1, above=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.only_for("rule", METHODS["aggregate.rule"])

    @property
    def fewest(self) -> int:
        """Clients that a round needs: for Krum more than 2f + 2 (Blanchard et al. 2017), for
        Bulyan 4f + 3 (El Mhamdi et al. 2018), to trim at all one at either end; the medians of two
        are no safer than their mean; the sum of one client is its update.
        """
        match self.rule:
            case "krum" | "multi_krum":
                return 2 * self.byzantine + 3
            case "bulyan":
                return 4 * self.byzantine + 3
            case "median" | "geometric_median":
                return 3
            case "trimmed_mean" if self.trim:
                return math.ceil(1 / self.trim - 1e-9)
            case "secure_zero_sum" | "secure":
                return 2
        return 1

    def needed(self, clients: int) -> int:
        """t: of so many clients that begin a round of rule=secure, those that must answer.

        >>> AggregateConfig(rule="secure").needed(10)
        6
        """
        return math.ceil(self.threshold * clients - 1e-9)


@dataclass(frozen=True)
class AttackConfig(Section):
    """Clients that work against the others (see federated.attacks)."""

    prefix: ClassVar[str] = "attack."
    rule: str = choice("none", *METHODS["attack.rule"])
    share: float = number(0.1, 0, 1)  # of all clients; 0 = FedAvg
    scale: float = number(1.0, 0, above=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.only_for("rule", METHODS["attack.rule"])


@dataclass(frozen=True)
class PersonalConfig(Section):
    """What of a client's model is its own (see federated.personal), and who judges a trial."""

    prefix: ClassVar[str] = "personal."
    rule: str = choice("none", *METHODS["personal.rule"], own=True)
    lambda_: float = number(0.5, 0)  # pull of a client's own model to the shared one; 0 = none
    steps: int = number(2, 1)  # in local.unit
    #: A trial's score is the clients' mean accuracy, each with its model on its own examples, also
    #: without a rule: so FedAvg can stand beside the others.
    judged: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.only_for("rule", METHODS["personal.rule"])

    @property
    def judges(self) -> bool:
        """Whether clients judge a trial."""
        return self.judged or self.rule != "none"
