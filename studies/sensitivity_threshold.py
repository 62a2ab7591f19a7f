"""Parameters whose sensitivity is below a threshold: how many are they, and what do they reach?

Step 1 of the brief read literally: trainable is what has a diagonal Fisher information below an
absolute threshold, however many that is (the column "active"; nothing below it is refused). Each
decade of the threshold is an arm, beside dense FedAvg. The same on one machine:
threshold_centralized.

scientific  mask.threshold, and dense; iid and N_c=5
nuisance    learning rate, momentum
fixed       K, C, J, split, backbone, the head's warm-up, shared mask, R=1

    python studies/sensitivity_threshold.py               # linear head; minutes
    python studies/sensitivity_threshold.py --set mask.scope=per_client       # whose Fisher?
    python studies/sensitivity_threshold.py --preset vit-tiny --weights FILE  # hours on a CPU
    python studies/sensitivity_threshold.py --preset paper    # DINO ViT-S/16; a day on a large GPU

Expect on the embedded default: 3, 15, 45 and 90 % of a head below 0.0001 to 0.1, each a decade; of
ViT-Ti/16's backbone at 224 px 10 to 17, 50 to 60 and 96 % below 0.0001, 0.001 and 0.01.
"""

from fl_core import (
    DENSE,
    Study,
    each,
    embedded,
    grid,
    main,
    shardings,
    smoke,
    sparse_backbone,
)
from search_spaces import masks

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.steps": 4,
    "head.method": "fedavg",
}
SHARDINGS = shardings(None, 5)
ARMS = grid(SHARDINGS, [DENSE, *each("mask.threshold", (1e-4, 1e-3, 1e-2, 1e-1))])
FEW = grid(SHARDINGS, [DENSE, *each("mask.threshold", (1e-2,))])

STUDY = Study(
    name="sensitivity_threshold",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=8, seeds=3),
        "smoke": smoke(arms=FEW),
        **sparse_backbone(masks.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
