"""What does it cost that the server sees no client's update, and what if clients drop out?

Plain averaging; Gaussian noise that cancels in the sum (Alcani et al.); and the protocol of
Bonawitz et al., by which updates are rounded, clipped and masked. Clients drop out with some
chance: before they train, while they do, while they send or when the server asks for shares.

scientific  aggregate.rule in {mean, secure_zero_sum, secure} x timing.dropout in {0, 0.1, 0.3} x
            mask.sparsity in {0, 0.9}
nuisance    learning rate, momentum; of secure the range to which entries are clipped
fixed       K, C, J, N_c=5, split, backbone, a shared mask, threshold, noise of one standard
            deviation (as the authors')

    python studies/secure_aggregation.py                 # linear head; minutes on two cores
    python studies/secure_aggregation.py --preset paper  # DINO ViT-S/16; days on a large GPU

Expect on the embedded default 74 % densely and 70 % at sparsity 0.9, plain or secure; keys and
shares are 1.2 kB up and 1.5 kB down a client and round, 2 % of a dense update, 16 % of a sparse
one. A round with fewer than t survivors is lost. The zero-sum arm is as good until clients drop
out: 6 points lost at a chance of 0.1, 10 to 12 at 0.3, for the noise of who is missing stays in the
model. A warning says where the clip range cuts updates: it cost the dense secure arm 3 points.
"""

from fl_core import PAPER_SPARSE, Study, each, embedded, grid, main, paper, shardings, smoke
from search_spaces import secure

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.steps": 4,
    "head.method": "fedavg",
}
RULES = each("aggregate.rule", ("mean", "secure_zero_sum", "secure"))
DROPOUTS = each("timing.dropout", (0.0, 0.1, 0.3))

STUDY = Study(
    name="secure_aggregation",
    question=__doc__,
    base=BASE,
    arms=grid(shardings(5), each("mask.sparsity", (0.0, 0.9)), DROPOUTS, RULES),
    space=secure.head,
    target=0.98,
    target_of={"aggregate.rule": "mean", "timing.dropout": 0.0},
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=6, seeds=3),
        "smoke": smoke(arms=grid(shardings(5), DROPOUTS[::2], RULES)),
        "paper": paper(overrides=PAPER_SPARSE, space=secure.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
