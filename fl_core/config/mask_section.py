"""The section `mask` of a trial's configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fl_core.config.fields import Section, choice, number, refuse
from fl_core.config.mask_presets import CONVENTIONS
from fl_core.config.own import is_own

#: Rules of a mask: which parameters stay trainable.
RULES = ("least_sensitive", "most_sensitive", "low_magnitude", "high_magnitude", "random", "hybrid")
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
        if self.threshold is not None:
            self._check_threshold(self.threshold)
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

    @property
    def in_force(self) -> bool:
        """Whether anything may be frozen; without a mask training is dense."""
        return self.sparsity > 0 or self.threshold is not None or self.layers != "all"
