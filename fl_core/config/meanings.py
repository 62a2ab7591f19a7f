"""What each field of a trial's configuration means, in a sentence.

Standard library only. The head's own training has the fields of `local.` under `head.local.`; what
is said of the one is true of the other.
"""

from __future__ import annotations

from collections.abc import Mapping

#: By dotted name, of `head.local.` where it differs; a new field is one entry here.
MEANINGS: Mapping[str, str] = {
    "data.name": (
        "the task: a data set that the suite knows, a file or folder of yours, one of the Hugging "
        "Face hub (named by its name, not its content), your own"
    ),
    "data.path": "the file or folder of a data set of that kind; its content names a trial",
    "data.image_size": (
        "pixels, height and width, to which the images of a folder are brought once (name=folder)"
    ),
    "data.val_fraction": "share of the training examples that is set aside for validation",
    "data.split_seed": "seed of that split; it does not follow the trial's seed",
    "data.train_on": "examples that the clients hold: without or with the validation examples",
    "data.flip": (
        "training images are flipped left to right at random (not a head on features, not digits)"
    ),
    "data.crop": "pixels of padding of a random crop of training images; 0: none",
    "data.scored": "characters of a window of text that train and judge: every one (as TensorFlow "
    "Federated), or the last (as LEAF); both accuracies are recorded",
    "data.stride": "characters from the start of a window of text to the next one's; below 80 they "
    "overlap, and validation windows have been read in training",
    "data.rotation": "training images are turned by up to this many degrees, either way; 0: none",
    "backbone.name": (
        "the model without its last layer: timm's name, or one of lenet, cnn, mlp, resnet18_gn, "
        "resnet18_gn_small, char_lstm, char_lstm_small"
    ),
    "backbone.tag": "timm's name of the pre-trained weights",
    "backbone.weights": "pretrained, random, or sha256:HEX of the file that --weights names",
    "backbone.image_size": "pixels that images are scaled to, height and width",
    "backbone.patch_size": "pixels of a patch of a transformer; null: the model's own",
    "federation.clients": "K, the number of clients; 1: centralised training",
    "federation.participation": "C, the share of the clients that takes part in a round",
    "federation.sharding": (
        "how the examples are spread over the clients: evenly, N_c classes a client, a mix of "
        "classes drawn for each client (Hsu et al. 2019), a split over the clients drawn for each "
        "class (Yurochkin et al. 2019), or as the examples' owners have them (natural)"
    ),
    "federation.classes_per_client": "N_c, the number of classes that a client holds",
    "federation.alpha": "concentration of either dirichlet: small is uneven",
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
    "head.method": (
        "the classifier that fine-tuning starts from: of zeros (none); in closed form from one "
        "message of each client: ridge regression (Fed3R), class means (ncm, FedNCM) or what "
        "their scatter tells of covariances (cof, FedCOF); or trained by FedAvg on frozen features"
    ),
    "head.hidden": "units of a hidden layer between features and classes; 0: a linear classifier",
    "head.norm": "LayerNorm of the hidden units, before their ReLU",
    "head.loss": (
        "what training minimises: the softmax's cross-entropy, or one of each class against all "
        "others, summed over the classes (as OvA-LP)"
    ),
    "head.ridge_lambda": "penalty of the ridge regression, on the diagonal of X^T X / n",
    "head.shrinkage": "added to the diagonal of each class's covariance by FedCOF (its gamma)",
    "head.means": "means that a client sends of each class to FedCOF, of random parts of its own",
    "head.temperature": (
        "T in softmax(logits / T) of a head in closed form; auto: fitted on the clients' training "
        "examples"
    ),
    "head.local.keep_momentum": "not to be set: a head keeps it where there is one client",
    "head.local.blend": "not to be set: a head starts from the server's parameters",
    "head.rounds": "rounds of the head's own training, with head.method=fedavg",
    "mask.preset": "conventions that go together, under a name",
    "mask.rule": "which parameters stay trainable",
    "mask.sparsity": "share of the maskable parameters that is FROZEN: 0 is dense",
    "mask.schedule": (
        "how the sparsity goes over the rounds of the main stage, from mask.sparsity in the first "
        "to mask.sparsity_end in the last"
    ),
    "mask.sparsity_end": "share of the maskable parameters that is FROZEN in the last round",
    "mask.recalibrate": (
        "rounds of the main stage after which masks are calibrated anew, on the model as it is "
        "then; 0: never"
    ),
    "mask.size_power": (
        "a client's active share is proportional to this power of its number of examples, with "
        "the mean over the clients that the sparsity says; 0: the same for all"
    ),
    "mask.threshold": (
        "instead of a sparsity: what has a Fisher information below it stays trainable"
    ),
    "mask.rounds": "R, rounds of calibration: (1 - sparsity)^(r/R) are active after round r",
    "mask.scope": "one mask for all clients, or each client's own from its own data",
    "mask.source": (
        "where a shared mask comes from: the server's calibration split, the clients' scores "
        "summed, or their masks combined"
    ),
    "mask.layers": (
        "kinds of layers that may be masked, the rest of the trained part is frozen: all, or "
        "linear, attention, norm, conv, embedding, head joined by +"
    ),
    "mask.granularity": "one threshold for all tensors, or the same share of every tensor",
    "mask.min_active": "entries that stay trainable in every tensor; 0: whole tensors may freeze",
    "mask.min_share": "the same as a share of the tensor",
    "mask.fisher": (
        "labels of the Fisher information: drawn from the model, the same with the logit as score "
        "(as TaLoS), or those of the data"
    ),
    "mask.examples": "calibration examples of the server, or of each client",
    "mask.batch_size": "examples that are scored at once: memory, and rounding",
    "mask.dropped_weight": "factor of the weights dropped so far while calibrating",
    "mask.hybrid_weight": "weight of the Fisher rank against the magnitude's; with rule=hybrid",
    "mask.average": (
        "an entry is averaged over the clients that sent it, or over all; of per-client masks"
    ),
    "fine_tune.strategy": (
        "what trains in the main stage: the classifier on frozen features, everything, the "
        "backbone or everything under a mask after the classifier, or everything under a mask at "
        "once"
    ),
    "compute.execution": (
        "clients of a round one after the other or stacked; auto: what is faster here. Results "
        "differ by rounding alone"
    ),
    "compute.precision": "of forward and backward pass; parameters are always float32",
    "compute.micro_batch": (
        "examples whose gradient is computed at once where clients train one after the other: a "
        "larger batch in the memory of this one; 0: the whole batch. Results differ by rounding"
    ),
    "rounds": (
        "T, communication rounds of the main stage; a study sets it from its budget and J; 0: the "
        "head as it is"
    ),
    "stop_round": "rounds that are done of them, as many as another trial's best; null: all",
    "eval_every": "rounds between two evaluations; a study sets it",
    "eval_train": "evaluations measure a sample of the training examples, too",
    "patience": "evaluations without a better one before a trial stops; 0: never",
    "keep": "parameters that count at the end: the last, or the best by validation",
    "seed": "seed of the trial; a study's is --seed",
}


def meaning(name: str) -> str:
    """A field's meaning.

    >>> meaning("head.local.lr")
    'learning rate of the clients (training of the head)'
    """
    if name in MEANINGS or not name.startswith("head.local."):
        return MEANINGS[name]
    return f"{MEANINGS[name.removeprefix('head.')]} (training of the head)"
