"""The section `mask` of a trial's configuration."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from fl_core.config.fields import Section, choice, number, refuse
from fl_core.config.mask_presets import CONVENTIONS
from fl_core.config.methods import METHODS
from fl_core.config.own import is_own

#: Rules of a mask: which parameters stay trainable.
RULES = (
    *("least_sensitive", "most_sensitive", "low_magnitude", "high_magnitude", "random", "hybrid"),
    "most_salient",
)
#: Kinds of layers a mask may be restricted to.
LAYERS = ("linear", "attention", "norm", "conv", "embedding", "head")


@dataclass(frozen=True)
class MaskConfig(Section):
    """Which parameters stay trainable in the main stage (see fl_core.masks).

    Sparsity is the fraction of the maskable parameters that is FROZEN. A parameter that is
    trainable but not in `layers` is frozen too, as in TaLoS (Iurada et al., ICLR 2025), whose
    other conventions are `preset=talos`.
    """

    prefix: ClassVar[str] = "mask."
    preset: str = choice("none", *CONVENTIONS)  # values that go together: see mask_presets
    rule: str = choice("least_sensitive", *RULES, own=True)  # own: see masks.rules
    sparsity: float = number(0.0, 0, 1, below=True)
    #: The sparsity over the rounds of the main stage: from `sparsity` in the first to
    #: `sparsity_end` in the last. See `sparsity_at`.
    schedule: str = choice("constant", *METHODS["mask.schedule"])
    sparsity_end: float = number(0.0, 0, 1, below=True)
    #: Rounds of the main stage between two calibrations, on the model as it is then; 0 = the masks
    #: of the start stay.
    recalibrate: int = number(0, 0)
    #: A client's active share is proportional to this power of its number of examples, with the
    #: mean over the clients that `sparsity` says; 0 = the same for all.
    size_power: float = number(0.0, -4, 4)
    #: Instead of a sparsity: what scores below it stays trainable, in every round of calibration.
    threshold: float | None = number(None, 0, 1e30, above=True)
    rounds: int = number(1, 1)  # R; active fraction after round r is (1 - sparsity)^(r/R)
    scope: str = choice("shared", "shared", "per_client")
    #: Where a shared mask comes from: scores on the server's calibration split, the clients'
    #: scores summed, or their masks combined.
    source: str = choice("server", "server", "scores", "union", "intersection", "majority")
    layers: str = "all"  # kinds of maskable layers, joined by +; see LAYERS
    granularity: str = choice("global", "global", "tensor")  # one threshold, or one a tensor
    min_active: int = number(1, 0, 1e9)  # entries kept active in every maskable tensor
    min_share: float = number(0.0, 0, 1)  # the same as a share of the tensor
    #: Labels drawn from the model, the same with the logit as score, or those of the data set: the
    #: server's are then the validation labels.
    fisher: str = choice("sampled", "sampled", "talos", "empirical")
    examples: int = number(256, 1)  # calibration examples of the server, or of each client
    batch_size: int = number(16, 1)  # of the calibration: memory, and rounding
    dropped_weight: float = number(0.1, 0, 1)  # factor of dropped weights while calibrating
    hybrid_weight: float | None = number(None, 0, 1)  # of Fisher against magnitude: rule=hybrid
    #: Server's average of an entry: over the clients that sent it, or over all (others count as
    #: unchanged). Only per-client masks make a difference.
    average: str = choice("senders", "senders", "all")

    def __post_init__(self) -> None:
        super().__post_init__()
        kinds = self.layers.split("+")
        if self.layers != "all" and (set(kinds) - set(LAYERS) or len(set(kinds)) != len(kinds)):
            raise refuse(
                "mask.layers", self.layers, f"must be all, or {', '.join(LAYERS)} joined by +"
            )
        if (self.rule == "hybrid") != (self.hybrid_weight is not None):
            need = "needed by" if self.hybrid_weight is None else "only for"
            raise refuse("mask.hybrid_weight", self.hybrid_weight, f"{need} mask.rule=hybrid")
        if self.scope == "per_client" and self.source != "server":
            raise refuse("mask.source", self.source, "only for mask.scope=shared")
        self.only_for("schedule", METHODS["mask.schedule"])
        if self.size_power and self.scope == "shared":
            raise refuse("mask.size_power", self.size_power, "only for mask.scope=per_client")
        if self.threshold is not None:
            self._check_threshold(self.threshold)
        if self.changes:
            self._check_changes()
        for name, wanted in CONVENTIONS[self.preset].items():
            given = self.to_flat()[name]
            if given != wanted:
                raise refuse(name, given, f"mask.preset={self.preset} is {name}={wanted!r}")

    def _check_threshold(self, threshold: float) -> None:
        """A threshold decides alone, and of scores that mean something by themselves."""
        if self.sparsity:
            needs = f"stands instead of mask.sparsity, which is {self.sparsity!r}"
            raise refuse("mask.threshold", threshold, needs)
        if self.rule != "least_sensitive" and not is_own(self.rule):
            needs = "is one of Fisher information: only for mask.rule=least_sensitive or your own"
            raise refuse("mask.threshold", threshold, needs)
        if self.granularity != "global":
            needs = "only without mask.threshold, which is one for all tensors"
            raise refuse("mask.granularity", self.granularity, needs)
        for name, neutral in (("schedule", "constant"), ("size_power", 0), ("recalibrate", 0)):
            if (value := getattr(self, name)) != neutral:
                needs = "needs an exact sparsity: not with mask.threshold"
                raise refuse(f"mask.{name}", value, needs)

    def _check_changes(self) -> None:
        """Masks that change over the rounds are made of scores, by one party each."""
        name = "recalibrate" if self.recalibrate else "schedule"
        value = getattr(self, name)
        if self.source not in ("server", "scores"):
            needs = f"only for mask.source=server or scores, which is {self.source!r}"
            raise refuse(f"mask.{name}", value, needs)
        if not self.in_force:
            raise refuse(f"mask.{name}", value, "only where a mask freezes something")

    @property
    def in_force(self) -> bool:
        """Whether anything may be frozen; without a mask training is dense."""
        return self.takes_parts or self.layers != "all"

    @property
    def takes_parts(self) -> bool:
        """Whether single entries may be frozen, not whole tensors alone."""
        return self.sparsity > 0 or self.sparsity_end > 0 or self.threshold is not None

    @property
    def of_each_client(self) -> bool:
        """Whether every client trains, and sends, entries of its own."""
        return self.in_force and self.scope == "per_client"

    @property
    def changes(self) -> bool:
        """Whether a mask may differ from round to round."""
        return self.schedule != "constant" or self.recalibrate > 0

    def sparsity_at(self, round: int, rounds: int) -> float:
        """Of round 0..rounds-1: exactly `sparsity` in the first, `sparsity_end` in the last."""
        if self.schedule == "constant" or self.sparsity_end == self.sparsity:
            return self.sparsity
        progress = round / max(rounds - 1, 1)
        if self.schedule == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        return (1 - progress) * self.sparsity + progress * self.sparsity_end

    def period(self, round: int) -> int:
        """How many times masks have been calibrated anew by this round."""
        return round // self.recalibrate if self.recalibrate else 0
