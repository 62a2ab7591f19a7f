"""How much does heterogeneity cost FedAvg, and does working longer locally help?

CIFAR-100 over K=100 clients, a tenth of them each round; every client holds N_c classes (or all
of them: iid) and makes J local steps. T x J is constant: an arm with twice the local steps gets
half the rounds.

scientific  federation.classes_per_client in {1, 5, 10, 50} and iid; local.steps in {4, 8, 16}
nuisance    learning rate, momentum, weight decay, batch size, server step, start of the head
fixed       K, C, split, backbone, local steps in total

    python studies/fedavg_noniid.py                      # linear head on embedded features
    python studies/fedavg_noniid.py --preset paper       # fine-tunes DINO ViT-S/16

Expect on the embedded default: accuracy rises from N_c=1 to iid, and J matters most where
clients differ most.
"""

from fl_core.study.command import main
from fl_core.study.presets import PAPER_BACKBONE, Preset
from fl_core.study.study import Study
from search_spaces import federated

BASE = {"federation.clients": 100, "federation.participation": 0.1}
SHARDINGS = [{"federation.sharding": "iid"}] + [
    {"federation.sharding": "classes", "federation.classes_per_client": n} for n in (50, 10, 5, 1)
]
ARMS = [{**sharding, "local.steps": j} for sharding in SHARDINGS for j in (4, 8, 16)]
PAPER = {**PAPER_BACKBONE, "head.method": "ridge", "fine_tune.strategy": "full"}

STUDY = Study(
    name="fedavg_noniid",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=federated.head,
    presets={
        "embedded": Preset("linear head on features that ship with it; minutes, no GPU",
                           budget=800, eval_steps=80, trials=10, seeds=3, finalists=2),
        "smoke": Preset("the same, shortened to about a minute",
                        budget=64, eval_steps=16, trials=2, seeds=2, prune=False),
        "paper": Preset("all of DINO ViT-S/16 on CIFAR-100 images; hours on a large GPU",
                        budget=800, eval_steps=80, trials=16, seeds=3, finalists=3,
                        overrides=PAPER,
                        space=federated.fine_tuning),
    },
)  # fmt: skip

if __name__ == "__main__":
    main(STUDY)
