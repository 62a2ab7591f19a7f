"""What each figure shows, in sentences: the second half of captions.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fl_analysis.plots.class_dots import NAMED
from fl_analysis.plots.confusion import FAINT, PAIRS
from fl_analysis.plots.drift import drift_captions
from fl_analysis.plots.pace import PACE_CAPTIONS
from fl_analysis.plots.panels import unit_of
from fl_analysis.results.best import best_arm
from fl_analysis.results.curves import in_epochs
from fl_analysis.results.importance import MOST, SHUFFLES, TOP
from fl_analysis.results.outcome import Outcome
from fl_analysis.results.participation import WITHIN
from fl_analysis.results.predictions import Predicted, error_kinds
from fl_core.config.vocabulary import masked

_SEEDS = "Mean over the confirmation seeds"
_BEST = " Dots: where the runs had their best validation accuracy, mean over them."
_TRAINED = (
    " Thin: the same on a fixed sample of the training examples, as many as the validation "
    "examples, evaluated after the round, without augmentation."
)
_READ = "Read in the confirmation, not used for any choice; of the parameters as they then were."
_DENSE = (
    " Sparsities stand evenly spaced; the dense arm is the dotted level with a band of ± one "
    "standard deviation, a point of its own or a line in a panel's title. Panels differ in scale."
)
#: Of the figures of masks.
_MASKS = {
    "mask_active": "Where the masks live: trainable share of each layer. Tensors of one kind "
    "are averaged by size in each block, blocks run downwards within a band; mean over the "
    "confirmation seeds of the chosen configuration; grey: not maskable.",
    "overlap_layers": "Agreement of the clients' masks, layer by layer: Jaccard index minus "
    "that of independent masks of the same active shares in the layer; white: chance. Rows as "
    "in mask_active; an arrow at the scale: masks beyond it are the same for every client; "
    "grey: no pair of clients has an active entry there.",
    "overlap_depth": "The same by depth: excess over chance, averaged by size over the "
    "tensors of a block.",
    "overlap_sharding": "Overlap of the clients' masks (mean over pairs of clients, then mean "
    "± sample standard deviation over the seeds) against how different the clients are. "
    "Dotted: independent masks of the same active shares.",
}


def captions(
    results: Sequence[Outcome], searched: Sequence[int], probe: Mapping[str, Any]
) -> dict[str, str]:
    """Figure -> caption; `searched`: arms whose curves are of their best search trial; `probe`: the
    values that the probes of all arms share.
    """
    names = [o.name for o in results if o.arm in searched]
    single = f" One run, the chosen search trial, without a band: {'; '.join(names)}."
    tail = single if names else ""
    unit, time = unit_of(results), "epochs" if in_epochs(results) else "communication rounds"
    trained = any(o.config.get("eval_train") for o in results)
    noun = results[0].task.noun
    kept = any(o.config.get("keep") == "best" for o in results)
    dense = _DENSE if any(masked(o.config) for o in results) else ""
    return {
        "accuracy": "Test accuracy of the chosen configurations: mean ± sample standard "
        f"deviation over the confirmation seeds (small dots: the seeds); — : not confirmed.{dense}",
        "curves": f"Validation accuracy against local {unit}. {_SEEDS}, band: ± one sample "
        f"standard deviation.{_TRAINED if trained else ''}{_BEST if kept else ''}{tail}",
        "loss": f"Cross-entropy against {time}: validation (thick; band: ± one sample standard "
        f"deviation), and training (thin): over the examples of the local work of the round "
        f"before, while it changes the parameters. {_SEEDS}.{_BEST}{tail}",
        "test_curves": f"Test accuracy against local {unit}. {_READ} {_SEEDS}, band: ± one sample "
        "standard deviation.",
        "test_loss": f"Cross-entropy on the test set against {time}. {_READ} {_SEEDS}, band: ± one "
        "sample standard deviation.",
        "search": "How far the search had come: the best validation accuracy of an arm's finished "
        "trials so far, against its trials in the order of their start (pruned and diverged ones "
        "count as trials; a line begins at the first that finished). A line that still rises at "
        "its end asks for more trials; one that is flat from the first has found nothing since. "
        "Lower starts lie below the panel. Crosses: winners of neighbouring arms, tried in this "
        "one too.",
        "expected": "Best validation accuracy that a search of n random trials is expected to "
        "find (Dodge et al. 2019): mean over all subsets of n of an arm's trials, the unbiased "
        "estimate of Tang et al. 2020; at its right end a line is at the best trial found. Band: ± "
        "one standard deviation of the best of n draws, cut at the best trial: how far one search "
        "is from another, no confidence interval of the line. Trials that diverged count as "
        "chance. A method that is better is above at every n; one that needs more tuning crosses "
        "late. Panels differ in scale; what the first few trials reach lies below them.",
        "virtual_time": f"Test accuracy against the virtual clock, which the configuration and the "
        f"seed decide, not this machine. {_READ} {_SEEDS} at the same evaluation, band: ± one "
        "sample standard deviation. Dotted: when the first of arms that are compared ended. "
        "Panels differ in scale.",
        "communication": "Validation accuracy against the bytes sent so far by every stage (head, "
        "masks, main), up and down, summed over all clients. Stars: before the first round of the "
        f"main stage. {_SEEDS}, band: ± one sample standard deviation.{tail}",
        "traffic": "What a round of the main stage sends, all clients: mean over rounds and "
        "confirmation seeds as sent (each message in its shortest form; line: the least and the "
        "most of a round), and with every message dense, as index or as bitmap "
        "(see federated/messages.py for the forms). Above: the same bytes as a number of float32 "
        "parameters. A dense arm sends one form alone.",
        "pareto": "What accuracy costs. Small dots: finished search trials (those far "
        "below the front are not shown); line: the Pareto front of validation "
        "accuracy and cost; star: its start, before the first round of the "
        "main stage; marks: test accuracy of the confirmed points of the front, mean ± sample "
        "standard deviation over the confirmation seeds.",
        **drift_captions(probe, f"{_SEEDS}, band: ± one sample standard deviation.{tail}"),
        "active_share": "Share of the maskable parameters that a round trained, of masks that "
        f"change over the rounds, against local {unit}. {_SEEDS}, band: ± one sample standard "
        f"deviation.{tail}",
        **PACE_CAPTIONS,
        **_MASKS,
        "importance": f"PED-ANOVA importance of reaching the top {TOP:.0%} of an arm's search "
        "trials. Trials are ranked within their arm and pooled; pruned trials rank by the rounds "
        "they reached, diverged ones last"
        f" (of more than {MOST:,} trials {MOST:,} at random). Chance: the 95th percentile of the "
        f"same estimate with the ranks shuffled within the arms ({SHUFFLES} times); a shorter bar "
        "is no evidence.",
        "partition": f"Realised partition: training {noun} of each class on each client "
        "(logarithmic colours, white: none).",
        "selections": "How often the clients were selected: share of the rounds, each seed's "
        "clients sorted for themselves; mean over the confirmation seeds, band: the least and the "
        "most of them. Drawn uniformly, each client would be expected to have the same share (grey "
        f"line: m / K), and {WITHIN:.0%} of the clients one in the grey band (binomial). Arms that "
        "draw their clients uniformly have no line, nor has a second arm that differs in the "
        "average alone.",
    }


def model_captions(found: Sequence[Predicted], arm: Predicted) -> dict[str, str]:
    """Captions of the figures of predictions; `arm`: the one that those with room for one show."""
    seeds = ", ".join(map(str, arm.seeds))
    count = f"{len(arm.frames[0]):,} test {arm.outcome.task.noun}"
    which = f"{count}, {arm.outcome.name}, confirmation seeds {seeds}"
    if len(found) > 1:
        best = best_arm([a.outcome for a in found])
        reason = "first of the table" if best is None else f"{best.by}, not by its test accuracy"
        which += f" (one of {len(found)} arms, by the {reason})"
    kinds = error_kinds(arm)
    near, far = (float(kinds[name].sum()) for name in ("near", "far"))
    related = f"{near / (near + far):.0%} of the errors stay in it" if near + far else "no error"
    grouped = f"Classes stand by superclass; {related}. " if arm.classes.groups else ""
    rows = (
        "Rows: superclasses by their mean (bar); named: the lowest and the highest of each, bold: "
        f"if among the {NAMED} lowest or {NAMED} highest of all."
        if arm.classes.groups
        else "Where classes are many, the lowest and the highest are named."
    )
    of_kinds = ": predictions within the superclass of the true class and beyond"
    kinds_of = of_kinds if any(one.classes.groups for one in found) else ""
    seed = "The dots: the seeds."
    return {
        "confusion": f"{which}, summed. Rows sum to 100 %, colours are logarithmic, shares below "
        f"{FAINT:g} % are drawn like {FAINT:g} %, white: never. {grouped}".strip(),
        "confused_pairs": f"{which}: the {PAIRS} largest shares of a true class that went to one "
        f"other class, mean over the seeds. {seed}",
        "class_accuracy": f"{which}: accuracy of each class, mean over the seeds. {rows}",
        "errors": f"Errors on the test set, mean over the confirmation seeds{kinds_of}. {seed}",
        "client_accuracy": "Accuracy by client (dots; the clients of all confirmation seeds): a "
        "run's class accuracies on the test set, weighted by the classes that the client holds in "
        "that run's own partition. Line: 5th to 95th percentile, box: quartiles, bar: median.",
        "calibration": f"{which}, together: accuracy in 15 bins of confidence (bars) and the mean "
        "confidence of each bin (dots; dashed: as accurate as confident); below, the share of the "
        "predictions. ECE: the expected calibration error.",
        "calibration_error": "Expected calibration error of each arm's predictions on the test "
        "set: the distance between confidence and accuracy, mean over 15 bins weighted by their "
        "predictions; mean over the confirmation seeds (small dots: the seeds).",
        "predictions": f"{which.split(', confirmation')[0]}, seed {arm.seeds[0]}: true → predicted "
        "class and the confidence of the prediction. Right ones at random: a fixed draw.",
    }
