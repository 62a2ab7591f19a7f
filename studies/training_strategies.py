"""Head only, everything, or the head first and then a sparse part of the rest?

The strategies of the reports under one budget of local steps in the main stage: the head alone;
everything densely; everything under a mask; the head first, then the backbone or everything under
a mask. On the embedded features there is only a head: there the question is what a warm-up buys
before a mask is put on it.

scientific  fine_tune.strategy (embedded: head.method x mask.sparsity), iid and N_c=10
nuisance    learning rate, momentum
fixed       K, C, J, split, backbone, the head's warm-up, masks (least sensitive, shared, R=2)

    python studies/training_strategies.py                 # linear head on embedded features
    python studies/training_strategies.py --preset vit-tiny --weights FILE
    python studies/training_strategies.py --preset paper  # fine-tunes DINO ViT-S/16

Expect on images: the head first, then a sparse backbone, ahead of the head alone, as published.
"""

from fl_core.study.arms import each, grid, shardings
from fl_core.study.command import main
from fl_core.study.presets import FIRST, PAPER_BACKBONE, VIT_TINY, Preset
from fl_core.study.study import Study
from search_spaces import masks

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.steps": 4,
    "mask.rounds": 2,
}
SHARDINGS = shardings(None, 10)
STRATEGIES = [
    {"fine_tune.strategy": "head", "head.method": "none", "mask.sparsity": 0.0},
    {"fine_tune.strategy": "full", "head.method": "none", "mask.sparsity": 0.0},
    {"fine_tune.strategy": "sparse_full", "head.method": "none", "mask.sparsity": 0.5},
    {"fine_tune.strategy": "head_then_sparse_backbone", "head.method": "fedavg",
     "mask.sparsity": 0.5},
    {"fine_tune.strategy": "head_then_sparse_full", "head.method": "fedavg", "mask.sparsity": 0.5},
]  # fmt: skip
HEAD = {"head.rounds": 200, "head.local.lr": 0.03, "head.local.momentum": 0.9}
HEADS = grid(each("head.method", ("none", "fedavg")), each("mask.sparsity", (0.0, 0.5, 0.8)))

STUDY = Study(
    name="training_strategies",
    question=__doc__,
    base=BASE,
    arms=grid(SHARDINGS, STRATEGIES),
    space=masks.fine_tuning,
    presets={
        "embedded": Preset("linear head on features that ship with it; minutes, no GPU",
                           budget=400, eval_steps=80, trials=8, seeds=3, space=masks.head,
                           arms=grid(SHARDINGS, HEADS)),
        "smoke": Preset("the same, shortened to about a minute",
                        budget=64, eval_steps=16, trials=2, seeds=2, space=masks.head,
                        arms=grid(shardings(10), HEADS), prune=False),
        "vit-tiny": Preset("ViT-Ti/16 on images at 64 px, a few rounds; hours without a GPU",
                           budget=80, eval_steps=40, trials=2, seeds=1, first=FIRST,
                           overrides={**VIT_TINY, **HEAD}),
        "paper": Preset("DINO ViT-S/16 on images; days on a large GPU",
                        budget=800, eval_steps=80, trials=8, seeds=3,
                        overrides={**PAPER_BACKBONE, **HEAD}),
    },
)  # fmt: skip

if __name__ == "__main__":
    main(STUDY)
