"""Do different clients find the same parameters worth training?

Every client calibrates its own mask on its own data; what is measured is how much the masks of
the clients that took part overlap (Jaccard), tensor by tensor and overall, next to the overlap
that independent masks of the same densities would have: at half the parameters that is 1/3, and
only the excess says something. Nothing is tuned; each mask is trained under for a few rounds.

scientific  mask.rule x mask.sparsity x sharding (iid, N_c=10, N_c=1)
nuisance    none
fixed       everything else; R=1

    python studies/mask_overlap.py                        # linear head; minutes
    python studies/mask_overlap.py --preset vit-tiny --weights FILE      # an hour on a CPU
    python studies/mask_overlap.py --preset paper         # DINO ViT-S/16; hours on a large GPU

Expect on the embedded default: magnitude masks are the same everywhere (they look at no data),
random ones overlap by chance; Fisher masks agree a little more than that among iid clients, and far
more where every client holds one class.
"""

from fl_core import (
    PAPER_SPARSE,
    VIT_TINY_SPARSE,
    Study,
    each,
    embedded,
    grid,
    main,
    paper,
    rules,
    shardings,
    smoke,
    vit_tiny,
)
from search_spaces import masks

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.steps": 4,
    "head.method": "fedavg",
    "mask.scope": "per_client",
}
SPARSITIES = each("mask.sparsity", (0.5, 0.9))
ARMS = grid(shardings(None, 10, 1), rules(), SPARSITIES)
FEW = grid(shardings(None, 10), rules("least_sensitive", "random"), each("mask.sparsity", (0.5,)))
TINY, PAPER = ({**size, "local.lr": 0.01} for size in (VIT_TINY_SPARSE, PAPER_SPARSE))
SENSITIVE = grid(shardings(None, 10, 1), rules("least_sensitive", "random"), SPARSITIES)

STUDY = Study(
    name="mask_overlap",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.untuned,
    presets={
        "embedded": embedded(budget=40, eval_steps=40, trials=1, seeds=3),
        "smoke": smoke(budget=16, trials=1, arms=FEW),
        "vit-tiny": vit_tiny(
            budget=8, eval_steps=8, trials=1, first=(), arms=SENSITIVE, overrides=TINY
        ),
        "paper": paper(budget=40, eval_steps=40, trials=1, overrides=PAPER),
    },
)

if __name__ == "__main__":
    main(STUDY)
