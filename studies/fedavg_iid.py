"""What does FedAvg reach when all clients look alike?

The first baseline of the brief: all examples spread evenly over K=100 clients, C=0.1 of them each
round, J=4 local steps.

scientific  none: one arm
nuisance    learning rate, momentum, weight decay, batch size, server step, start of the head
fixed       K, C, J, iid shards, split, backbone, rounds

    python studies/fedavg_iid.py                      # linear head; minutes
    python studies/fedavg_iid.py --preset paper       # all of DINO ViT-S/16; hours on a large GPU

Expect on the embedded default: within 1.5 points of the centralised head.
"""

from fl_core import PAPER_FULL, Study, embedded, main, paper, smoke
from search_spaces import federated

BASE = {"federation.clients": 100, "federation.participation": 0.1}
ARMS = [{"federation.sharding": "iid", "local.steps": 4}]

STUDY = Study(
    name="fedavg_iid",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=federated.head,
    presets={
        "embedded": embedded(budget=2400, eval_steps=80, trials=48, seeds=5, finalists=3),
        "smoke": smoke(trials=4),
        "paper": paper(
            trials=32, seeds=5, finalists=3, overrides=PAPER_FULL, space=federated.fine_tuning
        ),
    },
)

if __name__ == "__main__":
    main(STUDY)
