"""What does sparse fine-tuning cost or buy in a federation, and who should make the masks?

After a warm-up of the head, the clients train only the least sensitive parameters: under one mask
from the server, or each under its own mask from its own data. (How many rounds of calibration:
calibration_rounds; more sparsities: sparsity.)

scientific  mask.sparsity x mask.scope x sharding (iid, N_c in {50, 10, 5, 1}); and dense FedAvg
nuisance    learning rate, momentum
fixed       K, C, J, split, backbone, the head's warm-up, R=4, rule (least sensitive)
probe       client drift at one learning rate, the same in every arm

    python studies/sparse_fedavg.py                       # linear head; minutes
    python studies/sparse_fedavg.py --search-arms         # sparsity, R and scope jointly
    python studies/sparse_fedavg.py --preset vit-tiny --weights FILE      # an hour on a CPU
    python studies/sparse_fedavg.py --preset paper        # DINO ViT-S/16; days on a large GPU

Expect on the embedded default: a fifth of the head's parameters costs less than heterogeneity.
"""

from fl_core import (
    DENSE,
    PAPER_SPARSE,
    PROBE_FINE_TUNING,
    PROBE_HEAD,
    VIT_TINY_SPARSE,
    Study,
    each,
    embedded,
    grid,
    main,
    paper,
    shardings,
    smoke,
    vit_tiny,
)
from search_spaces import masks

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.steps": 4,
    "head.method": "fedavg",
    "mask.rounds": 4,
}
SCOPES = each("mask.scope", ("shared", "per_client"))
SPARSITIES = each("mask.sparsity", (0.5, 0.8, 0.9))
SHARDINGS = shardings(None, 50, 10, 5, 1)
ARMS = grid(SHARDINGS, [DENSE, *grid(SCOPES, SPARSITIES)])
FEW = [DENSE, *each("mask.sparsity", (0.5, 0.9))]
ONLY_HEAD = {"fine_tune.strategy": "head", "mask.sparsity": 0.0}

STUDY = Study(
    name="sparse_fedavg",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=masks.head,
    joint_arms=SHARDINGS,
    joint_space=masks.sparsity_and_rounds,
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=4, seeds=3, probe=PROBE_HEAD),
        "smoke": smoke(arms=grid(shardings(None, 10), FEW), probe=PROBE_HEAD),
        "vit-tiny": vit_tiny(
            arms=grid(shardings(None, 10), [ONLY_HEAD, *FEW]),
            overrides=VIT_TINY_SPARSE,
            space=masks.fine_tuning,
        ),
        "paper": paper(overrides=PAPER_SPARSE, space=masks.fine_tuning, probe=PROBE_FINE_TUNING),
    },
)

if __name__ == "__main__":
    main(STUDY)
