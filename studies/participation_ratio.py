"""How many clients must take part in a round?

More clients a round see more of the data and average away more of their differences, and send more.
T x J is constant, so that every arm has the same number of rounds: what differs is how much work
and traffic a round holds.

scientific  federation.participation (C), iid and N_c=5
nuisance    learning rate, momentum, weight decay, batch size, server step, start of the head
fixed       K, J, split, backbone, rounds

    python studies/participation_ratio.py                 # linear head; minutes
    python studies/participation_ratio.py --preset paper  # all of DINO ViT-S/16; days, large GPU

Expect on the embedded default: little under iid shards; at N_c=5 a client in twenty is too few.
"""

from fl_core import PAPER_FULL, Study, each, embedded, grid, main, paper, shardings, smoke
from search_spaces import federated

BASE = {"federation.clients": 100, "local.steps": 4}
SHARES = (0.05, 0.1, 0.2, 0.5)
ARMS = grid(shardings(None, 5), each("federation.participation", SHARES))

STUDY = Study(
    name="participation_ratio",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=federated.head,
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=10, seeds=3, finalists=2),
        "smoke": smoke(arms=grid(shardings(5), each("federation.participation", SHARES))),
        "paper": paper(overrides=PAPER_FULL, space=federated.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
