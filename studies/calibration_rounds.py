"""Does it help to calibrate a mask in several rounds, as TaLoS does, or is one enough?

The least sensitive tenth of the parameters stays trainable, found in R rounds: after round r the
active share is 0.1^(r/R), and each round scores the model whose dropped weights are damped. The
brief asks for the loss over rounds: figures/ has it, arm by arm.

scientific  mask.rounds (R) in {1, 2, 3, 5, 10}, iid and N_c=5
nuisance    learning rate, momentum
fixed       K, C, J, split, backbone, the head's warm-up, sparsity 0.9, shared mask, rule

    python studies/calibration_rounds.py                  # linear head; minutes
    python studies/calibration_rounds.py --set mask.sparsity=0.5              # Del Vecchio et al.
    python studies/calibration_rounds.py --preset vit-tiny --weights FILE     # hours on a CPU
    python studies/calibration_rounds.py --preset paper   # DINO ViT-S/16; a day on a large GPU

Expect no difference beyond the spread of the seeds, as Del Vecchio et al. found (77.9 % each).
"""

from fl_core import (
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
    "mask.sparsity": 0.9,
}
ARMS = grid(shardings(None, 5), each("mask.rounds", (1, 2, 3, 5, 10)))
FEW = grid(shardings(None, 5), each("mask.rounds", (1, 3)))

STUDY = Study(
    name="calibration_rounds",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    presets={
        "embedded": embedded(budget=400, eval_steps=40, trials=8, seeds=3),
        "smoke": smoke(arms=FEW),
        **sparse_backbone(masks.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
