"""Does a client do better with a model that is partly its own, and what does that cost the others?

Each client judges with its own model, on examples in its own class shares: validation in the
search, its own part of the test set in the confirmation. FedAvg, where all have the same model,
and every client alone, which shares nothing, are arms like the others.

scientific  personal.rule, under iid shards, N_c=5 and Dir(0.3); N_c=1 for the two extremes
nuisance    learning rate, momentum, weight decay, batch size; what a method reads
fixed       K, C, J, split, features, a head with a hidden layer and LayerNorm, rounds

    python studies/personalisation.py                    # MLP on features; about 10 minutes
    python studies/personalisation.py --preset paper     # all of DINO ViT-S/16; days on a large GPU

Ditto makes `personal.steps` more local steps a round than the others, fine-tuning as many at the
end. At N_c=1 a client has one class and the model that always names it is right: 100 % there is
no merit, so only its extremes are arms. Expect under iid shards nobody to beat FedAvg (76 %), and
where clients differ all far above it (N_c=5: 62 %), each client alone among them (95 %).
"""

from fl_core import MLP, PAPER_FULL, Study, each, embedded, grid, main, paper, shardings, smoke
from search_spaces import personal

BASE = {
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.steps": 8,
    "personal.judged": True,
}
RULES = each("personal.rule", ("none", "local", "fedper", "fedrep", "fedbn", "ditto", "fine_tune"))
SKEWED = {"federation.sharding": "dirichlet", "federation.alpha": 0.3}
ARMS = [
    *grid([*shardings(None, 5), SKEWED], RULES),
    *grid(shardings(1), each("personal.rule", ("none", "local"))),
]
LIKE = {"neighbours": False}  # each arm has its own trials alone

STUDY = Study(
    name="personalisation",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=personal.mlp,
    presets={
        "embedded": embedded(
            budget=480, eval_steps=160, trials=8, seeds=3, finalists=2, overrides=MLP, **LIKE
        ),
        "smoke": smoke(arms=grid(shardings(5), RULES), overrides=MLP, **LIKE),
        "paper": paper(overrides=PAPER_FULL, space=personal.fine_tuning, **LIKE),
    },
)

if __name__ == "__main__":
    main(STUDY)
