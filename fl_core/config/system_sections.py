"""The section of a trial's configuration that says how long clients take and whether they fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_core.config.fields import Section, choice
from fl_core.config.methods import METHODS


@dataclass(frozen=True)
class TimingConfig(Section):
    """When the server steps, and with whose updates (see federated.timing)."""

    prefix: ClassVar[str] = "timing."
    mode: str = choice("synchronous", *METHODS["timing.mode"])

    def __post_init__(self) -> None:
        super().__post_init__()
        self.only_for("mode", METHODS["timing.mode"])
