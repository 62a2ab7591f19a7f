"""Who must take part in a round: how many clients, for how long, chosen how?

More clients a round see more of the data and average away more of their differences, and send more.
Chances may be unequal (Dirichlet(gamma), small is skewed), turns fixed, the worst preferred, or
clients absent. T x J is constant: an arm with twice the local steps has half the rounds.

scientific  federation.participation (C) x local.steps (J) at N_c=5; at C=0.1, J=4 the selections,
            iid and at N_c=5; of one skewed selection also its unbiased average (select.reweight)
nuisance    learning rate, momentum, weight decay, batch size, server step, start of the head
fixed       K, split, backbone, local steps in total

    python studies/participation.py                 # linear head; minutes
    python studies/participation.py --preset paper  # all of DINO ViT-S/16; days, large GPU

Expect on the embedded default what 4 trials, 2 seeds of some arms have shown, tuned too little to
rank them: iid, 74.0 % at gamma=0.05 and 74.5 to 75.7 % for all other selections; at N_c=5, 62.4 %
at gamma=0.05 and 67.7 to 74.3 % for the others. More of C, J and gamma has not been seen.
"""

from fl_core import PAPER_FULL, Study, each, embedded, grid, main, paper, shardings, smoke
from search_spaces import federated

BASE = {"federation.clients": 100, "federation.participation": 0.1, "local.steps": 4}
SHARES = grid(
    shardings(5), each("federation.participation", (0.05, 0.1, 0.2, 0.5)),
    each("local.steps", (4, 8, 16)),
)  # fmt: skip
SKEWED = grid([{"select.rule": "dirichlet"}], each("select.gamma", (0.05, 0.5, 1.0, 5.0)))
SELECTIONS = [
    *each("select.rule", ("uniform", "cyclic", "power_of_choice", "availability")),
    *SKEWED,
    {**SKEWED[1], "select.reweight": "unbiased"},
]

STUDY = Study(
    name="participation",
    question=__doc__,
    base=BASE,
    arms=[*SHARES, *grid(shardings(None, 5), SELECTIONS)],
    space=federated.head,
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=8, seeds=3),
        "smoke": smoke(arms=grid(shardings(5), SELECTIONS)),
        "paper": paper(overrides=PAPER_FULL, space=federated.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
