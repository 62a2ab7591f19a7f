"""The configuration of one trial: frozen, validated, hashable.

`TrialConfig` holds everything a result depends on, and nothing else; its dotted names
(`local.lr`) are at once the search-space keys, the MLflow parameters and the table columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from fl_core.base.digests import digest_of
from fl_core.base.errors import ConfigError
from fl_core.config.aliases import meant
from fl_core.config.fields import (
    Section,
    Value,
    checked,
    choice,
    from_flat,
    is_name,
    is_read,
    number,
    refuse,
    shown,
    specs,
)
from fl_core.config.mask_presets import with_preset
from fl_core.config.mask_section import MaskConfig
from fl_core.config.own import source_of
from fl_core.config.sections import (
    MOST_SEED,
    STRATEGIES,
    AggregateConfig,
    BackboneConfig,
    ComputeConfig,
    DataConfig,
    FederationConfig,
    FineTuneConfig,
    HeadConfig,
    LocalConfig,
    ScheduleConfig,
    SelectConfig,
    ServerConfig,
)
from fl_core.config.vocabulary import DATA_SETS, DataSet

__all__ = ["TRIAL_VERSION", "TrialConfig", "Value", "own_sources"]

#: Part of every digest: raise it when the same configuration would give other numbers, and when a
#: default changes (a digest hashes only what differs from the defaults).
TRIAL_VERSION = 4
MOST_STEPS = 10**10  # local steps of a client: more end in no lifetime


@dataclass(frozen=True)
class TrialConfig(Section):
    """Everything the result of one trial depends on.

    >>> cfg = TrialConfig().override({"local.lr": 0.05, "federation.clients": 10})
    >>> cfg.local.lr, cfg.to_flat()["federation.clients"]
    (0.05, 10)
    """

    data: DataConfig = field(default_factory=DataConfig)
    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    federation: FederationConfig = field(default_factory=FederationConfig)
    local: LocalConfig = field(default_factory=LocalConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    select: SelectConfig = field(default_factory=SelectConfig)
    aggregate: AggregateConfig = field(default_factory=AggregateConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    fine_tune: FineTuneConfig = field(default_factory=FineTuneConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    rounds: int = number(100, 1)
    #: Rounds that are done of the schedule's `rounds`: as many as another trial's parameters had
    #: that early stopping or keep=best chose. None = all.
    stop_round: int | None = number(None, 1)
    eval_every: int = number(5, 1)
    eval_train: bool = False  # evaluations measure a sample of the training examples too
    patience: int = number(0, 0)  # evaluations without a better one before stopping; 0 = off
    keep: str = choice("last", "last", "best")  # parameters that count at the end
    seed: int = number(0, 0, MOST_SEED)

    def __post_init__(self) -> None:
        super().__post_init__()
        fed, local, head = self.federation, self.local, self.head
        for name, modes in (
            ("classes_per_client", ("classes",)),
            ("alpha", ("dirichlet", "dirichlet_labels")),
        ):
            value = getattr(fed, name)
            if (fed.sharding in modes) != (value is not None):
                need = "needed by" if value is None else "only for"
                allowed = f"{need} federation.sharding={' or '.join(modes)}"
                raise refuse(f"federation.{name}", value, allowed)
        for name, rounds, one in (
            ("rounds", self.rounds, local),
            ("head.rounds", head.rounds, head.local),
        ):
            if rounds * one.steps > MOST_STEPS:
                allowed = f"with {one.prefix}steps={one.steps} more than {MOST_STEPS:,} in all"
                raise refuse(name, rounds, allowed)
        if self.data.name in DATA_SETS:  # of the user's own the sharding itself finds out
            self._check_sizes(DATA_SETS[self.data.name])
        if self.stop_round is not None and self.stop_round > self.rounds:
            raise refuse("stop_round", self.stop_round, f"must be at most rounds={self.rounds}")
        if local.keep_momentum and fed.clients > 1:
            raise refuse("local.keep_momentum", True, "only for federation.clients=1 (centralised)")
        self._check_strategy()
        for name in ("crop", "rotation") if self.part == "head" else ():
            if value := getattr(self.data, name):
                allowed = "a head (fine_tune.strategy=head) learns from cached features, which are "
                raise refuse(f"data.{name}", value, allowed + "not augmented: must be 0")

    def _check_sizes(self, data: DataSet) -> None:
        """The data set is large enough for this federation."""
        name, fed = self.data.name, self.federation
        if fed.classes_per_client is not None and fed.classes_per_client > data.classes:
            allowed = f"{name} has {data.classes} classes: must be in [1, {data.classes}]"
            raise refuse("federation.classes_per_client", fed.classes_per_client, allowed)
        for needed, count in (
            ("federation.clients", fed.clients),
            ("local.batch_size", self.local.batch_size),
            ("head.local.batch_size", self.head.local.batch_size),
        ):
            if count > data.train:
                raise refuse(needed, count, f"{name} has only {data.train} training examples")

    def _check_strategy(self) -> None:
        """The strategy, the head it starts from and the mask fit together."""
        strategy, mask = self.fine_tune.strategy, self.mask
        if strategy.startswith("head_then") and self.head.method == "none":
            needs = "needs head.method=ridge or fedavg: the head comes first"
            raise refuse("fine_tune.strategy", strategy, needs)
        if strategy == "head" and mask.preset != "none":
            needs = "freezes the head: needs a strategy that trains a backbone"
            raise refuse("mask.preset", mask.preset, needs)
        if strategy == "full" and mask.in_force:
            raise refuse("fine_tune.strategy", "full", "is dense: masks need sparse_full")
        from_zero = strategy == "head" and self.head.method == "none" and mask.in_force
        if from_zero and mask.rule in ("low_magnitude", "high_magnitude", "hybrid"):
            needs = "needs head.method=ridge or fedavg: a head of zeros has no magnitudes"
            raise refuse("mask.rule", mask.rule, needs)
        if mask.average == "all" and mask.scope == "shared":
            raise refuse("mask.average", "all", "only for mask.scope=per_client")

    @property
    def part(self) -> str:
        """The part of the model that the main stage trains: head, backbone or full."""
        return STRATEGIES[self.fine_tune.strategy]

    @property
    def last_round(self) -> int:
        """Rounds that are done."""
        return self.rounds if self.stop_round is None else self.stop_round

    @property
    def stops_early(self) -> bool:
        """Whether validation decides after how many rounds the parameters that count come."""
        return self.patience > 0 or self.keep == "best"

    def override(self, values: Mapping[str, Value]) -> Self:
        """A copy with the named fields replaced; unknown names are a ConfigError.

        A preset among them brings its values along, but for what is named beside it.
        """
        return self.from_flat({**self.to_flat(), **with_preset(values)})

    @classmethod
    def from_flat(cls, flat: Mapping[str, Value]) -> Self:
        """The inverse of `to_flat`; missing names keep their defaults or those of a preset that is
        named, unknown ones are errors.
        """
        flat = with_preset(flat)
        for name in flat.keys() - specs(cls).keys():  # type: ignore[arg-type]  # hashable it is
            raise unknown_field(name)
        return from_flat(cls, flat)

    def only(self, reads: Sequence[str]) -> Self:
        """A copy with the fields that are read, by name or group (`is_read`), all others at their
        defaults.
        """
        return self.from_flat({n: v for n, v in self.to_flat().items() if is_read(n, reads)})

    def digest(self) -> str:
        """16 hex digits that name this configuration (and the code's TRIAL_VERSION)."""
        return digest_of({"version": TRIAL_VERSION, **self.identity()})

    def identity(self) -> dict[str, object]:
        """What names this configuration by content: the values that differ from the defaults, and
        the sources of the user's own choices.
        """
        sources = own_sources(self)
        return {**self.changed(), **({"own": sources} if sources else {})}


def unknown_field(name: object) -> ConfigError:
    """The error for a name that is no field's, with those that it may have meant."""
    likely = meant(name, specs(TrialConfig)) if isinstance(name, str) else ""
    hint = f"; did you mean {likely}?" if likely else ""
    plain = isinstance(name, str) and is_name(name)
    return ConfigError(f"{name if plain else shown(name)}: no such configuration field{hint}")


def check_value(name: object, value: object) -> None:
    """ConfigError for no such field, or a value that it never takes."""
    spec = specs(TrialConfig).get(name) if isinstance(name, str) else None
    if spec is None:
        raise unknown_field(name)
    checked(str(name), value, spec)


def own_sources(config: TrialConfig) -> dict[str, str]:
    """Field -> sha256 of the source of what it names, for the choices of the user's own."""
    return {name: source_of(value, name) for name, value in config.own().items()}
