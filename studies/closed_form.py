"""Is one round enough for a head, at the bytes that it costs?

Three heads in closed form, of one message of each client: ridge regression (Fed3R), class means
(FedNCM), and class means whose scatter tells covariances (FedCOF). Beside them FedAvg from zeros
that may send, up and down together, at most what each of them does: 19 rounds for ridge's bytes
(D = 192, 100 classes; 29 at D = 384), 4 for the class means of iid clients, a round of two clients
where each holds five classes; with one class a client not even one client's round fits. Local
steps cost no bytes, so FedAvg's J is tuned.

scientific  head.method in {ridge, ncm, cof}, or FedAvg's rounds; iid, N_c=5, N_c=1
nuisance    ridge's penalty; FedCOF's shrinkage; of FedAvg lr, momentum, decay, batch, J, server lr
fixed       K, C, split, features; no temperature, which changes no prediction

    python studies/closed_form.py                    # linear head; minutes
    python studies/closed_form.py --preset paper     # features of DINO ViT-S/16; a GPU for those

Expect on the embedded default: iid clients gain by FedAvg at ridge's bytes (76 % against 74 of cof,
71 of ridge, 69 of ncm); at N_c=5 it is 12 points behind cof and ridge, at N_c=1 54 behind ridge.
Cof is before ridge where clients have many classes, at N_c=1 it is ncm.
"""

from fl_core import PAPER, Study, embedded, grid, main, paper, shardings, smoke
from search_spaces import closed_forms

BASE = {"federation.clients": 100, "federation.participation": 0.1, "head.temperature": 1.0}
CLOSED = [{"head.method": name, "rounds": 0} for name in ("ridge", "ncm", "cof")]
FEW = {"head.method": "none", "rounds": 4}
ONE = {"head.method": "none", "rounds": 1, "federation.participation": 0.02}


def arms(ridge_rounds: int) -> list[dict[str, object]]:
    """The heads under each sharding; FedAvg at ridge's bytes, and at those of the class means."""
    same = {"head.method": "none", "rounds": ridge_rounds}
    return [
        *grid(shardings(None), [*CLOSED, FEW, same]),
        *grid(shardings(5), [*CLOSED, ONE, same]),
        *grid(shardings(1), [*CLOSED, same]),
    ]


STUDY = Study(
    name="closed_form",
    question=__doc__,
    base=BASE,
    arms=arms(19),
    space=closed_forms.head,
    presets={
        "embedded": embedded(
            budget=400, eval_steps=80, trials=6, seeds=5, prune=False, neighbours=False
        ),
        "smoke": smoke(arms=grid(shardings(5), [*CLOSED, ONE]), neighbours=False),
        "paper": paper(overrides=PAPER, arms=arms(29), neighbours=False),
    },
)

if __name__ == "__main__":
    main(STUDY)
