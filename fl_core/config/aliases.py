"""What a person may have meant by a name that is no configuration field."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from fl_core.config.vocabulary import FIELDS

#: What other code and papers call a field, beside its symbol and its column in a table. In lower
#: case with underscores where it is a word; further words say what else belongs to it.
ALIASES: Mapping[str, str] = {
    "learning_rate": "local.lr",
    "client_lr": "local.lr",
    "lr_client": "local.lr",
    "local_lr": "local.lr",
    "eta": "local.lr",
    "η": "local.lr",
    "eta_l": "local.lr",
    "server_lr": "server.lr",
    "lr_server": "server.lr",
    "global_lr": "server.lr",
    "server_learning_rate": "server.lr",
    "global_learning_rate": "server.lr",
    "eta_g": "server.lr",
    "epochs": "local.steps with local.unit=epochs",
    "epoch": "local.steps with local.unit=epochs",
    "local_epochs": "local.steps with local.unit=epochs",
    "num_epochs": "local.steps with local.unit=epochs",
    "E": "local.steps with local.unit=epochs",
    "local_steps": "local.steps",
    "num_steps": "local.steps",
    "steps": "local.steps",
    "communication_rounds": "rounds",
    "num_rounds": "rounds",
    "n_rounds": "rounds",
    "global_rounds": "rounds",
    "num_clients": "federation.clients",
    "n_clients": "federation.clients",
    "client_num_in_total": "federation.clients",
    "num_users": "federation.clients",
    "fraction": "federation.participation",
    "client_fraction": "federation.participation",
    "fraction_fit": "federation.participation",
    "frac": "federation.participation",
    "sample_rate": "federation.participation",
    "participation_rate": "federation.participation",
    "participation_ratio": "federation.participation",
    "nc": "federation.classes_per_client",
    "num_classes": "federation.classes_per_client",
    "num_classes_per_client": "federation.classes_per_client",
    "shards": "federation.classes_per_client",
    "dirichlet_alpha": "federation.alpha",
    "dirichlet": "federation.alpha",
    "alpha": "federation.alpha",
    "beta": "federation.alpha",
    "partition": "federation.sharding",
    "split": "federation.sharding",
    "iid": "federation.sharding",
    "batch_size": "local.batch_size",
    "batchsize": "local.batch_size",
    "bs": "local.batch_size",
    "B": "local.batch_size",
    "wd": "local.weight_decay",
    "l2": "local.weight_decay",
    "mu": "local.mu",
    "μ": "local.mu",
    "proximal_mu": "local.mu",
    "prox_mu": "local.mu",
    "optimizer": "server.optimiser",
    "optimiser": "server.optimiser",
    "server_optimizer": "server.optimiser",
    "server_momentum": "server.momentum",
    "clip": "local.clip",
    "grad_clip": "local.clip",
    "clip_grad": "local.clip",
    "max_grad_norm": "local.clip",
    "client_selection": "select.rule",
    "aggregator": "aggregate.rule",
    "aggregation": "aggregate.rule",
    "num_byzantine": "aggregate.byzantine",
    "attack_fraction": "attack.share",
    "attackers": "attack.share",
    "personalization": "personal.rule",
    "personalisation": "personal.rule",
    "mlp": "head.hidden",
    "hidden_size": "head.hidden",
    "hidden_dim": "head.hidden",
    "hidden_units": "head.hidden",
    "scheduler": "schedule.name",
    "lr_scheduler": "schedule.name",
    "lr_schedule": "schedule.name",
    "model": "backbone.name",
    "arch": "backbone.name",
    "architecture": "backbone.name",
    "backbone": "backbone.name",
    "resolution": "backbone.image_size",
    "img_size": "backbone.image_size",
    "dataset": "data.name",
    "data": "data.name",
    "validation_fraction": "data.val_fraction",
    "val_split": "data.val_fraction",
    "sparsity_ratio": "mask.sparsity",
    "sparsity_level": "mask.sparsity",
    "density": "mask.sparsity (the frozen share: 1 - density)",
    "calibration_rounds": "mask.rounds",
    "num_calibration_rounds": "mask.rounds",
    "calibration_examples": "mask.examples",
    "lambda": "head.ridge_lambda",
    "ridge": "head.ridge_lambda",
    "strategy": "fine_tune.strategy",
    "eval_interval": "eval_every",
    "early_stopping": "patience",
    "amp": "compute.precision",
    "precision": "compute.precision",
    "random_seed": "seed",
}


def meant(name: str, known: Iterable[str]) -> str:
    """The fields that a name may have meant, in words; nothing where none is like it.

    >>> meant("local.learning_rate", ["local.lr", "server.lr"]), meant("K", ["federation.clients"])
    ('local.lr', 'federation.clients')
    """
    known = list(known)
    group, _, leaf = name.replace("-", "_").rpartition(".")
    whole = _alias(group)
    if whole in known and whole.rpartition(".")[2] == leaf:  # model.name as model alone
        return whole
    alias = _alias(leaf)
    target, _, note = alias.partition(" ")
    inside = [one for one in known if group and one.startswith(f"{group}.")]
    leaves = {leaf, target.rpartition(".")[2]} - {""}
    found = [one for one in inside if one.rpartition(".")[2].rstrip("_") in leaves]  # lambda_
    if found:
        also = f" {note}" if note and target in found else ""
        return " or ".join(found) + also
    if target in known:
        return alias
    ends = [one for one in known if one.rpartition(".")[2] == leaf]
    alike = difflib.get_close_matches(name, ends if ends and group else known, n=1)
    return " or ".join(alike if group else ends or alike)


def _alias(leaf: str) -> str:
    """What a name without its group stands for: a symbol as it is written, a word in any case."""
    symbols: dict[str, str] = {}
    for name, shown in FIELDS.items():
        for symbol in (shown.column, shown.symbol):
            symbols.setdefault(symbol.replace(" ", "_"), name)
    words = {symbol.lower(): name for symbol, name in symbols.items() if len(symbol) > 1}
    known = {**words, **symbols, **ALIASES}
    return known.get(leaf) or known.get(leaf.lower(), "")
