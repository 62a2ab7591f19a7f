"""Power of choice (Cho, Wang & Joshi, AISTATS 2022, first 2020): those who do worst.

d candidates (`select.candidates`) are drawn without replacement, with probabilities in proportion
to their examples; each is sent the model and answers with the mean loss of it on its own examples
(pow-d), or on a fresh sample of `select.examples` of them (the paper's cpow-d); the m with the
highest loss train, ties by number. They weigh the same in the average, 1 / m, as in the authors'
code: the examples have had their say in the drawing. With d = m nobody is asked, and it is that
drawing alone. The paper's third variant, with losses from a client's last round, is not here.
"""

from __future__ import annotations

import numpy as np

from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.evaluate import evaluate
from fl_core.federated.losses import LOSSES
from fl_core.federated.selection import Selection
from fl_core.federated.selections.drawing import draw
from fl_core.federated.state import Federation, State


def power_of_choice(state: State, fed: Federation, config: TrialConfig) -> Selection:
    """The m of d candidates on whose examples the server's model is worst."""
    count = config.federation.sampled
    rng = stream(config.seed, "clients", state.round)
    candidates = draw(rng, np.log(fed.num_examples), config.select.candidates)
    weights = [1] * count
    if len(candidates) == count:
        return Selection(candidates, weights)
    fed.model.flat.copy_(state.params)
    losses = np.array([_loss(int(client), state.round, fed, config) for client in candidates])
    worst = candidates[np.argsort(-losses, kind="stable")[:count]]
    return Selection(np.sort(worst), weights, asked=candidates.tolist())


def _loss(client: int, round: int, fed: Federation, config: TrialConfig) -> float:
    """Of the model as it stands, without augmentation."""
    shard, most = fed.shards[client], config.select.examples
    if most is not None and most < len(shard):
        rng = stream(config.seed, "judged", round, client)
        shard = rng.choice(shard, most, replace=False, shuffle=False)
    source, loss = fed.train.subset(shard), LOSSES[config.head.loss]
    return evaluate(fed.model.module, source, config.compute.precision, loss=loss).loss
