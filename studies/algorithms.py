"""Which method of federated learning is the best one, if all are tuned alike?

Every paper compares its tuned method with a baseline that was not tuned. Here each has the same
number of random trials, of the same local steps, and is confirmed with the same seeds; FedAvg's
own parameters are searched in all of them. FedAvg is there twice: as McMahan et al. have it
(server.lr = 1), and with its server's rate tuned, which is what the others are tested against.

scientific  the method, under iid shards, N_c=5 and N_c=1
nuisance    learning rate, momentum, weight decay, batch size, server's rate; what a method reads
fixed       K, C, J, split, features, a head with a hidden layer and LayerNorm, rounds

    python studies/algorithms.py                    # MLP on features; 20 minutes on 2 cores
    python studies/algorithms.py --preset paper     # all of DINO ViT-S/16; days on a large GPU

Nothing stops a trial early and no arm tries another's winner, so that the figure of the expected
best validation accuracy after n trials says whether a method wins or was tuned more.

Expect on the embedded default (663 trials of about 3 s of one core): under iid shards all within
two points; at N_c=5 FedDyn and FedHBM about 5 points above FedAvg, at N_c=1 24 and 15. What twelve
trials happen to draw makes up to 4 points at N_c=5 and 7 at N_c=1.
"""

from fl_core import MLP, PAPER_FULL, Study, each, embedded, grid, main, paper, shardings, smoke
from search_spaces import methods

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.steps": 8,
}
METHODS = [
    {"local.rule": "plain", "server.lr": 1.0},
    *each("local.rule", ("plain", "prox", "scaffold", "dyn", "ghbm", "hbm", "cm")),
    *each("server.optimiser", ("momentum", "slowmo", "adagrad", "adam", "yogi")),
]
ARMS = grid(shardings(None, 5, 1), METHODS)
RANDOM = {"searcher": "random", "prune": False, "neighbours": False}

STUDY = Study(
    name="algorithms",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=methods.mlp,
    presets={
        "embedded": embedded(
            budget=800, eval_steps=160, trials=12, seeds=5, overrides=MLP, **RANDOM
        ),
        "smoke": smoke(arms=grid(shardings(5), METHODS), overrides=MLP, **RANDOM),
        "paper": paper(trials=16, overrides=PAPER_FULL, space=methods.fine_tuning, **RANDOM),
    },
)

if __name__ == "__main__":
    main(STUDY)
