"""The same of the fields that choose how it is trained: those of `method_sections` and
`system_sections`.
"""

from __future__ import annotations

from collections.abc import Mapping

METHOD_MEANINGS: Mapping[str, str] = {
    "local.steps": "J, what a client does in a round, in the unit of local.unit",
    "local.unit": "whether J counts steps (batches) or epochs over the client's examples",
    "local.lr": "learning rate of the clients",
    "local.lr_scaling": (
        "how the rate grows with the batch: local.lr times batch_size / base_batch, or times its "
        "square root"
    ),
    "local.base_batch": "batch at which local.lr is the rate as it is; with lr_scaling",
    "local.optimiser": (
        "what steps along a gradient: SGD with momentum, LARS or LAMB (each tensor's step scaled "
        "by its norm, for large batches), AdamW"
    ),
    "local.trust": "eta_t of LARS: how long a step is, in norms of the tensor",
    "local.beta1": "share of the old in the mean of gradients of AdamW and LAMB",
    "local.beta2": "the same of the mean of their squares",
    "local.eps": "added to the root of that mean; null: 1e-8 for AdamW, 1e-6 for LAMB",
    "local.momentum": "momentum of the clients' SGD; it starts anew in every round",
    "local.dampening": "share of a gradient that does not enter the momentum, as in torch",
    "local.nesterov": "Nesterov's momentum, as in torch",
    "local.weight_decay": "weight decay of the clients' SGD",
    "local.clip": "L2 norm that the gradient of a step has at most, after the rule; 0: any",
    "local.batch_size": "examples of a local step",
    "local.keep_momentum": (
        "the state of a client's optimiser survives the round, as LocalSGD and DiLoCo have it; "
        "where all clients take part in every round, or there is one"
    ),
    "local.blend": (
        "a client starts from its own old and the server's new parameters, by its share of the "
        "Fisher information of the round's clients (fisher) or of all clients (fisher_all)"
    ),
    "local.rule": (
        "what clients do besides SGD: FedAvg, FedProx, SCAFFOLD, FedDyn, GHBM, FedHBM or FedCM"
    ),
    "local.mu": "strength of FedProx's pull to where the round began; 0: FedAvg",
    "local.option": "which of SCAFFOLD's two ways renews a client's control variate",
    "local.alpha": "strength of FedDyn's regularisation; share of a step that FedCM's gradient has",
    "local.beta": "momentum of GHBM and FedHBM; 0: FedAvg",
    "local.tau": "rounds that GHBM's momentum looks back; about 1 / federation.participation",
    "schedule.name": "factor of the learning rate over the run",
    "schedule.warmup": "share of the run in which the rate rises from 0",
    "schedule.step_size": "share of the run between two drops of the rate",
    "schedule.gamma": "factor of each drop",
    "schedule.steps": (
        "J over the rounds: local.steps, fewer as the training loss falls (AdaComm), or 1 at first "
        "(post-local SGD)"
    ),
    "schedule.switch": (
        "share of the local steps that are done in rounds of one step; 0: all in rounds of J"
    ),
    "schedule.interval": "rounds after which AdaComm looks at the loss",
    "schedule.shrink": (
        "AdaComm's factor of J where the loss asks for no fewer steps; the paper's is 0.5; 1: none"
    ),
    "schedule.batch": (
        "examples of a local step over the rounds: local.batch_size, or from there to "
        "schedule.batch_most as the gradients' noise scale says"
    ),
    "schedule.batch_most": "the largest batch of a client that the noise scale may ask for",
    "schedule.smoothing": "share of the old in the averages that the noise scale is taken of",
    "server.optimiser": "the server's step to the clients' average: sgd at server.lr 1 is FedAvg",
    "server.lr": "learning rate of the server",
    "server.momentum": "momentum of FedAvgM, SlowMo and Nesterov's outer step",
    "server.beta1": "decay of the mean of the server's steps (Reddi et al. 2021: adagrad has 0)",
    "server.beta2": "decay of the mean of their squares",
    "server.tau": "added to the root of that mean; small is more adaptive",
    "server.bias_correction": "Adam's bias correction, which Reddi et al. leave out",
    "select.rule": (
        "who takes part in a round: anybody, by unequal chances, in turns, who does worst, or who "
        "is there"
    ),
    "select.gamma": "concentration of these chances: small lets few take part, large is uniform",
    "select.candidates": "clients that are asked for their loss, of whom the worst train",
    "select.examples": "a client's examples on which that loss is measured; null: all",
    "select.presence": "share of the rounds in which a client is there, mean over the clients",
    "select.reweight": (
        "a round's average as FedAvg has it, or weighted by 1 / (N pi_k), the inverse probability "
        "of being chosen"
    ),
    "aggregate.rule": (
        "how the parameters of a round's clients become one: their mean, what few attackers "
        "among them cannot move far, or their mean in a way that hides each client's"
    ),
    "aggregate.trim": "share of the clients that the trimmed mean cuts off, at either end",
    "aggregate.bound": "L2 norm to which a client's update is scaled down",
    "aggregate.byzantine": "f, the attackers of a round that Krum, Multi-Krum and Bulyan expect",
    "aggregate.noise": (
        "standard deviation of the noise that clients add to their parameters and that cancels in "
        "the sum; 0: FedAvg"
    ),
    "aggregate.clip": "c: what an entry changes by in a round is cut down to [-c, c] and rounded",
    "aggregate.bits": "[-c, c] is cut into 2^bits steps, to the nearest of which it is rounded",
    "aggregate.modulus_bits": (
        "masked numbers add up modulo 2^modulus_bits, which must be more than the round's examples "
        "times 2^bits"
    ),
    "aggregate.threshold": (
        "share of a round's clients that must be there at the end, or the round passes without a "
        "step; fewer of them together learn nothing of another's update"
    ),
    "attack.rule": (
        "what attackers do: train on flipped labels or noisy inputs, or send the opposite of their "
        "update or noise instead of it"
    ),
    "attack.share": "share of all clients that attack, in every round that they take part in",
    "attack.scale": (
        "factor of an opposite update; of noise: in standard deviations of inputs, or of an update"
    ),
    "timing.grouping": (
        "by what clients become superclients: what their models say of exemplars, their known "
        "classes, or chance"
    ),
    "timing.chain": "clients that a superclient has at most; 1: FedAvg",
    "timing.examples": "examples with which a superclient has enough clients",
    "timing.pretraining": "epochs that each client trains alone before its model is asked",
    "timing.speed": "examples that the median client trains on in a virtual second",
    "timing.speed_spread": "sigma of the log-normal speeds of the clients; 0: all are alike",
    "timing.down": "bytes that each client receives in a virtual second",
    "timing.up": "bytes that each client sends in a virtual second",
    "timing.table": (
        "a CSV file instead of these (none: no file): a header, and a row for each client with "
        "client (from 0), speed (examples/s), down, up (bytes/s), and if you like failure_rate "
        "(1/s) and window. Its content names a trial, not its path"
    ),
    "timing.failure_rate": "failures of a client at work in a virtual second; 0: none",
    "timing.dropout": (
        "chance that a client fails in a round: as likely while it receives, trains or sends (with "
        "aggregate.rule=secure, or before it answers)"
    ),
    "timing.window": (
        "share of a day that a client is there, from an hour of its own; 1: always. Who leaves at "
        "work fails; where nobody is there the server waits"
    ),
    "timing.day": "virtual seconds of a day",
    "timing.deadline": "virtual seconds after which a round ends without who is late; null: never",
    "timing.mode": (
        "when the server steps: once it has heard of all of a round's clients, of some of those at "
        "work (buffered: FedBuff), or of all of its superclients, whose clients train one after "
        "the other (FedSeq)"
    ),
    "timing.buffer": (
        "B, the updates that the server waits for; a round of federation.participation is at work "
        "at any time. With 1 and timing.mixing=model: FedAsync"
    ),
    "timing.staleness": (
        "a of (1 + s)^-a, the weight of an update of a model that is s steps old; 0: as fresh ones"
    ),
    "timing.mixing": (
        "what counts of a late update: how far the client went, or the model that it has now"
    ),
    "personal.rule": (
        "what of a client's model is its own: nothing, all (local), its head (fedper, fedrep), its "
        "norm layers (fedbn), a second model (ditto), or further steps at the end (fine_tune)"
    ),
    "personal.lambda_": "pull of Ditto's own models to the shared one; 0: local training",
    "personal.steps": (
        "of a client, in local.unit: of the head alone, taken from J (fedrep), of its own model "
        "(ditto), of the finished model (fine_tune)"
    ),
    "personal.judged": (
        "a trial's score is the mean accuracy of the clients, each on validation examples in its "
        "own class shares; always so with a personal.rule"
    ),
}
