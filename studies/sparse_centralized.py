"""How many parameters, and which, does fine-tuning need when one machine has all the data?

The head is warmed up densely; then SparseSGDM trains only the parameters that a rule selects:
sparsity is the fraction that stays frozen. One client holds every example and keeps its momentum;
one round is one epoch, and the best epoch counts.

scientific  mask.rule x mask.sparsity, beside dense training
nuisance    learning rate, momentum
fixed       split, backbone, the head's warm-up, epochs, batch size, R=4 rounds of calibration

    python studies/sparse_centralized.py                  # linear head on embedded features
    python studies/sparse_centralized.py --preset vit-tiny --weights FILE
    python studies/sparse_centralized.py --preset paper   # fine-tunes DINO ViT-S/16

Expect on the embedded default: freezing half of the head costs a point, nine tenths three to five;
the least sensitive weights do no better than random ones.
"""

from fl_core.study.arms import DENSE, each, grid, rules
from fl_core.study.command import main
from fl_core.study.presets import FIRST, PAPER_BACKBONE, SPARSE_BACKBONE, VIT_TINY, Preset
from fl_core.study.study import Study
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
    "mask.rounds": 4,
}
ARMS = [DENSE, *grid(rules(), each("mask.sparsity", (0.5, 0.8, 0.9, 0.99)))]
FEW = [DENSE, *grid(rules("least_sensitive"), each("mask.sparsity", (0.5, 0.9)))]
HEAD = {"fine_tune.strategy": "head", "mask.sparsity": 0.0}
#: A "round" is 50 steps of the one client.
STEPS = {"local.unit": "steps", "local.steps": 50, "federation.participation": 1.0}

STUDY = Study(
    name="sparse_centralized",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    presets={
        "embedded": Preset("linear head on features that ship with it; minutes, no GPU",
                           budget=8, eval_steps=1, trials=6, seeds=3),
        "smoke": Preset("the same, shortened to about a minute",
                        budget=1, eval_steps=1, trials=2, seeds=2, arms=FEW, prune=False),
        "vit-tiny": Preset("ViT-Ti/16 on images at 64 px, 400 steps; an hour without a GPU",
                           budget=400, eval_steps=200, trials=2, seeds=1, first=FIRST,
                           arms=[HEAD, *FEW], overrides={**VIT_TINY, **SPARSE_BACKBONE, **STEPS},
                           space=masks.fine_tuning),
        "paper": Preset("DINO ViT-S/16 on images; a day on a large GPU",
                        budget=30, eval_steps=1, trials=8, seeds=3,
                        overrides={**PAPER_BACKBONE, **SPARSE_BACKBONE}, space=masks.fine_tuning),
    },
)  # fmt: skip

if __name__ == "__main__":
    main(STUDY)
