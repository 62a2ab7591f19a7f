"""Which values of a trial's configuration go together: what spans sections, each refusal a line.

What one section knows alone, it refuses itself. Every combination that makes no sense is a row of
tests/conformance/test_refusals.py, with its reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fl_core.config.fields import refuse
from fl_core.config.kept_combinations import check_kept
from fl_core.config.methods import (
    BY_ENTRY,
    COMPARING,
    LAYERWISE,
    METHODS,
    ROBUST,
    SECURE,
    SUMMING,
)
from fl_core.config.own import is_own
from fl_core.config.pace_check import check_pace
from fl_core.config.personal_combinations import check_personal
from fl_core.config.secure_combinations import check_secure
from fl_core.config.text_combinations import check_text
from fl_core.config.timing_combinations import check_timing
from fl_core.data.catalogue import DATA_SETS
from fl_core.data.facts.data_set import DataSet

if TYPE_CHECKING:
    from fl_core.config.trial_config import TrialConfig

HEADS = "ridge, ncm, cof or fedavg"
MOST_STEPS = 10**10  # local steps of a client: more end in no lifetime


def check_combination(config: TrialConfig) -> None:
    """ConfigError for the first combination that makes no sense."""
    check_text(config)
    _check_sharding(config)
    _check_steps(config)
    check_pace(config)
    check_kept(config)
    if config.data.name in DATA_SETS:  # of the user's own the sharding itself finds out
        _check_sizes(config, DATA_SETS[config.data.name])
    if config.stop_round is not None and config.stop_round > config.rounds:
        raise refuse("stop_round", config.stop_round, f"must be at most rounds={config.rounds}")
    _check_compute(config)
    _check_layerwise(config)
    _check_aggregate(config)
    _check_attack(config)
    _check_selection(config)
    if config.rounds == 0 and config.head.method == "none":
        raise refuse("rounds", 0, f"needs head.method={HEADS}: nothing would be learnt")
    _check_strategy(config)
    check_personal(config)
    _check_augmentation(config)
    check_timing(config)


def _check_sharding(config: TrialConfig) -> None:
    """A sharding has its own parameter and no other's; the user's own may have any."""
    fed = config.federation
    if is_own(fed.sharding):
        return
    for name, modes in (
        ("classes_per_client", ("classes",)),
        ("alpha", ("dirichlet", "dirichlet_labels")),
    ):
        value = getattr(fed, name)
        if (fed.sharding in modes) != (value is not None):
            need = "needed by" if value is None else "only for"
            allowed = f"{need} federation.sharding={' or '.join(modes)}"
            raise refuse(f"federation.{name}", value, allowed)


def _check_steps(config: TrialConfig) -> None:
    """A lifetime is enough for all local steps."""
    for name, rounds, one in (
        ("rounds", config.rounds, config.local),
        ("head.rounds", config.head.rounds, config.head.local),
    ):
        if rounds * one.steps > MOST_STEPS:
            allowed = f"with {one.prefix}steps={one.steps} more than {MOST_STEPS:,} in all"
            raise refuse(name, rounds, allowed)


def _check_sizes(config: TrialConfig, data: DataSet) -> None:
    """The data set is large enough for this federation."""
    name, fed = config.data.name, config.federation
    if fed.classes_per_client is not None and fed.classes_per_client > data.classes:
        allowed = f"{name} has {data.classes} classes: must be in [1, {data.classes}]"
        raise refuse("federation.classes_per_client", fed.classes_per_client, allowed)
    for needed, count in (
        ("federation.clients", fed.clients),
        ("local.batch_size", config.local.batch_size),
        ("head.local.batch_size", config.head.local.batch_size),
    ):
        if count > data.train:
            raise refuse(needed, count, f"{name} has only {data.train} training examples")


def _check_compute(config: TrialConfig) -> None:
    """Micro-batches are of one client at a time."""
    if config.compute.micro_batch and config.compute.execution == "stacked":
        needs = "saves memory, of which stacked clients take more: needs compute.execution=auto or "
        raise refuse("compute.micro_batch", config.compute.micro_batch, f"{needs}sequential")


def _check_layerwise(config: TrialConfig) -> None:
    """The length of a tensor's step means something where all of the tensor trains."""
    mask, optimiser = config.mask, config.local.optimiser
    if optimiser in LAYERWISE and mask.takes_parts:
        needs = "scales steps by the norms of whole tensors, of which a mask by entries leaves "
        needs += "what its rule picks: needs mask.sparsity=0 (mask.layers may freeze tensors)"
        raise refuse("local.optimiser", optimiser, needs)


