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
from fl_core.config.combinations import check_combination
from fl_core.config.fields import (
    Section,
    Value,
    checked,
    choice,
    from_flat,
    is_name,
    is_read,
    number,
    shown,
    specs,
)
from fl_core.config.mask_presets import with_preset
from fl_core.config.mask_section import MaskConfig
from fl_core.config.method_sections import (
    AggregateConfig,
    AttackConfig,
    LocalConfig,
    PersonalConfig,
    ScheduleConfig,
    SelectConfig,
    ServerConfig,
)
from fl_core.config.own import content_of, source_of
from fl_core.config.record import JUDGED
from fl_core.config.sections import (
    MOST_SEED,
    STRATEGIES,
    BackboneConfig,
    ComputeConfig,
    DataConfig,
    FederationConfig,
    FineTuneConfig,
    HeadConfig,
)
from fl_core.config.system_sections import TimingConfig

__all__ = ["TRIAL_VERSION", "TrialConfig", "Value", "own_sources"]

#: Part of every digest: raise it when the same configuration would give other numbers, and when a
#: default changes (a digest hashes only what differs from the defaults).
TRIAL_VERSION = 4


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
    attack: AttackConfig = field(default_factory=AttackConfig)
    timing: TimingConfig = field(default_factory=TimingConfig)
    personal: PersonalConfig = field(default_factory=PersonalConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    fine_tune: FineTuneConfig = field(default_factory=FineTuneConfig)
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    rounds: int = number(100, 0)  # 0: the head as it is
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
        check_combination(self)

    @property
    def part(self) -> str:
        """The part of the model that the main stage trains: head, backbone or full."""
        return STRATEGIES[self.fine_tune.strategy]

    @property
    def last_round(self) -> int:
        """Rounds that are done."""
        return self.rounds if self.stop_round is None else self.stop_round

    @property
    def judged_by(self) -> str:
        """The metric of an evaluation that is a trial's score."""
        return JUDGED if self.personal.judges else "val_accuracy"

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
        """What names this configuration by content: the values that differ from the defaults, of a
        file or folder what is in it, and the sources of the user's own choices.
        """
        found: dict[str, object] = {**self.changed()}
        found |= {name: content_of(path, name) for name, path in self.paths().items()}
        sources = own_sources(self)
        return {**found, **({"own": sources} if sources else {})}


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
