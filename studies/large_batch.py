"""How large may a batch be at equal epochs, and do LARS and LAMB carry it further than SGD?

One machine that holds every example sees each 20 times, in batches of 256 to 16,384: 64 times as
large a batch leaves 55 steps of 3,520. A "round" is four epochs, which is a whole number of steps
at every batch: the same examples to the last. Rates grow with the square root of the batch, and
every optimiser is tuned afresh at every batch: rate, warm-up, weight decay, momentum.

scientific  local.optimiser: sgdm, lars (You et al. 2017), lamb (You et al. 2020); the batch
nuisance    learning rate (at a batch of 256), warm-up, weight decay, momentum
fixed       split, model, epochs, warm-up + cosine, eta_t = 0.001

    python studies/large_batch.py                                # MLP on features; minutes
    python studies/large_batch.py --set local.lr_scaling=linear  # as Goyal et al. 2017
    python studies/large_batch.py --preset paper                 # ResNet-18-GN; a day on a GPU

Expect on the embedded default SGD and LARS at 77 % and LAMB below at 256, and all between 74.7 and
75.5 at 16,384: in 55 steps SGD has lost 2.5 points, LARS 1.6, LAMB nothing.
"""

from fl_core import MLP, ONE_MACHINE, Study, embedded, grid, main, paper, smoke
from search_spaces import large_batch

#: Examples of a round: four times the 45,000, and 224 more.
ROUND = 11 * 16_384
BASE = {
    **ONE_MACHINE,
    "local.unit": "steps",
    "local.lr_scaling": "sqrt",
    "schedule.name": "warmup_cosine",
}
#: An optimiser's rate is not another's, and arms differ in what a step costs.
ALIKE = {"neighbours": False, "prune": False}


def arms(batches, rounds):
    """Every optimiser at every batch, for so many rounds."""
    sizes = [
        {"local.batch_size": size, "local.steps": ROUND // size, "rounds": rounds}
        for size in batches
    ]
    return grid([{"local.optimiser": name} for name in ("sgdm", "lars", "lamb")], sizes)


STUDY = Study(
    name="large_batch",
    question=__doc__,
    base=BASE,
    arms=arms((256, 1024, 4096, 16_384), 5),
    space=large_batch.mlp,
    presets={
        "embedded": embedded(budget=3520, eval_steps=1, trials=12, seeds=3, overrides=MLP, **ALIKE),
        "smoke": smoke(
            budget=704, eval_steps=1, overrides=MLP, arms=arms((16_384,), 1), neighbours=False
        ),
        "paper": paper(
            budget=15_488,
            eval_steps=1,
            trials=12,
            arms=arms((256, 1024, 4096, 16_384), 22),
            **ALIKE,
            overrides={
                "backbone.name": "resnet18_gn_small",
                "backbone.weights": "random",
                "backbone.image_size": 32,
                "fine_tune.strategy": "full",
                "data.crop": 4,
                "compute.micro_batch": 1024,
            },
            space=large_batch.network,
        ),
    },
)

if __name__ == "__main__":
    main(STUDY)
