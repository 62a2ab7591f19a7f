"""What a trial records, and what each of its numbers means.

`fl_core` writes them and `analysis` reads them, so they stand here once, and this module needs
nothing but the standard library. A new metric is one entry of METRICS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FACTS = "study.json"  # of a study's run: all that is known of it from its start

#: One evaluation: metric names to numbers, plus "done", "diverged" and "rounds", a row for each
#: round since the evaluation before.
Record = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """What a number of a trial's record means.

    A metric is a chart on the page of every trial and a value for every evaluation; one that no
    table reads (`chart=False`) goes into a file of the trial instead.
    """

    text: str
    unit: str = ""  # none: a share in [0, 1], a loss in nats or a count, as the text says
    chart: bool = True


_WAYS = {"up": "from the clients to the server", "down": "from the server to the clients"}
_STAGES = {
    "head": "by the head: its rounds of FedAvg, or the statistics of ridge regression",
    "superclients": "by what superclients are formed of: models trained alone, or class counts",
    "masks": "by the calibration of a shared mask, where clients' scores or masks make it",
    "main": "by the main stage",
}
_ENCODINGS = ("dense", "index", "bitmap", "values")

START, TEST_START = "val_accuracy_start", "test_accuracy_start"
#: What a search maximises where clients judge, and the same on the test set.
JUDGED, TEST_JUDGED = "val_personal_mean", "test_personal_mean"
_MODELS = {
    "personal": "each with the model that it has for itself",
    "global": "each with the model that who never took part gets",
}
_OVER_CLIENTS = {"mean": "mean", "worst": "lowest", "p10": "10th percentile"}
_JUDGES = {
    "val": "validation examples in its own class shares",
    "test": "test examples in its own class shares, of confirmation runs alone",
}
_POSITIONS = {"last": "the last character (LEAF)", "every": "every character (TFF)"}
_WINDOWS = {
    "val": "the validation windows of a text",
    "test": "the test windows of a text, of confirmation runs alone",
}
METRICS: Mapping[str, Metric] = {
    "score": Metric(
        "what a search maximises: validation accuracy of the parameters that count, or where "
        f"clients judge {JUDGED}"
    ),
    "val_accuracy": Metric("accuracy on the validation examples"),
    START: Metric("the same before the first round of the main stage"),
    "val_loss": Metric("mean of head.loss on the validation examples"),
    "test_accuracy": Metric("accuracy on the test set, of confirmation runs alone"),
    TEST_START: Metric("the same before the first round of the main stage"),
    "test_loss": Metric("mean of head.loss on the test set, of confirmation runs alone"),
    **{f"{part}_accuracy_{at}": Metric(f"accuracy on {text} of {windows}, whichever counts")
       for part, windows in _WINDOWS.items() for at, text in _POSITIONS.items()},
    "train_loss": Metric("mean of head.loss over the examples of the last round's local steps"),
    "train_accuracy": Metric(
        "accuracy on a fixed sample of the training examples, as many as the validation examples, "
        "evaluated as these are; where eval_train asks for it"
    ),
    "client_drift": Metric(
        "L2 distance of a client's parameters to the server's, mean over the clients of the round"),
    "client_drift_active": Metric("the same over the entries that each client sends"),
    "client_drift_all": Metric(
        "client_drift by eq. 4 of Pirilli et al.: mean over all K clients, 0 for who takes no part",
        chart=False),
    "client_accuracy_worst": Metric("accuracy on the classes of the client that does worst"),
    "client_accuracy_best": Metric("accuracy on the classes of the client that does best"),
    "client_accuracy_std": Metric("standard deviation of the clients' accuracies (ddof = 0)"),
    "superclients": Metric("superclients, where clients train in chains"),
    "superclient_clients": Metric("clients of a superclient, mean"),
    "superclient_distance": Metric(
        "KL(classes of a superclient || uniform) in nats, mean; log(classes) of a single class"),
    "attackers": Metric("clients that attack, of the whole federation, where any do"),
    "attackers_round": Metric("the same of a round's clients", chart=False),
    **{f"{part}_{whose}_{name}":
       Metric(f"accuracy of the clients, {model}, on {examples}: {text}")
       for part, examples in _JUDGES.items() for whose, model in _MODELS.items()
       for name, text in _OVER_CLIENTS.items()},
    "round": Metric("communication rounds done"),
    "staleness_mean": Metric(
        "steps of the server since the model that an update is of, mean over the updates of the "
        "last step; of timing.mode=buffered", chart=False),
    "staleness_max": Metric("the same of the oldest", chart=False),
    "local_steps": Metric(
        "of the main stage: J summed over the rounds, times the clients of the longest chain; "
        "epochs where local.unit says so"
    ),
    "steps_round": Metric("J of the round, where it changes", chart=False),
    "batch_round": Metric("examples of a local step of the round, where it changes", chart=False),
    "noise_scale": Metric(
        "batch of all clients together beyond which more examples help little (B_simple)",
        chart=False),
    "local_steps_head": Metric(
        "of the head by FedAvg before the main stage: head.rounds times head.local.steps; else 0"
    ),
    "virtual_seconds": Metric(
        "virtual time of the rounds of the main stage so far: what the clients' devices and links "
        "would take (see timing), whatever machine this is; masks are calibrated anew in no time",
        "s"),
    "bytes_lost": Metric(
        "of bytes_up and bytes_down what was sent to and from clients whose updates did not "
        "arrive; where they may fail", "B"),
    "images_lost": Metric("training examples that such clients processed so far"),
    "rounds_lost": Metric(
        "rounds so far that passed without a step: no update arrived, or too few to be summed"
    ),
    "clipped_share": Metric(
        "share of the entries of a round's updates that lay beyond aggregate.clip and were cut "
        "down to it, by aggregate.rule=secure"
    ),
    "clients_lost": Metric("times that a client's update did not arrive so far"),
    "local_steps_superclients": Metric(
        "of the clients' pre-training before superclients form, of the client with the most; else "
        "none"
    ),
    "seconds_train": Metric("time of training so far", "s"),
    "seconds_eval": Metric("time of evaluations so far", "s"),
    "seconds_overhead": Metric("time of all else so far: checkpoints, waiting for the study", "s"),
    "images_per_second": Metric("training examples in a second of training"),
    "peak_memory_bytes": Metric("highest memory use of the process", "B"),
    **{f"bytes_{way}": Metric(f"sent {where} so far, all clients, all stages", "B")
       for way, where in _WAYS.items()},
    **{f"bytes_{way}_{stage}": Metric(f"of these {what}", "B")
       for way in _WAYS for stage, what in _STAGES.items()},
    **{f"bytes_{way}_protocol":
       Metric(f"of these keys, shares and seeds by which clients hide their updates, {where}", "B")
       for way, where in _WAYS.items()},
    **{f"bytes_{way}_round": Metric(f"sent {where} in the last round", "B", chart=False)
       for way, where in _WAYS.items()},
    **{f"bytes_{way}_{code}":
       Metric(f"bytes_{way}_main with every message {code}", "B", code == "dense")
       for way in _WAYS for code in _ENCODINGS if code != "values"},
    **{f"messages_{way}_{code}":
       Metric(f"messages of the main stage sent {where} as {code}", chart=False)
       for way, where in _WAYS.items() for code in _ENCODINGS},
    "mask_active": Metric(
        "parameters that a mask leaves trainable; where it changes, mean over the rounds"),
    "mask_active_share": Metric("the same as a share of the maskable parameters"),
    "mask_added": Metric("entries that the guard against empty tensors added to a mask"),
    "mask_jaccard": Metric("Jaccard index of two clients' masks, mean over pairs"),
    "mask_expected": Metric("the same of independent masks with these active shares"),
    "mask_excess": Metric("mask_jaccard minus mask_expected"),
    "mask_expected_given_layers": Metric("mask_expected with the active shares of every tensor"),
}  # fmt: skip
#: Those that become charts, and columns of the frames that analysis reads.
CHARTS = tuple(name for name, metric in METRICS.items() if metric.chart)
