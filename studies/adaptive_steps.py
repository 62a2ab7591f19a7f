"""Is it worth doing less locally as training goes on, or with larger batches?

Long local work saves rounds and bytes, and leaves an error by drift; short work the other way
round. AdaComm (Wang & Joshi 2019) begins with J = 16 and takes fewer steps as the loss falls: by
the loss alone, and with the paper's factor 1/2 where it no longer falls. Batches of the size of the
gradients' noise scale (McCandlish et al. 2018) grow instead.

scientific  local.steps (J) in {1, 4, 16}; AdaComm from J = 16; batches at J = 4; iid and N_c=5
nuisance    learning rate, momentum, weight decay, (smallest) batch size, server's rate
fixed       K, C, split, features, a head with a hidden layer and LayerNorm; T x J at most

    python studies/adaptive_steps.py                    # MLP on features; 15 min on 2 cores
    python studies/adaptive_steps.py --preset paper     # all of DINO ViT-S/16; days on a large GPU

AdaComm has the rounds and bytes of J = 16, and does fewer steps than its share of the budget: the
tables say how many, and what 95 % of the accuracy at J = 1 cost each arm.

Expect at N_c=5 74 % at J = 1, 69 at J = 4, 61 at J = 16 with a sixteenth of the bytes; AdaComm 62
in 613 steps instead of 800, with the factor 1/2 63 in 180; batches by the noise scale 70. Under
iid shards all lie between 73 and 76 %.
"""

from fl_core import MLP, PAPER_FULL, Study, each, embedded, grid, main, paper, shardings, smoke
from search_spaces import methods

BASE = {"federation.clients": 100, "federation.participation": 0.1}
FROM_16 = {"local.steps": 16, "schedule.steps": "adacomm"}
WORK = [
    *each("local.steps", (1, 4, 16)),
    FROM_16,
    {**FROM_16, "schedule.shrink": 0.5},
    {"local.steps": 4, "schedule.batch": "noise_scale"},
]
ARMS = grid(shardings(None, 5), WORK)
ALIKE = {"prune": False, "neighbours": False}

STUDY = Study(
    name="adaptive_steps",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=methods.mlp,
    presets={
        "embedded": embedded(
            budget=800, eval_steps=80, trials=8, seeds=3, overrides=MLP, searcher="random", **ALIKE
        ),
        "smoke": smoke(arms=grid(shardings(5), WORK), overrides=MLP, neighbours=False),
        "paper": paper(overrides=PAPER_FULL, space=methods.fine_tuning, **ALIKE),
    },
    target=0.95,
    target_of={"local.steps": 1},
)

if __name__ == "__main__":
    main(STUDY)
