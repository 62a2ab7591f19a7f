"""What do flips, rotations and crops buy a federation that fine-tunes on images?

Kotb Hatem et al. train with horizontal flips and rotations by up to 15 degrees, others with flips
alone; random crops with padding are the usual third. All of a pre-trained transformer trains, from
the head that ridge regression finds. A head on cached features cannot be augmented, so this study
has no embedded preset: it needs images and pre-trained weights, downloaded unless --data-dir
and --weights name them.

scientific  data.flip, data.rotation, data.crop: none, flip, flip + rotation, flip + crop
nuisance    learning rate, momentum, weight decay, batch size, server step
fixed       K, C, J, split, backbone, iid shards

    python studies/augmentation.py                    # ViT-Ti/16 at 64 px; hours on a CPU
    python studies/augmentation.py --preset paper     # DINO ViT-S/16; days on a large GPU

Expect little in so few rounds: augmentation pays where the same image is seen many times.
"""

from fl_core import PAPER_FULL, VIT_TINY, Study, main, paper, smoke, vit_tiny
from search_spaces import federated

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.steps": 4,
    "head.method": "ridge",
    "fine_tune.strategy": "full",
}
ARMS = [
    {"data.flip": flip, "data.rotation": rotation, "data.crop": crop}
    for flip, rotation, crop in ((False, 0.0, 0), (True, 0.0, 0), (True, 15.0, 0), (True, 0.0, 4))
]
#: Small images and few of them, from a head of zeros: it shows that the study runs, no more.
SMALL = {
    **VIT_TINY,
    "backbone.image_size": 32,
    "data.val_fraction": 0.01,
    "federation.participation": 0.02,
    "head.method": "none",
}

STUDY = Study(
    name="augmentation",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=federated.fine_tuning,
    presets={
        "vit-tiny": vit_tiny(overrides=VIT_TINY),
        "smoke": smoke(budget=8, eval_steps=8, trials=1, seeds=1, overrides=SMALL),
        "paper": paper(overrides=PAPER_FULL),
    },
)

if __name__ == "__main__":
    main(STUDY)
