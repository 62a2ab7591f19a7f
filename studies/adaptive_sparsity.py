"""Does it pay to change the masks while training goes on?

At one mean of active entries over the rounds: a constant sparsity; one that rises or falls, along a
line or half a cosine; and masks that are calibrated anew every ten rounds on the model as it is
then. And at one mean over the clients, of unequal sizes: all train the same share of the model, or
those with more examples more, or less (fl_core/masks/shares.py). Active entries are what a client
sends; down comes what has changed, in bytes_down.

scientific  mask.schedule, its two ends, mask.recalibrate, at N_c=5; mask.size_power, label Dir(0.5)
nuisance    learning rate, momentum
fixed       K, C, J, split, backbone, ridge head as the start, mean sparsity 0.8, rule, R=1

    python studies/adaptive_sparsity.py                   # linear head; minutes
    python studies/adaptive_sparsity.py --preset paper    # DINO ViT-S/16; days on a large GPU

Expect on the embedded default: within a point of each other; new masks let more entries move.
"""

from fl_core import Study, each, embedded, grid, main, shardings, smoke, sparse_backbone
from search_spaces import masks

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.steps": 4,
    "head.method": "ridge",
    "mask.examples": 16,  # the smallest client of the Dirichlet split has few
}
RISING = {"mask.sparsity": 0.65, "mask.sparsity_end": 0.95}
FALLING = {"mask.sparsity": 0.95, "mask.sparsity_end": 0.65}
SHARED = [
    {"mask.sparsity": 0.8},
    *grid(each("mask.schedule", ("linear", "cosine")), [RISING]),
    *grid(each("mask.schedule", ("linear",)), [FALLING]),
    {"mask.sparsity": 0.8, "mask.recalibrate": 10},
]
UNEQUAL = [{"federation.sharding": "dirichlet_labels", "federation.alpha": 0.5}]
OWN = [{"mask.scope": "per_client", "mask.sparsity": 0.8}]
BY_SIZE = grid(UNEQUAL, OWN, each("mask.size_power", (0.0, 1.0, -1.0)))
ARMS = [*grid(shardings(5), SHARED), *BY_SIZE]

STUDY = Study(
    name="adaptive_sparsity",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=6, seeds=3),
        "smoke": smoke(arms=[*grid(shardings(5), SHARED[1:2]), *BY_SIZE[1:2]]),
        **sparse_backbone(masks.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
