"""Head only, everything, or the head first and then a sparse part of the rest?

The strategies of the reports under one budget of local steps in all, those of a head that comes
first included: the head alone; everything densely; everything under a mask; the head first, then,
for what is left of the budget, the backbone or everything under a mask. On the embedded features
there is only a head: there the question is what a warm-up buys before a mask is put on it.

scientific  fine_tune.strategy (embedded: head.method x mask.sparsity), iid and N_c=10
nuisance    learning rate, momentum
fixed       K, C, J, split, backbone, the head's warm-up, masks (least sensitive, shared, R=2)

    python studies/training_strategies.py                 # linear head; minutes
    python studies/training_strategies.py --preset vit-tiny --weights FILE      # hours on a CPU
    python studies/training_strategies.py --preset paper  # DINO ViT-S/16; days on a large GPU

Expect on images: the head first, then a sparse backbone, ahead of the head alone, as published.
"""

from fl_core import (
    HEAD,
    PAPER,
    VIT_TINY,
    Study,
    each,
    embedded,
    grid,
    main,
    paper,
    shardings,
    smoke,
    vit_tiny,
)
from search_spaces import masks

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.steps": 4,
    "mask.rounds": 2,
}
SHARDINGS = shardings(None, 10)
DENSE = {"head.method": "none", "mask.sparsity": 0.0}
MASKED = {"head.method": "fedavg", "mask.sparsity": 0.5}
STRATEGIES = [
    *grid(each("fine_tune.strategy", ("head", "full")), [DENSE]),
    {"fine_tune.strategy": "sparse_full", "head.method": "none", "mask.sparsity": 0.5},
    {"fine_tune.strategy": "head_then_sparse_backbone", **MASKED},
    {"fine_tune.strategy": "head_then_sparse_full", **MASKED},
]
HEADS = grid(each("head.method", ("none", "fedavg")), each("mask.sparsity", (0.0, 0.5, 0.8)))
BOTH = grid(SHARDINGS, HEADS)

STUDY = Study(
    name="training_strategies",
    question=__doc__,
    base=BASE,
    arms=grid(SHARDINGS, STRATEGIES),
    space=masks.fine_tuning,
    budget_counts_head=True,
    presets={
        "embedded": embedded(
            budget=400, eval_steps=80, trials=8, seeds=3, space=masks.head, arms=BOTH
        ),
        "smoke": smoke(
            space=masks.head, arms=grid(shardings(10), HEADS), overrides={"head.rounds": 8}
        ),
        "vit-tiny": vit_tiny(budget=160, overrides={**VIT_TINY, **HEAD, "head.rounds": 20}),
        "paper": paper(budget=1600, overrides={**PAPER, **HEAD}),
    },
)

if __name__ == "__main__":
    main(STUDY)
