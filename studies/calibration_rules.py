"""Which parameters should a mask keep: the least or most sensitive, the smallest, or any?

Six rules at the same sparsity, budget and calibration data. Fisher information needs gradients,
magnitude nothing, chance even less: a rule must beat `random` to be worth its name.

scientific  mask.rule at mask.sparsity 0.8 and 0.95, iid and N_c=10, beside dense FedAvg
nuisance    learning rate, momentum
fixed       K, C, J, split, backbone, the head's warm-up, shared masks, R=4

    python studies/calibration_rules.py                   # linear head on embedded features
    python studies/calibration_rules.py --search-arms     # the rule and its own settings jointly
    python studies/calibration_rules.py --preset vit-tiny --weights FILE
    python studies/calibration_rules.py --preset paper    # fine-tunes DINO ViT-S/16

Expect on the embedded default: rules within a point of each other once each has its own learning
rate.
"""

from fl_core.study.arms import DENSE, each, grid, rules, shardings
from fl_core.study.command import main
from fl_core.study.presets import FIRST, PAPER_BACKBONE, SPARSE_BACKBONE, VIT_TINY, Preset
from fl_core.study.study import Study
from search_spaces import masks

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.steps": 4,
    "head.method": "fedavg",
    "mask.rounds": 4,
}
SHARDINGS = shardings(None, 10)
ARMS = grid(SHARDINGS, [DENSE, *grid(rules(), each("mask.sparsity", (0.8, 0.95)))])
FEW = grid(shardings(10), [DENSE, *grid(rules(), each("mask.sparsity", (0.9,)))])

STUDY = Study(
    name="calibration_rules",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    joint_arms=grid(SHARDINGS, each("mask.sparsity", (0.8, 0.95))),
    joint_space=masks.rule,
    presets={
        "embedded": Preset("linear head on features that ship with it; minutes, no GPU",
                           budget=400, eval_steps=80, trials=6, seeds=3),
        "smoke": Preset("the same, shortened to about a minute",
                        budget=64, eval_steps=16, trials=2, seeds=2, arms=FEW, prune=False),
        "vit-tiny": Preset("ViT-Ti/16 on images at 64 px, a few rounds; hours without a GPU",
                           budget=80, eval_steps=40, trials=2, seeds=1, first=FIRST, arms=FEW,
                           overrides={**VIT_TINY, **SPARSE_BACKBONE}, space=masks.fine_tuning),
        "paper": Preset("DINO ViT-S/16 on images; days on a large GPU",
                        budget=800, eval_steps=80, trials=8, seeds=3,
                        overrides={**PAPER_BACKBONE, **SPARSE_BACKBONE}, space=masks.fine_tuning),
    },
)  # fmt: skip

if __name__ == "__main__":
    main(STUDY)
