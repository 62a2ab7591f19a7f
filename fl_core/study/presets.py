"""Sizes of a study: how much work, on what; and the values that several studies share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from fl_core.config.fields import refuse
from fl_core.config.method_sections import ScheduleConfig
from fl_core.config.steps_done import rounds_of
from fl_core.config.trial_config import Value
from fl_core.study.plan import SEARCHERS, Space

PROBE_SHARE = 5  # a probe has one such part of the budget
PROBE_SEEDS = 2  # at most, of an arm
MOST_WORK = 1_000_000_000  # local steps of a trial, trials of an arm
PACE = ("rounds", "eval_every")  # these follow from the budget and J


@dataclass(frozen=True)
class Preset:
    """How much work, on what: the same question at another size."""

    help: str
    #: Local steps (or epochs) of a full trial's main stage: rounds = budget / J (contract 7); and
    #: of its head, where the study counts that (`Study.budget_counts_head`).
    budget: int
    eval_steps: int  # local steps between evaluations; also ASHA's first rung
    trials: int  # of each arm
    seeds: int  # of the confirmation
    overrides: Mapping[str, Value] = field(default_factory=dict)
    space: Space | None = None  # None = the study's own
    arms: Sequence[Mapping[str, Value]] | None = None  # None = the study's own
    first: Sequence[Mapping[str, Value]] = ()  # points of the space that are tried first
    prune: bool = True  # ASHA; without it a search of random trials does not depend on timing
    searcher: str = SEARCHERS[0]
    neighbours: bool = True  # arms try what their neighbours found
    finalists: int = 1  # best trials of an arm that are confirmed
    #: Nuisance values that are the same in every arm, at which the clients' drift is measured: at
    #: its own an arm's drift tells which learning rate won. Searched are others. None = no probe.
    probe: Mapping[str, Value] | None = None

    def pace(
        self, steps: int, schedule: ScheduleConfig, fixed: Mapping[str, Value], spent: int = 0
    ) -> dict[str, Value]:
        """Rounds and evaluations for J local steps (contract 7), but for what the user fixes;
        ConfigError where the budget is not enough for one round.

        spent: of the budget, by a head.
        """
        rounds = rounds_of(schedule, steps, self.budget - spent)
        if rounds < 1 and "rounds" not in fixed:
            have = f"the budget is {self.budget - spent} local steps in all"
            raise refuse("local.steps", steps, f"{have}: must be at most that")
        pace = {
            "rounds": rounds,
            "eval_every": max(1, rounds_of(schedule, steps, self.eval_steps)),
        }
        return {name: value for name, value in pace.items() if name not in fixed}


#: The sizes that studies share; each adds what differs: `smoke(trials=4)`.
embedded = partial(Preset, "linear head on features that ship with it; minutes, no GPU")
smoke = partial(
    Preset,
    "the same, shortened to about a minute",
    budget=64,
    eval_steps=16,
    trials=2,
    seeds=2,
    prune=False,
)
#: What few trials of a fine-tuning should begin with: the least sensitive half of a transformer
#: learns well at a rate that throws the dense one back to chance (LOG.md).
FIRST: Sequence[Mapping[str, Value]] = (
    {"local.lr": 0.03, "local.momentum": 0.9},
    {"local.lr": 0.003, "local.momentum": 0.9},
)
vit_tiny = partial(
    Preset,
    "ViT-Ti/16 on images at 64 px, few rounds; slow without a GPU",
    budget=80,
    eval_steps=40,
    trials=2,
    seeds=1,
    first=FIRST,
)
paper = partial(
    Preset,
    "DINO ViT-S/16 on images, for a large GPU",
    budget=800,
    eval_steps=80,
    trials=8,
    seeds=3,
)

#: All data on one machine: one client that keeps its momentum, an epoch a round, the best counts.
ONE_MACHINE: Mapping[str, Value] = {
    "federation.clients": 1,
    "federation.participation": 1.0,
    "local.unit": "epochs",
    "local.steps": 1,
    "local.keep_momentum": True,
    "keep": "best",
    "eval_train": True,
}
#: The same where an epoch is too long: a "round" is 50 steps of the one client.
FIFTY_STEPS: Mapping[str, Value] = {
    "local.unit": "steps",
    "local.steps": 50,
    "federation.participation": 1.0,
}
#: A head that is trained as long as it takes.
HEAD: Mapping[str, Value] = {
    "head.rounds": 200,
    "head.local.lr": 0.03,
    "head.local.momentum": 0.9,
}
#: A classifier that is not linear, so that drift and personal layers matter on features too. 128
#: hidden units are what two cores stack about as well as a linear head; with LayerNorm the rates
#: that learn do not depend on the scale of the features.
MLP: Mapping[str, Value] = {"head.hidden": 128, "head.norm": "layer"}
#: The head first, then a part of the backbone.
SPARSE_BACKBONE: Mapping[str, Value] = {
    **HEAD,
    "head.method": "fedavg",
    "fine_tune.strategy": "head_then_sparse_backbone",
}
#: The real weights at hand for development, at a resolution that a CPU can train at.
VIT_TINY: Mapping[str, Value] = {
    "backbone.image_size": 64,
    "federation.participation": 0.05,
    "local.batch_size": 32,
}
VIT_TINY_SPARSE: Mapping[str, Value] = {**VIT_TINY, **SPARSE_BACKBONE}
PAPER: Mapping[str, Value] = {
    "backbone.name": "vit_small_patch16_224",
    "backbone.tag": "dino",
}
PAPER_SPARSE: Mapping[str, Value] = {**PAPER, **SPARSE_BACKBONE}
#: All of it, from the head that ridge regression finds.
PAPER_FULL: Mapping[str, Value] = {**PAPER, "head.method": "ridge", "fine_tune.strategy": "full"}


def sparse_backbone(space: Space) -> dict[str, Preset]:
    """The two sizes at which a head is followed by a sparse backbone, tuned in this space."""
    return {
        "vit-tiny": vit_tiny(overrides=VIT_TINY_SPARSE, space=space),
        "paper": paper(overrides=PAPER_SPARSE, space=space),
    }


#: Where drift is compared: the middle of the searched learning rates (as logarithms), no momentum.
PROBE_HEAD: Mapping[str, Value] = {"local.lr": 0.1, "local.momentum": 0.0}
PROBE_FINE_TUNING: Mapping[str, Value] = {"local.lr": 0.003, "local.momentum": 0.0}
