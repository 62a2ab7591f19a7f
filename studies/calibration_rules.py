"""Which parameters should a mask keep: the least or most sensitive, the smallest, or any?

Six rules at the same sparsity, budget and calibration data. Fisher information needs gradients,
magnitude nothing, chance even less: a rule must beat `random` to be worth its name. Where a
backbone trains there is one arm more, the least sensitive by TaLoS's own conventions
(mask.preset=talos: other layers, score, guard and examples, see fl_core/config/mask_presets.py).

scientific  mask.rule at mask.sparsity 0.8 and 0.95; iid, N_c=10 and 5; dense FedAvg, and TaLoS
nuisance    learning rate, momentum
fixed       K, C, J, split, backbone, the head's warm-up, shared masks, R=4

    python studies/calibration_rules.py                   # linear head; minutes
    python studies/calibration_rules.py --search-arms     # the rule and its own settings jointly
    python studies/calibration_rules.py --preset vit-tiny --weights FILE      # hours on a CPU
    python studies/calibration_rules.py --preset paper    # DINO ViT-S/16; days on a large GPU

Expect on the embedded default: rules within a point of each other once each has its own learning
rate.
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
    "mask.rounds": 4,
}
SHARDINGS = shardings(None, 10, 5)
SPARSITIES = each("mask.sparsity", (0.8, 0.95))
RULES = [DENSE, *grid(rules(), SPARSITIES)]
ARMS = grid(SHARDINGS, RULES)
FEW = grid(shardings(10), [DENSE, *grid(rules(), each("mask.sparsity", (0.9,)))])
#: Their layers are those of a backbone: there is no such arm of a head alone.
TALOS = grid(rules("least_sensitive"), each("mask.preset", ("talos",)))

STUDY = Study(
    name="calibration_rules",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    joint_arms=grid(SHARDINGS, SPARSITIES),
    joint_space=masks.rule,
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=5, seeds=3),
        "smoke": smoke(arms=FEW),
        "vit-tiny": vit_tiny(
            arms=[*FEW, *grid(shardings(10), TALOS, each("mask.sparsity", (0.9,)))],
            overrides=VIT_TINY_SPARSE,
            space=masks.fine_tuning,
        ),
        "paper": paper(
            arms=grid(SHARDINGS, [*RULES, *grid(TALOS, SPARSITIES)]),
            overrides=PAPER_SPARSE,
            space=masks.fine_tuning,
        ),
    },
)

if __name__ == "__main__":
    main(STUDY)
