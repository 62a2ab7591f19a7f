"""What each figure shows, in sentences: the second half of captions.md."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.importance import SHUFFLES, TOP
from analysis.labels import masked
from analysis.outcome import Outcome

_SEEDS = "Mean over the confirmation seeds"
_DENSE = (
    " Sparsities stand evenly spaced; the dense arm is the dotted level with a band of ± one "
    "standard deviation, a point of its own or a line in a panel's title. Panels differ in scale."
)


def captions(results: Sequence[Outcome], searched: Sequence[int]) -> dict[str, str]:
    """Figure -> caption; `searched`: arms whose curves are of their best search trial."""
    names = [o.name for o in results if o.arm in searched]
    single = f" One run, the chosen search trial, without a band: {'; '.join(names)}."
    tail = single if names else ""
    dense = _DENSE if any(masked(o.config) for o in results) else ""
    return {
        "accuracy": "Test accuracy of the chosen configurations: mean ± sample standard "
        f"deviation over the confirmation seeds (small dots: the seeds); — : not confirmed.{dense}",
        "curves": f"Validation accuracy against local steps. {_SEEDS}, band: ± one sample "
        f"standard deviation.{tail}",
        "communication": "Validation accuracy against the bytes sent so far, up and down, summed "
        f"over all clients. {_SEEDS}.{tail}",
        "pareto": "What accuracy costs. Small dots: all finished search trials; line: the Pareto "
        "front of validation accuracy and cost; marks: test accuracy of the confirmed points of "
        "the front, mean ± sample standard deviation over the confirmation seeds.",
        "drift": "Client drift: mean L2 distance of the sampled clients' parameters to the "
        f"server's at the end of a round. {_SEEDS}, band: ± one sample standard deviation.{tail}",
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
        "importance": f"PED-ANOVA importance of reaching the top {TOP:.0%} of an arm's search "
        "trials. Trials are ranked within their arm and pooled; pruned trials rank by the rounds "
        "they reached, diverged ones last. Chance: the 95th percentile of the same estimate with "
        f"the ranks shuffled within the arms ({SHUFFLES} times); a shorter bar is no evidence.",
        "partition": "Realised partition: training images of each class on each client "
        "(logarithmic colours, white: none).",
    }
