"""How much of the model may be frozen in a federation before accuracy falls?

One mask from the server leaves the least sensitive parameters trainable; the brief's and the
reports' sparsities, beside dense FedAvg. The same on one machine: sparse_centralized.

scientific  mask.sparsity in {0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9} and dense; iid, N_c=5 and 50
nuisance    learning rate, momentum
fixed       K, C, J, split, backbone, the head's warm-up, shared mask, R=4, rule

    python studies/sparsity.py                            # linear head; minutes
    python studies/sparsity.py --preset vit-tiny --weights FILE     # hours on a CPU
    python studies/sparsity.py --preset paper             # DINO ViT-S/16; days on a large GPU

Expect on the embedded default: within a point of dense up to 0.5, less where classes are few.
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
    "mask.rounds": 4,
}
SPARSITIES = each("mask.sparsity", (0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9))
ARMS = grid(shardings(None, 50, 5), [DENSE, *SPARSITIES])
FEW = grid(shardings(50, 5), [DENSE, *each("mask.sparsity", (0.5, 0.9))])

STUDY = Study(
    name="sparsity",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=6, seeds=3),
        "smoke": smoke(arms=FEW),
        **sparse_backbone(masks.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
