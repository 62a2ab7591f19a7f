"""What would one machine with all the data reach, and under which learning-rate schedule?

The centralised baseline: SGD with momentum through the same client update as FedAvg, one client
that holds every example and keeps its momentum. One round is one epoch; training stops early
when validation does not improve, and the best epoch counts.

scientific  schedule.name: constant, step, cosine, warm-up + cosine
nuisance    learning rate, momentum, weight decay, batch size
fixed       split, backbone, epochs

    python studies/centralized.py                     # linear head; minutes
    python studies/centralized.py --preset paper      # all of DINO ViT-S/16; hours on a large GPU

Expect on the embedded default: all schedules within a point of each other, cosine ahead.
"""

from fl_core import ONE_MACHINE, PAPER_FULL, Study, embedded, main, paper, smoke
from search_spaces import centralized

BASE = {
    **ONE_MACHINE,
    "patience": 6,
}
ARMS = [{"schedule.name": name} for name in ("constant", "step", "cosine", "warmup_cosine")]

STUDY = Study(
    name="centralized",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=centralized.sgdm,
    presets={
        "embedded": embedded(budget=30, eval_steps=1, trials=16, seeds=3, finalists=2),
        "smoke": smoke(budget=2, eval_steps=1),
        "paper": paper(budget=30, eval_steps=1, trials=16, finalists=2, overrides=PAPER_FULL),
    },
)

if __name__ == "__main__":
    main(STUDY)
