"""In how many rounds do superclients (FedSeq) reach 70 % of what one machine reaches?

The table of the course's slides: 500 clients of some 90 examples, a tenth of them each round. A
superclient is about nine clients that train in sequence, formed by what their models say of
exemplars, by their known classes, or by chance. All arms do the same rounds. A chain does nine
times the local steps of a FedAvg client, one after the other, at the same bytes; so beside FedAvg
stands one whose clients do as many (J = 36): what is left is what other clients' examples give.

scientific  timing.mode, timing.grouping, FedAvg's local.steps; N_c = 5, 1; and one machine
nuisance    learning rate, momentum, weight decay, batch size, server step
fixed       K, C, rounds, J = 4 of the chains' clients, split, backbone; a head of zeros

    python studies/superclients.py                    # linear head; minutes
    python studies/superclients.py --preset paper     # all of DINO ViT-S/16; days on a large GPU

Expect on the embedded default: 54 % after 6 to 7 rounds at N_c=5 and 17 to 18 at N_c=1, FedAvg
after 10 and 23, for some six times its steps one after the other; FedAvg of as many steps needs
hardly fewer rounds. By what they are formed matters less: nine clients seldom share one of a
hundred classes.
"""

from fl_core import PAPER_FULL, Study, embedded, grid, main, paper, shardings, smoke
from search_spaces import federated

BASE = {"federation.clients": 500, "federation.participation": 0.1, "local.steps": 4}
ROUNDS = 50
CHAINS = [{"timing.mode": "superclients", "timing.grouping": by}
          for by in ("confidence", "oracle", "random")]  # fmt: skip
FEDAVG = {"timing.mode": "synchronous"}
ONE_MACHINE = {"federation.clients": 1, "federation.participation": 1.0, "timing.mode":
               "synchronous", "local.unit": "epochs", "local.steps": 1}  # fmt: skip


def arms(rounds: int, *classes: int) -> list[dict[str, object]]:
    """FedAvg, FedAvg of as many steps as a chain, chains, under each sharding; one machine."""
    long = {**FEDAVG, "local.steps": 36, "rounds": rounds}
    epochs = {**ONE_MACHINE, "rounds": max(1, rounds // 5)}
    return [*grid(shardings(*classes), [FEDAVG, long, *CHAINS]), epochs]


STUDY = Study(
    name="superclients",
    question=__doc__,
    base=BASE,
    arms=arms(ROUNDS, 5, 1),
    space=federated.head_of_zeros,
    presets={
        "embedded": embedded(
            budget=4 * ROUNDS, eval_steps=8, trials=8, seeds=3, finalists=2, prune=False
        ),
        "smoke": smoke(
            budget=16, eval_steps=8, overrides={"federation.clients": 100}, arms=arms(4, 1)
        ),
        "paper": paper(
            budget=4 * ROUNDS, overrides=PAPER_FULL, space=federated.fine_tuning, prune=False
        ),
    },
    target=0.7,
    target_of={"federation.clients": 1},
)

if __name__ == "__main__":
    main(STUDY)
