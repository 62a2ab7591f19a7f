"""Does a client do better from its own old parameters, blended with the server's by Fisher?

FedAvg starts every client from the server's parameters. Blending (Pirilli et al. 2025, eq. 5) keeps
more of the client's own where its Fisher information is a larger share of the round's, or as their
equation has it of all clients' (fisher_all).

scientific  local.blend, under iid shards, N_c=10 and N_c=1
nuisance    learning rate, momentum, weight decay, batch size, server step, start of the head
fixed       K, C, J, split, backbone, rounds

    python studies/blending.py                    # linear head; minutes
    python studies/blending.py --preset paper     # all of DINO ViT-S/16; a day on a large GPU

Expect on the embedded default: nothing under iid shards, where clients have nothing of their own.
"""

from fl_core import PAPER_FULL, Study, each, embedded, grid, main, paper, shardings, smoke
from search_spaces import federated

BASE = {"federation.clients": 100, "federation.participation": 0.1, "local.steps": 4}
BLENDS = each("local.blend", ("none", "fisher", "fisher_all"))
ARMS = grid(shardings(None, 10, 1), BLENDS)

STUDY = Study(
    name="blending",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=federated.head,
    presets={
        "embedded": embedded(budget=400, eval_steps=80, trials=10, seeds=3, finalists=2),
        "smoke": smoke(arms=grid(shardings(10), BLENDS)),
        "paper": paper(overrides=PAPER_FULL, space=federated.fine_tuning),
    },
)

if __name__ == "__main__":
    main(STUDY)
