"""How many parameters, and which, does fine-tuning need when one machine has all the data?

The head is warmed up densely; then SparseSGDM trains only the parameters that a rule selects:
sparsity is the fraction that stays frozen. One client holds every example and keeps its momentum;
one round is one epoch, and the best epoch counts.

scientific  mask.sparsity from 0.1 to 0.99 of the least sensitive; the other rules at three of
            them; and dense training
nuisance    learning rate, momentum
fixed       split, backbone, the head's warm-up, epochs, batch size, R=4 rounds of calibration

    python studies/sparse_centralized.py                  # linear head; minutes
    python studies/sparse_centralized.py --preset vit-tiny --weights FILE      # an hour on a CPU
    python studies/sparse_centralized.py --preset paper   # DINO ViT-S/16; a day on a large GPU

Expect on the embedded default: freezing half of the head costs a point, nine tenths three to five;
the least sensitive weights do no better than random ones.
"""

from fl_core import (
    DENSE,
    FIFTY_STEPS,
    ONE_MACHINE,
    PAPER_SPARSE,
    VIT_TINY_SPARSE,
    Study,
    each,
    embedded,
    grid,
    main,
    paper,
    rules,
    smoke,
    vit_tiny,
)
from search_spaces import masks

BASE = {
    **ONE_MACHINE,
    "local.batch_size": 256,
    "head.method": "fedavg",
    "mask.rounds": 4,
}
LEAST, *OTHERS = rules()
SPARSITIES = each("mask.sparsity", (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99))
ARMS = [DENSE, *grid([LEAST], SPARSITIES), *grid(OTHERS, each("mask.sparsity", (0.5, 0.9, 0.99)))]
FEW = [DENSE, *grid([LEAST], each("mask.sparsity", (0.5, 0.9)))]
ONLY_HEAD = {"fine_tune.strategy": "head", "mask.sparsity": 0.0}
TINY = {**VIT_TINY_SPARSE, **FIFTY_STEPS}

STUDY = Study(
    name="sparse_centralized",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    presets={
        "embedded": embedded(budget=8, eval_steps=1, trials=6, seeds=3),
        "smoke": smoke(budget=1, eval_steps=1, arms=FEW),
        "vit-tiny": vit_tiny(
            budget=400,
            eval_steps=200,
            arms=[ONLY_HEAD, *FEW],
            overrides=TINY,
            space=masks.fine_tuning,
        ),
        "paper": paper(budget=30, eval_steps=1, overrides=PAPER_SPARSE, space=masks.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
