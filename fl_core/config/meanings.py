"""What each field of a trial's configuration means, in a sentence.

Standard library only. The head's own training has the fields of `local.` under `head.local.`; what
is said of the one is true of the other.
"""

from __future__ import annotations

from collections.abc import Mapping

from fl_core.config.method_meanings import METHOD_MEANINGS

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
    **METHOD_MEANINGS,
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
