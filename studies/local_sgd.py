"""How rarely may eight workers meet, and which way of meeting loses least by it?

Workers with iid shards, all there in every round, average after H local steps: an H-th of the
traffic of mini-batch SGD (H = 1) for as many steps. SlowMo gives the averages a momentum, DiLoCo
takes them for gradients of Nesterov's and has AdamW inside, post-local SGD meets after every step
in the first half. What an optimiser remembers survives the round (in SlowMo that is searched).

scientific  LocalSGD (Stich 2019), SlowMo (Wang et al. 2020), DiLoCo (Douillard et al. 2023),
            post-local SGD (Lin et al. 2020); local.steps (H) in {4, 16, 64}, and LocalSGD at 1
nuisance    learning rate, momentum, weight decay; slow momentum; outer rate and momentum, beta2
fixed       K = 8, C = 1, 32 examples a step and worker, cosine schedule; local steps in all

    python studies/local_sgd.py                     # MLP on features; 10 min on 2 cores
    python studies/local_sgd.py --preset paper      # all of DINO ViT-S/16; days on a large GPU

Expect on the embedded default all arms within two points of H = 1 (76.4 %), SlowMo and post-local
SGD a little above it; at H = 64 a 60th to an 80th of H = 1's bytes for 98 % of its accuracy.
"""

from fl_core import MLP, PAPER_FULL, Study, each, embedded, grid, main, paper, smoke
from search_spaces import workers

BASE = {
    "federation.clients": 8,
    "federation.participation": 1.0,
    "local.batch_size": 32,
    "schedule.name": "cosine",
}
KEPT = {"local.keep_momentum": True}
SLOWMO = {"server.optimiser": "slowmo"}
DILOCO = {**KEPT, "local.optimiser": "adamw", "server.optimiser": "nesterov"}
WAYS = [KEPT, SLOWMO, DILOCO, {**KEPT, "schedule.steps": "post_local"}]
ARMS = [{**KEPT, "local.steps": 1}, *grid(WAYS, each("local.steps", (4, 16, 64)))]
ALIKE = {"prune": False, "neighbours": False, "first": workers.PUBLISHED}

STUDY = Study(
    name="local_sgd",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=workers.mlp,
    presets={
        "embedded": embedded(
            budget=1280, eval_steps=128, trials=10, seeds=3, overrides=MLP, **ALIKE
        ),
        "smoke": smoke(
            arms=grid(WAYS, each("local.steps", (16,))), overrides=MLP, neighbours=False
        ),
        "paper": paper(
            budget=3200, eval_steps=320, overrides=PAPER_FULL, space=workers.fine_tuning, **ALIKE
        ),
    },
    target=0.98,
    target_of={"local.steps": 1},
)

if __name__ == "__main__":
    main(STUDY)
