"""Which networks does heterogeneity cost most, and what do pre-trained weights change?

LeNet (Hsu et al. 2020), a perceptron, a network with GroupNorm and a vision transformer, all of
each trained by FedAvg. Hsieh et al. (2020) and Qu et al. (2022) report that norms and architectures
matter as much as the method where clients differ.

scientific  the network (and whether it is pre-trained), under iid shards and N_c classes a client
nuisance    learning rate, momentum, weight decay, batch size
fixed       K, C, J, split, rounds, server's step, a head that starts from zeros; SGD, for
            transformers AdamW

    python studies/architectures.py                    # digits, from scratch; 10 minutes on 2 cores
    python studies/architectures.py --preset paper     # photos at 32 px; days on a large GPU

The digits have timm's smallest networks: a trial of ResNet-18 would take 3 minutes of a core. No
pre-trained weights come with the package. The paper's preset has ResNet-18 and one transformer
twice, with patches of 4 px, from DINO's weights (resampled) and from random ones; LeNet's rounds,
crops and flips there are those of the published track B (T x J = 8000).

Expect on the embedded default 97 to 98 % of all but the transformer under iid shards (80 %: it
needs more steps). At two classes a client the perceptron and the network with a norm lose 2 points,
LeNet 8 with a wide spread, the transformer nearly everything.
"""

from fl_core import Preset, Study, grid, main, paper, shardings, smoke
from search_spaces import architectures

BASE = {
    "backbone.weights": "random",
    "fine_tune.strategy": "full",
    "local.steps": 4,
}
MLP = {"backbone.name": "mlp", "backbone.image_size": 8}
LENET = {"backbone.name": "lenet", "backbone.image_size": 16}
#: timm's smallest with GroupNorm, 0.1 million parameters.
GROUP_NORM = {"backbone.name": "test_efficientnet_gn", "backbone.image_size": 16}
#: By SGD the one below has not left chance by much after as many steps: 33 %, and 10 at N_c = 2.
ADAMW = {"local.optimiser": "adamw"}
#: timm's smallest: six blocks of 64 units; 16 patches of a digit.
VIT = {**ADAMW, "backbone.name": "test_vit", "backbone.image_size": 8, "backbone.patch_size": 2}
DIGITS = {"data.name": "digits", "federation.clients": 20, "federation.participation": 0.2}

AT_32 = {"backbone.image_size": 32}
RESNET = {"backbone.name": "resnet18_gn_small"}
VIT_S = {
    **ADAMW,
    "backbone.name": "vit_small_patch16_224",
    "backbone.tag": "dino",
    "backbone.patch_size": 4,
}
PUBLISHED = [
    *({**net, **AT_32} for net in (LENET, RESNET, VIT_S)),
    {**VIT_S, **AT_32, "backbone.weights": "pretrained"},
]

STUDY = Study(
    name="architectures",
    question=__doc__,
    base=BASE,
    arms=grid(shardings(None, 2), [MLP, LENET, GROUP_NORM, VIT]),
    space=architectures.networks,
    presets={
        "embedded": Preset(
            "networks on digits that ship with it; minutes, no GPU",
            budget=240,
            eval_steps=40,
            trials=6,
            seeds=3,
            overrides=DIGITS,
        ),
        "smoke": smoke(arms=grid(shardings(2), [MLP, LENET]), overrides=DIGITS),
        "paper": paper(
            budget=8000,
            eval_steps=400,
            arms=grid(shardings(None, 50, 10, 5, 1), PUBLISHED),
            overrides={
                "federation.clients": 100,
                "federation.participation": 0.1,
                "data.crop": 4,
            },
        ),
    },
)

if __name__ == "__main__":
    main(STUDY)
