"""How much does heterogeneity cost FedAvg, and does working longer locally help?

K=100 clients, a tenth of them each round; every client holds N_c classes (or all of them: iid)
and makes J local steps. T x J is constant: an arm with twice the local steps gets half the rounds.

scientific  federation.classes_per_client in {1, 5, 10, 50} and iid; local.steps in {4, 8, 16}
nuisance    learning rate, momentum, weight decay, batch size, server step, start of the head
fixed       K, C, split, backbone, local steps in total
probe       client drift at one learning rate, the same in every arm: at its own an arm's drift
            says which rate won

    python studies/fedavg_noniid.py                      # linear head; minutes
    python studies/fedavg_noniid.py --preset paper       # all of DINO ViT-S/16; hours, large GPU

Expect on the embedded default: accuracy rises from N_c=1 to iid, and longer local work costs most
where clients differ most. The ridge head that most arms choose to start from is the same under
every sharding (71 % test accuracy): at N_c=1 FedAvg adds a point or two to it.
"""

from fl_core import (
    PAPER_FULL,
    PROBE_FINE_TUNING,
    PROBE_HEAD,
    Study,
    each,
    embedded,
    grid,
    main,
    paper,
    shardings,
    smoke,
)
from search_spaces import federated

BASE = {"federation.clients": 100, "federation.participation": 0.1}
ARMS = grid(shardings(None, 50, 10, 5, 1), each("local.steps", (4, 8, 16)))

STUDY = Study(
    name="fedavg_noniid",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=federated.head,
    presets={
        "embedded": embedded(
            budget=800, eval_steps=80, trials=10, seeds=3, finalists=2, probe=PROBE_HEAD
        ),
        "smoke": smoke(probe=PROBE_HEAD),
        "paper": paper(
            trials=16,
            finalists=3,
            overrides=PAPER_FULL,
            space=federated.fine_tuning,
            probe=PROBE_FINE_TUNING,
        ),
    },
)

if __name__ == "__main__":
    main(STUDY)
