"""What does FedAvg reach when all clients look alike?

The first baseline of the brief: CIFAR-100 spread evenly over K=100 clients, C=0.1 of them each
round, J=4 local steps.

scientific  none: one arm
nuisance    learning rate, momentum, weight decay, batch size, server step, start of the head
fixed       K, C, J, iid shards, split, backbone, rounds

    python studies/fedavg_iid.py                      # linear head on embedded features
    python studies/fedavg_iid.py --preset paper       # fine-tunes DINO ViT-S/16

Expect on the embedded default: within 1.5 points of the centralised head.
"""

from fl_core.study.command import main
from fl_core.study.presets import PAPER_BACKBONE, Preset
from fl_core.study.study import Study
from search_spaces import federated

BASE = {"federation.clients": 100, "federation.participation": 0.1}
ARMS = [{"federation.sharding": "iid", "local.steps": 4}]
PAPER = {**PAPER_BACKBONE, "head.method": "ridge", "fine_tune.strategy": "full"}

STUDY = Study(
    name="fedavg_iid",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=federated.head,
    presets={
        "embedded": Preset("linear head on features that ship with it; minutes, no GPU",
                           budget=2400, eval_steps=80, trials=48, seeds=5, finalists=3),
        "smoke": Preset("the same, shortened to about a minute",
                        budget=64, eval_steps=16, trials=4, seeds=2, prune=False),
        "paper": Preset("all of DINO ViT-S/16 on CIFAR-100 images; hours on a large GPU",
                        budget=800, eval_steps=80, trials=32, seeds=5, finalists=3, overrides=PAPER,
                        space=federated.fine_tuning),
    },
)  # fmt: skip

if __name__ == "__main__":
    main(STUDY)
