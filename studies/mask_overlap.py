"""Do different clients find the same parameters worth training?

Every client calibrates its own mask on its own data; what is measured is how much the masks of
the clients that took part overlap (Jaccard), tensor by tensor and overall, beside the overlap
that independent masks of the same densities would have: at half the parameters that is 1/3, and
only the excess says something. Nothing is tuned; each mask is trained under for a few rounds.

scientific  mask.rule x mask.sparsity x sharding (iid, N_c=10, N_c=1)
nuisance    none
fixed       everything else; R=1

    python studies/mask_overlap.py                        # linear head on embedded features
    python studies/mask_overlap.py --preset vit-tiny --weights FILE
    python studies/mask_overlap.py --preset paper         # DINO ViT-S/16

Expect on the embedded default: magnitude masks are the same everywhere (they look at no data),
random ones overlap by chance; Fisher masks agree a little more than that among iid clients, and far
more where every client holds one class.
"""

from fl_core.study.arms import each, grid, rules, shardings
from fl_core.study.command import main
from fl_core.study.presets import PAPER_BACKBONE, SPARSE_BACKBONE, VIT_TINY, Preset
from fl_core.study.study import Study
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
SENSITIVE = grid(shardings(None, 10, 1), rules("least_sensitive", "random"), SPARSITIES)

STUDY = Study(
    name="mask_overlap",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.untuned,
    presets={
        "embedded": Preset("linear head on features that ship with it; minutes, no GPU",
                           budget=40, eval_steps=40, trials=1, seeds=3),
        "smoke": Preset("the same, shortened to about a minute",
                        budget=16, eval_steps=16, trials=1, seeds=2, arms=FEW),
        "vit-tiny": Preset("ViT-Ti/16 on images at 64 px; an hour without a GPU",
                           budget=8, eval_steps=8, trials=1, seeds=1, arms=SENSITIVE,
                           overrides={**VIT_TINY, **SPARSE_BACKBONE, "local.lr": 0.01}),
        "paper": Preset("DINO ViT-S/16 on images; hours on a large GPU",
                        budget=40, eval_steps=40, trials=1, seeds=3,
                        overrides={**PAPER_BACKBONE, **SPARSE_BACKBONE, "local.lr": 0.01}),
    },
)  # fmt: skip

if __name__ == "__main__":
    main(STUDY)
