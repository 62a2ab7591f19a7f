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
    "federation.clients": 1,
    "federation.participation": 1.0,
    "local.unit": "epochs",
    "local.steps": 1,
    "local.keep_momentum": True,
    "local.batch_size": 256,
    "head.method": "fedavg",
    "keep": "best",
    "eval_train": True,
}
ARMS = [DENSE, *each("mask.threshold", (1e-4, 1e-3, 1e-2, 1e-1))]
#: A "round" is 50 steps of the one client.
TINY = {**VIT_TINY_SPARSE, "local.unit": "steps", "local.steps": 50, "federation.participation": 1}

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
