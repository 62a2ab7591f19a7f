"""The head first, then half of the backbone: what do heterogeneity and local steps cost then?

The head is trained on the frozen backbone and frozen itself; then the clients train the least
sensitive half of the backbone. The same 15 settings as the dense baseline (fedavg_noniid); T x J
is constant. On the embedded features there is no backbone: there the mask lies on the head that
was warmed up, and the question is whether sparsity changes what N_c and J cost.

scientific  federation.classes_per_client in {1, 5, 10, 50} and iid; local.steps in {4, 8, 16}
nuisance    learning rate, momentum
fixed       K, C, split, backbone, the head's warm-up, least sensitive half, shared mask, R=2

    python studies/head_then_backbone.py                      # linear head; minutes
    python studies/head_then_backbone.py --preset vit-tiny --weights FILE      # hours on a CPU
    python studies/head_then_backbone.py --preset paper       # DINO ViT-S/16; days on a large GPU
    python studies/head_then_backbone.py --preset paper --set mask.sparsity=0  # all of the backbone
    python studies/head_then_backbone.py --preset paper --set mask.scope=per_client

Expect on images: far less is lost at small N_c than by dense FedAvg with a head of its own.
"""

from fl_core import (
    Study,
    each,
    embedded,
    grid,
    main,
    shardings,
    smoke,
    sparse_backbone,
)
from search_spaces import masks

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "head.method": "fedavg",
    "mask.sparsity": 0.5,
    "mask.rounds": 2,
}
ARMS = grid(shardings(None, 50, 10, 5, 1), each("local.steps", (4, 8, 16)))
FEW = grid(shardings(None, 1), each("local.steps", (4, 16)))

STUDY = Study(
    name="head_then_backbone",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=8, seeds=3, finalists=2),
        "smoke": smoke(arms=FEW),
        **sparse_backbone(masks.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
