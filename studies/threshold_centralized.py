"""Which parameters are below a sensitivity threshold when one machine has all the data?

As sensitivity_threshold, without a federation: one client holds every example and keeps its
momentum, one round is one epoch, and the best epoch counts.

scientific  mask.threshold, and dense training
nuisance    learning rate, momentum
fixed       split, backbone, the head's warm-up, epochs, batch size, R=1

    python studies/threshold_centralized.py               # linear head; minutes
    python studies/threshold_centralized.py --preset vit-tiny --weights FILE  # an hour on a CPU
    python studies/threshold_centralized.py --preset paper    # DINO ViT-S/16; a day on a large GPU

Expect on the embedded default: what is lost follows the share that is left trainable.
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
    main,
    paper,
    smoke,
    vit_tiny,
)
from search_spaces import masks

BASE = {
    **ONE_MACHINE,
    "local.batch_size": 256,
    "head.method": "fedavg",
}
ARMS = [DENSE, *each("mask.threshold", (1e-4, 1e-3, 1e-2, 1e-1))]
TINY = {**VIT_TINY_SPARSE, **FIFTY_STEPS}

STUDY = Study(
    name="threshold_centralized",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    presets={
        "embedded": embedded(budget=8, eval_steps=1, trials=8, seeds=3),
        "smoke": smoke(budget=1, eval_steps=1),
        "vit-tiny": vit_tiny(budget=400, eval_steps=200, overrides=TINY, space=masks.fine_tuning),
        "paper": paper(budget=30, eval_steps=1, overrides=PAPER_SPARSE, space=masks.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
