"""What does it cost to learn Shakespeare role by role, and does working longer locally help?

The next character of a text: clients are speaking roles (natural), or as many parts of the same
text at random (iid), or all of it is on one machine. T x J is constant. Scored on every character
(as TensorFlow Federated); the accuracy on the last one of each window (as LEAF) is recorded beside
it. The text is tinyshakespeare's, whose roles are NOT LEAF's users.

scientific  federation.sharding in {iid, natural} x local.steps in {4, 16}; one machine
nuisance    learning rate, momentum, server step
fixed       K, C, batches of 10 windows, gradients clipped to norm 1, model, local steps in total

    python studies/shakespeare.py                     # two layers of 64 units; minutes
    python studies/shakespeare.py --preset paper      # LEAF's two layers of 256; hours, a GPU

With LEAF's files, and its score: `--set data.name=shakespeare --set data.path=FOLDER --set
data.scored=last`.
What guessing from the character before reaches: `python -m fl_core.data.sets.shakespeare` (28.8 %
of all test characters).

Expect on the embedded default 39 to 42 % of all characters: 12 points above the bigram, a point or
two between iid and natural, nothing that two seeds tell apart. One machine with as many steps sees
a tenth of the text that ten clients do, and is as good.
"""

from fl_core import Preset, Study, each, grid, main, paper, smoke
from search_spaces import text

BASE = {
    "data.name": "tinyshakespeare",
    "backbone.name": "char_lstm",
    "backbone.weights": "random",
    "fine_tune.strategy": "full",
    "federation.clients": 100,
    "federation.participation": 0.1,
    "local.batch_size": 10,
    "local.clip": 1.0,
}
FEDERATED = grid(each("federation.sharding", ("iid", "natural")), each("local.steps", (4, 16)))
ONE = {"federation.clients": 1, "federation.participation": 1.0, "local.keep_momentum": True}
ARMS = [*FEDERATED, {**ONE, "federation.sharding": "iid", "local.steps": 16}]
#: An LSTM of LEAF's size learns in hours on a CPU: this one learns the same task in minutes.
SMALL = {"backbone.name": "char_lstm_small"}

STUDY = Study(
    name="shakespeare",
    question=__doc__,
    base=BASE,
    arms=ARMS,
    space=text.char_lstm,
    presets={
        "embedded": Preset(
            "two layers of 64 units on the text that ships with it; minutes, no GPU",
            budget=400,
            eval_steps=80,
            trials=6,
            seeds=2,
            overrides=SMALL,
            first=({"local.lr": 1.0, "local.momentum": 0.9, "server.lr": 1.0},),
        ),
        "smoke": smoke(budget=16, overrides=SMALL, arms=FEDERATED[::2]),
        "paper": paper(budget=4800, eval_steps=480),
    },
)

if __name__ == "__main__":
    main(STUDY)
