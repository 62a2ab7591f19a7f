"""Who must be waited for, where clients are not equally fast?

A round of FedAvg lasts as long as its slowest client. A deadline leaves the late ones out: their
work is lost, and what they alone have seen. FedBuff waits for nobody: ten clients are always at
work, and the server steps whenever B updates have arrived, some of them begun at an older model.
Speeds are log-normal, a client's own for all rounds. All arms ask for as many updates; FedBuff
steps more often where B is smaller. The tables compare after equal virtual time and equal bytes.

scientific  timing.speed_spread (sigma: 0, 0.5, 1.5) x synchronous, with a deadline of twice what
            the median client takes, FedBuff with B = 10, 5, 2; N_c=5
nuisance    learning rate, momentum, server step; the staleness exponent of FedBuff
fixed       K, C, J, split, features, a head from zeros, updates in all; batch size and deadline:
            the search looks at the accuracy in the end, and would take the slowest of both

    python studies/asynchronous.py                    # linear head; minutes
    python studies/asynchronous.py --preset paper     # all of DINO ViT-S/16; days on a large GPU

Expect on the embedded default that equally fast clients make all the same in the same time (71 %,
B = 2 70 %). At sigma = 1.5 a round of FedAvg takes twelve times as long: after the ten minutes that
all others take it is at 42 %, FedBuff at 68 to 70 %, a deadline at 68 %. An hour later FedAvg has
72 %, FedBuff ended at 69 to 71 %: asynchrony buys time, at a price that grows as B falls.
"""

from collections.abc import Mapping

from fl_core import (
    PAPER_FULL,
    Study,
    Value,
    each,
    embedded,
    grid,
    main,
    paper,
    shardings,
    smoke,
)
from search_spaces import asynchronous

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    **shardings(5)[0],
    "local.steps": 4,
}


def arms(rounds: int, deadline: float) -> list[Mapping[str, Value]]:
    """Of `rounds` rounds of ten updates each; seconds until a deadline."""
    modes = [
        {"timing.mode": "synchronous"},
        {"timing.mode": "synchronous", "timing.deadline": deadline},
        *({"timing.mode": "buffered", "timing.buffer": b, "rounds": rounds * 10 // b}
          for b in (10, 5, 2)),
    ]  # fmt: skip
    return grid(each("timing.speed_spread", (0.0, 0.5, 1.5)), modes)


ALIKE = {"prune": False, "neighbours": False}  # the same number of whole trials in every arm

STUDY = Study(
    name="asynchronous",
    question=__doc__,
    base=BASE,
    arms=arms(100, 6.0),
    space=asynchronous.head,
    presets={
        "embedded": embedded(budget=400, eval_steps=20, trials=8, seeds=3, **ALIKE),
        "smoke": smoke(arms=arms(16, 6.0), eval_steps=4, **ALIKE),
        "paper": paper(
            arms=arms(200, 1500.0),
            overrides={**PAPER_FULL, "timing.speed": 1.0},
            space=asynchronous.fine_tuning,
            **ALIKE,
        ),
    },
)

if __name__ == "__main__":
    main(STUDY)
