"""Is a classifier in closed form as good a start for a sparse backbone as a trained one?

Step 0 of the brief: the head is obtained once and then kept frozen, by FedAvg or by ridge
regression, whose statistics the clients sum in a single round (Fed3R). Then the clients train a
part of the backbone under a mask that was calibrated with this head, for what is left of one
budget of local steps in all (FedAvg's head takes some, ridge regression none). On the embedded
features there is no backbone: there the mask lies on the head itself.

scientific  head.method in {ridge, fedavg} x mask.sparsity, iid and N_c=5
nuisance    learning rate, momentum
fixed       K, C, J, split, backbone, ridge penalty, rule (least sensitive), shared masks, R=4

    python studies/ridge_then_sparse.py                       # linear head; minutes
    python studies/ridge_then_sparse.py --preset vit-tiny --weights FILE      # hours on a CPU
    python studies/ridge_then_sparse.py --preset paper        # DINO ViT-S/16; days on a large GPU

Expect on the embedded default: ridge is the better start where clients differ, because its
statistics do not depend on the sharding.
"""

from fl_core import (
    DENSE,
    PAPER_SPARSE,
    VIT_TINY_SPARSE,
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
    "mask.rounds": 4,
}
HEADS = each("head.method", ("ridge", "fedavg"))
SPARSITIES = [DENSE, *each("mask.sparsity", (0.5, 0.9))]
ARMS = grid(shardings(None, 5), HEADS, SPARSITIES)
FEW = grid(shardings(5), HEADS, each("mask.sparsity", (0.9,)))

STUDY = Study(
    name="ridge_then_sparse",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    budget_counts_head=True,
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=8, seeds=3, finalists=2),
        "smoke": smoke(arms=FEW, overrides={"head.rounds": 8}),
        "vit-tiny": vit_tiny(
            budget=160, overrides={**VIT_TINY_SPARSE, "head.rounds": 20}, space=masks.fine_tuning
        ),
        "paper": paper(budget=1600, overrides=PAPER_SPARSE, space=masks.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
