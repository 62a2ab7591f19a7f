"""What do attackers cost, and what does protection against them cost where there are none?

A share of the clients attacks: by flipped labels, or by sending three times the opposite of its
update. The server averages, takes medians, shortens long updates, or keeps those that agree with
each other. All of them are tuned alike, under the attack.

scientific  attack.rule x attack.share in {0, 0.1, 0.3}; aggregate.rule; iid and N_c=5
nuisance    learning rate, momentum, weight decay, batch size, server step; the norm bound
fixed       K, C, J, split, backbone, rounds, what the rules reckon with: 3 attackers in a round

    python studies/robustness.py                    # linear head; half an hour on two cores
    python studies/robustness.py --preset paper     # all of DINO ViT-S/16; days on a large GPU

Expect on the embedded default: without attackers all alike under iid shards; at N_c=5, where
honest clients differ, the median of every entry loses half of the accuracy, the geometric median
nothing. Three in ten who send the opposite leave the mean at chance. A round of ten may well have
more attackers than three.
"""

from fl_core import PAPER, Study, embedded, grid, main, paper, shardings, smoke
from search_spaces import robustness

BASE = {"federation.clients": 100, "federation.participation": 0.1, "local.steps": 4}
ATTACKS = [
    {"attack.rule": "none"},
    *({"attack.rule": "label_flip", "attack.share": share} for share in (0.1, 0.3)),
    *(
        {"attack.rule": "sign_flip", "attack.scale": 3.0, "attack.share": share}
        for share in (0.1, 0.3)
    ),
]
AGGREGATES = [
    {"aggregate.rule": "mean"},
    {"aggregate.rule": "median"},
    {"aggregate.rule": "norm_bound"},
    {"aggregate.rule": "geometric_median"},
    {"aggregate.rule": "multi_krum", "aggregate.byzantine": 3},
]

STUDY = Study(
    name="robustness",
    question=__doc__,
    base=BASE,
    arms=grid(shardings(None, 5), ATTACKS, AGGREGATES),
    space=robustness.head,
    presets={
        "embedded": embedded(budget=200, eval_steps=40, trials=4, seeds=3),
        "smoke": smoke(arms=grid(shardings(5), ATTACKS[::2], AGGREGATES[::2])),
        "paper": paper(
            overrides={**PAPER, "head.method": "none", "fine_tune.strategy": "full"},
            space=robustness.fine_tuning,
        ),
    },
)

if __name__ == "__main__":
    main(STUDY)
