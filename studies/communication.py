"""How few bytes can the clients send for how much accuracy?

One search with two objectives for each sharding: the highest validation accuracy and the fewest
bytes up. Sparsity, whose masks, local steps and participation all trade one for the other; the
answer is a Pareto front, and each configuration on it is confirmed with fresh seeds. What is
counted are the lengths of the messages really encoded, each in its cheapest form.

scientific  sharding: iid, N_c=10
searched    mask.sparsity, mask.scope, R, J, C, learning rate, momentum
fixed       K, local steps in total, split, backbone, the head's warm-up, rule (least sensitive)

    python studies/communication.py                       # linear head on embedded features
    python studies/communication.py --preset vit-tiny --weights FILE
    python studies/communication.py --preset paper        # fine-tunes DINO ViT-S/16

Expect on the embedded default: a front from few, sparse and cheap rounds to many dense ones.
"""

from fl_core.study.arms import shardings
from fl_core.study.command import main
from fl_core.study.presets import FIRST, PAPER_BACKBONE, SPARSE_BACKBONE, VIT_TINY, Preset
from fl_core.study.study import Study
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
        "embedded": Preset("linear head on features that ship with it; minutes, no GPU",
                           budget=400, eval_steps=80, trials=24, seeds=3),
        "smoke": Preset("the same, shortened to about a minute",
                        budget=64, eval_steps=16, trials=5, seeds=2),
        "vit-tiny": Preset("ViT-Ti/16 on images at 64 px, a few rounds; hours without a GPU",
                           budget=80, eval_steps=40, trials=6, seeds=1, first=FIRST,
                           overrides={**VIT_TINY, **SPARSE_BACKBONE},
                           space=masks.communication_backbone),
        "paper": Preset("DINO ViT-S/16 on images; days on a large GPU",
                        budget=800, eval_steps=80, trials=60, seeds=3,
                        overrides={**PAPER_BACKBONE, **SPARSE_BACKBONE},
                        space=masks.communication_backbone),
    },
)  # fmt: skip

if __name__ == "__main__":
    main(STUDY)
