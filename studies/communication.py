"""How few bytes can the clients send for how much accuracy?

One search with two objectives for each sharding: the highest validation accuracy and the fewest
bytes up. Sparsity, whose masks, local steps and participation all trade one for the other; the
answer is a Pareto front, and each configuration on it is confirmed with fresh seeds. What is
counted are the lengths of the messages really encoded, each in its cheapest form, of ALL stages:
the head's warm-up too, whose clients a round are C as well. The head as it is before the main
stage stands on the front: a trial must beat it to be there.

scientific  sharding: iid, N_c=10
searched    mask.sparsity, mask.scope, R, J, C, learning rate, momentum
fixed       K, local steps of each stage, split, backbone, rule (least sensitive)

    python studies/communication.py                       # linear head; minutes
    python studies/communication.py --preset vit-tiny --weights FILE      # hours on a CPU
    python studies/communication.py --preset paper        # DINO ViT-S/16; days on a large GPU

Expect on the embedded default: the warm-up sends most of it (19 MB at C = 0.05, for 74 % on the
test set); two more MB of sparse rounds add a point, 19 MB of dense ones two.
"""

from fl_core import (
    PAPER_SPARSE,
    VIT_TINY_SPARSE,
    Study,
    embedded,
    main,
    paper,
    shardings,
    smoke,
    vit_tiny,
)
from search_spaces import masks

BASE = {"federation.clients": 100, "head.method": "fedavg"}

STUDY = Study(
    name="communication",
    question=__doc__,
    base=BASE,
    arms=shardings(None, 10),
    space=masks.communication,
    objectives=("bytes_up",),
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=24, seeds=3),
        "smoke": smoke(trials=5),
        "vit-tiny": vit_tiny(
            trials=6, overrides=VIT_TINY_SPARSE, space=masks.communication_backbone
        ),
        "paper": paper(trials=60, overrides=PAPER_SPARSE, space=masks.communication_backbone),
    },
)

if __name__ == "__main__":
    main(STUDY)
