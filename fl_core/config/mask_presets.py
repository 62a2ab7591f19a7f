"""Values of the section `mask` that go together under a name, `mask.preset`.

`talos` is TaLoS as its authors describe and run it (Iurada et al., "Efficient Model Editing with
Task-Localized Sparse Fine-tuning", ICLR 2025; github.com/iurada/talos-task-arithmetic). What this
suite does by default differs from it:

                        this suite's default                TaLoS (mask.preset=talos)
    score               squared gradient of log p(y | x)    of the LOGIT of y
    label y             one an example, drawn from the model's softmax; the same in both
    examples            256                                 a tenth of the training set, <= 5,000
    layers              all that the strategy trains        linear, attention, norm, conv
    guard               each tensor keeps an entry          none: whole tensors freeze
    rounds, sparsity    1, none                             4, 0.9
    threshold           one for all layers, an exact number of entries; the same in both
    dropped weights     times 0.1 while calibrating; the same in both

Layers and guard are what makes another mask; the score hardly does (Jaccard indices in LOG.md).
Class token and position embedding are few entries, but a default calibration drops most of them,
and the later rounds score a model in which they are damped: the first round's scores are the same.

What even the preset does not copy of the authors' released code, read in November 2026:

- class token, position embedding and CLIP's projection are trainable there and NOT masked (they
  belong to a module with children, and only modules without are frozen); the paper says frozen,
  and so they are here.
- its calibration images go through the training augmentation (random resized crops); ours don't.
- it keeps every score equal to the threshold and truncates the number of entries; here the number
  is exact and the seed chooses between equal scores.
- a head comes from CLIP's text encoder there; here from `head.method`. It is frozen in both.
- it trains with AdamW, whose step and weight decay it masks; SGD with momentum, masked, here.
"""

from __future__ import annotations

from collections.abc import Mapping

from fl_core.config.fields import Value

#: What a preset is; another value is refused.
CONVENTIONS: Mapping[str, Mapping[str, Value]] = {
    "none": {},
    "talos": {
        "mask.layers": "linear+attention+norm+conv",
        "mask.granularity": "global",
        "mask.min_active": 0,
        "mask.min_share": 0.0,
        "mask.fisher": "talos",
        "mask.dropped_weight": 0.1,
    },
}
#: What it says besides, of the question's own parameters: a value that is given wins.
USUAL: Mapping[str, Mapping[str, Value]] = {
    "none": {},
    "talos": {
        "mask.rule": "least_sensitive",
        "mask.sparsity": 0.9,
        "mask.rounds": 4,
        "mask.examples": 5000,  # a tenth of 50,000, and the most that they take
    },
}


def conventions(values: Mapping[str, Value]) -> Mapping[str, Value]:
    """What the preset among these values fixes; nothing where there is none."""
    return CONVENTIONS.get(str(values.get("mask.preset", "none")), {})


def with_preset(values: Mapping[str, Value]) -> dict[str, Value]:
    """These values, and those of the preset among them that they do not give themselves."""
    usual = USUAL.get(str(values.get("mask.preset", "none")), {})
    return {**usual, **conventions(values), **values}
