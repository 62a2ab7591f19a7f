"""What a study's masks have in common, in the caption of its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.labels import field_values
from fl_core.config.vocabulary import EXAMPLE_RULES, FISHER_RULES, cell, field, known, masked


def mask_conditions(runs: StudyRuns, configs: Sequence[Mapping[str, Any]]) -> str:
    """What the masked arms' masks have in common; what differs by arm, or is searched, stands in
    columns of its own. Empty for dense studies.
    """
    with_mask = [config for config in configs if masked(config)]
    if not with_mask and "mask.sparsity" not in runs.space:
        return ""
    names = _mask_fields(with_mask or configs)
    open_names = {name for setting in runs.settings for name in setting} | set(runs.space)
    if (weight := shared_hybrid_weight(runs.settings)) is not None:
        names.append("mask.hybrid_weight")
        open_names -= {"mask.hybrid_weight"}
    parts = [
        field(name).caption.format(
            cell(weight)
            if name == "mask.hybrid_weight"
            else field_values(name, with_mask or configs)
        )
        for name in names
        if name not in open_names
    ]
    return f"masks: {', '.join([*parts, *_reads_validation(with_mask)])}; "


def _reads_validation(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """What no other mask does: the labels that a search is scored on decide it, too."""
    on_server = [
        config
        for config in configs
        if (config.get("mask.scope"), config.get("mask.source")) == ("shared", "server")
    ]
    reads = {
        "the empirical Fisher": any(
            config.get("mask.rule") in FISHER_RULES and config.get("mask.fisher") == "empirical"
            for config in on_server
        ),
        "the saliency": any(config.get("mask.rule") == "most_salient" for config in on_server),
    }
    return [f"{what} of the server reads the validation labels" for what in reads if reads[what]]


def shared_hybrid_weight(settings: Sequence[Mapping[str, Any]]) -> object | None:
    """The weight of Fisher against magnitude that all arms with hybrid masks set."""
    weights = {setting.get("mask.hybrid_weight") for setting in settings} - {None}
    return weights.pop() if len(weights) == 1 else None


def _mask_fields(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The settings that mean something under these masks."""
    scopes = {config.get("mask.scope") for config in configs}
    fields = ["rule", "rounds", "scope"]
    if any(known(config.get("mask.threshold")) for config in configs):
        fields.insert(1, "threshold")
    if not all(known(config.get("mask.threshold")) for config in configs):
        fields.insert(1, "sparsity")
    if any(config.get("mask.preset", "none") != "none" for config in configs):
        fields.insert(0, "preset")
    if "shared" in scopes:
        fields.append("source")
    fields += ["layers", "granularity"]
    rules = {config.get("mask.rule") for config in configs}
    fields += ["fisher"] if rules & {*FISHER_RULES} else []
    fields += ["examples", "dropped_weight"] if rules & {*EXAMPLE_RULES} else []
    fields.append("min_active")
    rare = ("min_share", "recalibrate", "size_power")
    fields += [name for name in rare if any(config.get(f"mask.{name}") for config in configs)]
    if "per_client" in scopes:
        fields.append("average")
    return [f"mask.{name}" for name in fields]