def _check_aggregate(config: TrialConfig) -> None:
    """A round has as many clients as its aggregate needs, and what they send can be compared, or
    hidden.
    """
    chosen, fed = config.aggregate, config.federation
    if chosen.rule not in (*ROBUST, *SECURE):
        return
    if chosen.fewest > fed.sampled:
        own = () if chosen.rule in SECURE else METHODS["aggregate.rule"][chosen.rule]
        name = next(iter(own), "rule")  # of how many byzantine clients, or trimmed ones
        allowed = f"needs {chosen.fewest} clients in a round: of {fed.clients} "
        allowed += f"federation.participation={fed.participation:g} takes {fed.sampled}"
        raise refuse(f"aggregate.{name}", getattr(chosen, name), f"{chosen.rule} {allowed}")
    if chosen.rule in SECURE:
        check_secure(config)
    elif config.local.rule in SUMMING:
        needs = f"local.rule={config.local.rule} sums what clients send, whoever attacks"
        raise refuse("aggregate.rule", chosen.rule, needs)
    own_masks = config.mask.of_each_client
    if own_masks and chosen.rule in COMPARING:
        needs = "would compare clients by which entries they send: needs mask.scope=shared"
        raise refuse("aggregate.rule", chosen.rule, needs)
    if own_masks and config.mask.average == "all" and chosen.rule in BY_ENTRY:
        needs = "would count clients without an entry as votes for no change: needs "
        raise refuse("aggregate.rule", chosen.rule, f"{needs}mask.average=senders")


def _check_attack(config: TrialConfig) -> None:
    """A share of attackers is of somebody, or 0."""
    attack, clients = config.attack, config.federation.clients
    if attack.rule != "none" and attack.share and not round(attack.share * clients):
        least = f"is none of {clients} clients: must be 0, or more than {0.5 / clients:g}"
        raise refuse("attack.share", attack.share, least)


def _check_selection(config: TrialConfig) -> None:
    """There are candidates to choose from; reweighting meets an average that it can be true of."""
    select, fed = config.select, config.federation
    several = config.aggregate.rule in (*ROBUST, *SECURE)
    if select.rule == "availability" and several:
        why = "a round may find one client alone, beside whom no other hides it, or tells an attack"
        raise refuse("select.rule", select.rule, f"{why}: needs aggregate.rule=mean")
    if select.rule == "cyclic" and fed.clients % fed.sampled and several:
        why = f"groups of {fed.sampled} of {fed.clients} clients are not all as large"
        raise refuse("select.rule", select.rule, f"{why}: needs aggregate.rule=mean")
    if select.rule == "power_of_choice" and not fed.sampled <= select.candidates <= fed.clients:
        allowed = f"must be in [{fed.sampled}, {fed.clients}]: from a round's clients to all"
        raise refuse("select.candidates", select.candidates, allowed)
    if select.reweight == "biased":
        return
    own_masks = config.mask.of_each_client
    if config.local.rule in SUMMING:
        why = f"local.rule={config.local.rule} is a plain mean of the round's clients"
    elif config.aggregate.rule in METHODS["aggregate.rule"] and config.aggregate.rule != "mean":
        why = "only for aggregate.rule=mean: others have no weights"
    elif own_masks and config.mask.average == "senders":
        why = "per-client masks need mask.average=all: who sends an entry differs by entry"
    else:
        return
    raise refuse("select.reweight", select.reweight, why)


def _check_strategy(config: TrialConfig) -> None:
    """The strategy, the head it starts from and the mask fit together."""
    strategy, mask, head = config.fine_tune.strategy, config.mask, config.head
    if strategy.startswith("head_then") and head.method == "none":
        needs = f"needs head.method={HEADS}: the head comes first"
        raise refuse("fine_tune.strategy", strategy, needs)
    if strategy == "head" and mask.preset != "none":
        needs = "freezes the head: needs a strategy that trains a backbone"
        raise refuse("mask.preset", mask.preset, needs)
    if strategy == "full" and mask.in_force:
        raise refuse("fine_tune.strategy", "full", "is dense: masks need sparse_full")
    zeros = head.method == "none" and not head.hidden
    from_zero = strategy == "head" and zeros and mask.in_force
    if from_zero and mask.rule in ("low_magnitude", "high_magnitude", "hybrid", "most_salient"):
        needs = f"needs head.method={HEADS}: a head of zeros has no magnitudes"
        raise refuse("mask.rule", mask.rule, needs)
    scored = mask.in_force and mask.rule not in ("low_magnitude", "high_magnitude", "random")
    if head.loss != "cross_entropy" and (scored or config.local.blend != "none"):
        needs = "not where Fisher information is asked for: its labels are drawn from a softmax"
        raise refuse("head.loss", head.loss, needs)
    if mask.changes and config.local.blend != "none":
        needs = "takes the Fisher information of the start: not where masks change over the rounds"
        raise refuse("local.blend", config.local.blend, needs)
    if mask.average == "all" and mask.scope == "shared":
        raise refuse("mask.average", "all", "only for mask.scope=per_client")


def _check_augmentation(config: TrialConfig) -> None:
    """Cached features are not augmented."""
    for name in ("crop", "rotation") if config.part == "head" else ():
        if value := getattr(config.data, name):
            allowed = "a head (fine_tune.strategy=head) learns from cached features, which are "
            raise refuse(f"data.{name}", value, allowed + "not augmented: must be 0")
