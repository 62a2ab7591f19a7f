"""With all the data on one machine: the head only, everything, or the head and then a sparse part?

The strategies of training_strategies without a federation: one client holds every example and keeps
its momentum, one round is one epoch, and the best epoch counts. All have the same epochs in all:
a head that comes first takes a part of them. On the embedded features there is only a head: there
the question is what a warm-up, or the closed form, buys before a mask is put on it.

scientific  fine_tune.strategy (embedded: head.method x mask.sparsity)
nuisance    learning rate, momentum
fixed       split, backbone, the head's warm-up, epochs, batch size, masks (least sensitive, R=2)

    python studies/strategies_centralized.py                  # linear head; minutes
    python studies/strategies_centralized.py --preset vit-tiny --weights FILE      # hours on a CPU
    python studies/strategies_centralized.py --preset paper   # DINO ViT-S/16; a day on a large GPU

Expect on images: as published, the head first and then a sparse part ahead of everything at once.
"""

from fl_core import (
    FIFTY_STEPS,
    HEAD,
    ONE_MACHINE,
    PAPER,
    VIT_TINY,
    Study,
    each,
    embedded,
    grid,
    main,
    paper,
    smoke,
    vit_tiny,
)
from search_spaces import masks

BASE = {
    **ONE_MACHINE,
    "local.batch_size": 256,
    "mask.rounds": 2,
}
DENSE = {"head.method": "none", "mask.sparsity": 0.0}
MASKED = {"head.method": "fedavg", "mask.sparsity": 0.5}
STRATEGIES = [
    *grid(each("fine_tune.strategy", ("head", "full")), [DENSE]),
    {"fine_tune.strategy": "head_then_sparse_backbone", **MASKED},
    {"fine_tune.strategy": "head_then_sparse_full", **MASKED},
]
HEADS = grid(each("head.method", ("none", "ridge", "fedavg")), each("mask.sparsity", (0.0, 0.5)))
#: The head's own stage counts as the main one does: in epochs.
EPOCHS = {"head.local.unit": "epochs", "head.local.steps": 1}

STUDY = Study(
    name="strategies_centralized",
    question=__doc__,
    base=BASE,
    arms=STRATEGIES,
    space=masks.fine_tuning,
    budget_counts_head=True,
    presets={
        "embedded": embedded(
            budget=12,
            eval_steps=1,
            trials=6,
            seeds=3,
            space=masks.head,
            arms=HEADS,
            overrides={**EPOCHS, "head.rounds": 4},
        ),
        "smoke": smoke(
            budget=2,
            eval_steps=1,
            space=masks.head,
            arms=HEADS,
            overrides={**EPOCHS, "head.rounds": 1},
        ),
        "vit-tiny": vit_tiny(
            budget=400,
            eval_steps=200,
            overrides={**VIT_TINY, **HEAD, **FIFTY_STEPS, "head.rounds": 50},
        ),
        "paper": paper(
            budget=50, eval_steps=1, overrides={**PAPER, **HEAD, **EPOCHS, "head.rounds": 20}
        ),
    },
)

if __name__ == "__main__":
    main(STUDY)
