"""Every method by name: the fields that choose one, their choices, and what each choice reads.

Standard library only: `fl_core` builds the sections of the configuration from it, `analysis` the
conditions of a table.
"""

from __future__ import annotations

from collections.abc import Mapping

#: The fields that choose how it is trained, one a seam: each choice with the fields of its section
#: that it alone reads. The first choices together are FedAvg.
METHODS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "local.rule": {
        "plain": (),
        "prox": ("mu",),
        "scaffold": ("option",),
        "dyn": ("alpha",),
        "ghbm": ("beta", "tau"),
        "hbm": ("beta",),
        "cm": ("alpha",),
    },
    "local.optimiser": {
        "sgdm": ("momentum", "dampening", "nesterov"),
        "lars": ("momentum", "dampening", "nesterov", "trust"),
        "lamb": ("beta1", "beta2", "eps"),
        "adamw": ("beta1", "beta2", "eps"),
    },
    "local.lr_scaling": {"none": (), "linear": ("base_batch",), "sqrt": ("base_batch",)},
    "local.blend": {"none": (), "fisher": (), "fisher_all": ()},
    "server.optimiser": {
        "sgd": (),
        "momentum": ("momentum",),
        "adagrad": ("beta1", "tau", "bias_correction"),
        "adam": ("beta1", "beta2", "tau", "bias_correction"),
        "yogi": ("beta1", "beta2", "tau", "bias_correction"),
        "slowmo": ("momentum",),
        "nesterov": ("momentum",),
    },
    "schedule.name": {
        "constant": (),
        "cosine": (),
        "step": ("step_size", "gamma"),
        "warmup_cosine": ("warmup",),
    },
    "schedule.steps": {
        "constant": (),
        "adacomm": ("interval", "shrink"),
        "post_local": ("switch",),
    },
    "schedule.batch": {"constant": (), "noise_scale": ("batch_most", "smoothing")},
    "mask.schedule": {
        "constant": (),
        "linear": ("sparsity_end",),
        "cosine": ("sparsity_end",),
    },
    "select.rule": {
        "uniform": ("reweight",),
        "dirichlet": ("gamma", "reweight"),
        "cyclic": (),
        "power_of_choice": ("candidates", "examples"),
        "availability": ("presence",),
    },
    "head.loss": {"cross_entropy": (), "one_vs_all": ()},
    "aggregate.rule": {
        "mean": (),
        "median": (),
        "trimmed_mean": ("trim",),
        "norm_bound": ("bound",),
        "geometric_median": (),
        "krum": ("byzantine",),
        "multi_krum": ("byzantine",),
        "bulyan": ("byzantine",),
        "secure_zero_sum": ("noise",),
        "secure": ("clip", "bits", "modulus_bits", "threshold"),
    },
    "attack.rule": {
        "none": (),
        "label_flip": ("share",),
        "noisy_inputs": ("share", "scale"),
        "sign_flip": ("share", "scale"),
        "gaussian": ("share", "scale"),
    },
    "timing.mode": {
        "synchronous": ("deadline",),
        "buffered": ("buffer", "staleness", "mixing"),
        "superclients": ("deadline", "grouping", "chain", "examples", "pretraining"),
    },
    "timing.grouping": {"confidence": ("pretraining",), "oracle": (), "random": ()},
    "personal.rule": {
        "none": (),
        "local": (),
        "fedper": (),
        "fedrep": ("steps",),
        "fedbn": (),
        "ditto": ("lambda_", "steps"),
        "fine_tune": ("steps",),
    },
}
#: Local rules that need a plain sum over the round's clients, beside the aggregate.
SUMMING = ("scaffold", "dyn")
#: Local rules that correct the gradient, whatever steps along it; the others take a step for the
#: gradient times the rate, which is SGD's.
CORRECTING = ("plain", "prox")
#: Optimisers that scale the step of a tensor by its norm.
LAYERWISE = ("lars", "lamb")
#: Aggregates by which the server sees no client's update, only their sum.
SECURE = ("secure_zero_sum", "secure")
#: Aggregates that a few attackers cannot move far; those that vote on every entry by itself, and
#: those that compare whole updates with each other.
ROBUST = tuple(name for name in METHODS["aggregate.rule"] if name not in ("mean", *SECURE))
BY_ENTRY = ("median", "trimmed_mean")
COMPARING = ("krum", "multi_krum", "bulyan")
#: Aggregates for which all of a round's updates are in memory at once.
HOLDING = (*BY_ENTRY, *COMPARING, "geometric_median", "secure")
#: Those for which clients have to answer once more when all updates are in.
ASKING_AGAIN = ("secure",)


def unread(name: str, values: Mapping[str, object]) -> bool:
    """Whether a configuration's method does not read this field, so that its value means nothing.

    >>> unread("select.gamma", {"select.rule": "cyclic"}), unread("select.gamma", {})
    (True, False)
    """
    section, _, own = name.rpartition(".")
    for chooser, choices in METHODS.items():
        made = values.get(chooser)
        if chooser.rpartition(".")[0] == section and made in choices:
            others = {one for choice, fields in choices.items() if choice != made for one in fields}
            if own in others - set(choices[str(made)]):
                return True
    return False
