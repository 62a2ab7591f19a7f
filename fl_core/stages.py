"""The stages of a trial: features -> head -> masks -> fine-tuning.

Each stage's artefact is stored under a hash of exactly the configuration fields it reads, so a
search over fine-tuning computes features, head and masks once, however many trials share them.
"""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from fl_core.base.machine import Machine
from fl_core.base.params import FlatModule, Layout
from fl_core.base.rng import stream
from fl_core.config.artefact import stage_artefact
from fl_core.config.fields import refuse
from fl_core.config.sections import (
    DataConfig,
    FederationConfig,
)
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sharding import PARTITION_READS, class_counts, shard
from fl_core.data.sources import (
    ImageSource,
    Preprocess,
    Source,
    split_train_val,
    train_sample,
)
from fl_core.data.tasks import load_examples, task_of
from fl_core.federated.cost import Cost, cost_of_ridge, cost_of_temperature
from fl_core.federated.messages import encode
from fl_core.federated.rounds import fedavg
from fl_core.federated.rules.table import rule_of
from fl_core.federated.state import Federation, State
from fl_core.masks.calibration import Calibration
from fl_core.models.backbone import Classifier, build_backbone, linear_head
from fl_core.models.features import extract_features, forget_features
from fl_core.models.ridge import ridge_head, ridge_statistics, summed
from fl_core.models.temperature import (
    SENT_DOWN,
    SENT_UP,
    Fit,
    derivatives,
    fit_scale,
    margins,
    spread_of,
)

#: The fields that decide the ridge statistics, and a head that FedAvg learns.
RIDGE_READS = (*PARTITION_READS, "backbone.")
TEMPERATURE_READS = (*RIDGE_READS, "head.ridge_lambda")
FEDAVG_HEAD_READS = (*RIDGE_READS, "federation.participation", "head.rounds", "head.local.")
#: The fields that decide which images, features, heads, shards and calibration examples there are.
INPUT_READS = (*PARTITION_READS, "backbone.", "federation.participation", "head.",
               "fine_tune.strategy", "mask.layers", "mask.scope", "mask.source",
               "mask.examples")  # fmt: skip


def partition(config: TrialConfig, labels: np.ndarray) -> list[np.ndarray]:
    """Each client's training indices, a function of the split, the sharding and the seed."""
    content = labels.astype(np.int64).tobytes()
    return _partition(content, config.data, config.federation, config.seed)


@lru_cache(maxsize=16)
def _partition(
    labels: bytes, data: DataConfig, federation: FederationConfig, seed: int
) -> list[np.ndarray]:
    """Kept in memory: the trials of an arm share it."""
    classes = np.frombuffer(labels, dtype=np.int64)
    train, _ = split_train_val(classes, data)
    shards = shard(classes[train], federation, stream(seed, "shard"))
    return [train[indices] for indices in shards]


def train_head(config: TrialConfig, machine: Machine) -> Tensor | None:
    """Stage 2: a flat linear head (C * D + C,) on frozen features; None for `head.method=none`."""
    match config.head.method:
        case "ridge":
            head, _ = _unscaled_head(config, machine)
            head *= fitted_scale(config, machine).scale  # weight and bias both
        case "fedavg":
            head = _fedavg_artefact(config, machine)["head"]
        case _:
            return None
    return head.to(machine.device)


def fitted_scale(config: TrialConfig, machine: Machine) -> Fit:
    """1 / temperature of the ridge head: what the field says, or fitted on the clients' training
    examples, with the number of exchanges that took (see models.temperature).
    """
    temperature = config.head.temperature
    if temperature != "auto":
        return Fit(1 / float(temperature), 0)
    tensors = stage_artefact(
        "temperature", config, machine, TEMPERATURE_READS, lambda read: _fit(read, machine)
    )
    return Fit(float(tensors["scale"]), int(tensors["evaluations"]))


def _fit(config: TrialConfig, machine: Machine) -> dict[str, Tensor]:
    """The sums of all clients at once: to add them up client by client would change nothing."""
    head, gram = _unscaled_head(config, machine)
    fed = _feature_federation(config, machine)
    # sorted: the same sums, to the bit, however the examples are spread
    chosen = torch.from_numpy(np.sort(np.concatenate(fed.shards))).to(machine.device)
    of_label = margins(head.to(machine.device), fed.train.batch(chosen), fed.train.labels[chosen])

    def evaluate(scale: float) -> tuple[float, float]:
        slope, curvature = (derivatives(of_label, scale) / len(of_label)).tolist()
        return slope, curvature

    fit = fit_scale(evaluate, spread_of(gram, head))
    return {
        "scale": torch.tensor(fit.scale, dtype=torch.float64),
        "evaluations": torch.tensor(fit.evaluations),
    }


def _unscaled_head(config: TrialConfig, machine: Machine) -> tuple[Tensor, Tensor]:
    """The ridge head as the regression gives it, and X^T X."""
    tensors = stage_artefact(
        "ridge", config, machine, RIDGE_READS, lambda read: _ridge_statistics(read, machine)
    )
    head = ridge_head(tensors["gram"], tensors["target"], config.head.ridge_lambda)
    return head, tensors["gram"]


def _ridge_statistics(config: TrialConfig, machine: Machine) -> dict[str, Tensor]:
    """Every client's statistics, summed: one communication round, whatever the penalty."""
    fed = _feature_federation(config, machine)
    labels, classes = fed.train.labels, task_of(config.data.name).classes
    chosen = (torch.from_numpy(indices).to(labels.device) for indices in fed.shards)
    gram, target = summed(ridge_statistics(fed.train.batch(c), labels[c], classes) for c in chosen)
    return {"gram": gram, "target": target}


def _fedavg_artefact(config: TrialConfig, machine: Machine) -> dict[str, Tensor]:
    """A learnt head, and what it cost."""
    return stage_artefact(
        "head", config, machine, FEDAVG_HEAD_READS, lambda read: _fedavg_head(read, machine)
    )


def _fedavg_head(config: TrialConfig, machine: Machine) -> dict[str, Tensor]:
    """The head that the same loop learns, with the settings of the section `head` for its clients
    and all others at their defaults: dense, averaged plainly.
    """
    fed = _feature_federation(config, machine)
    rounds, local = config.head.rounds, config.head.local.to_flat()
    stage = config.only((*RIDGE_READS, "federation.participation")).override(
        {
            **{name.removeprefix("head."): value for name, value in local.items()},
            "local.keep_momentum": config.federation.clients == 1,
            "rounds": rounds,
            "eval_every": rounds,
        }
    )
    last = list(fedavg(stage, fed, State(fed.model.flat.clone())))[-1]
    spent = (last.metrics[name] for name in ("bytes_up", "bytes_down", "local_steps"))
    cost = Cost(*map(int, spent))
    return {"head": last.state.params, "cost": cost.to_tensor()}


def prepare(config: TrialConfig, machine: Machine) -> tuple[Federation, State]:
    """The inputs of the main stage: the federation, and the state before its first round.

    Masks are checked here, and calibrated when they are first asked for.
    """
    head = train_head(config, machine)
    if config.part == "head":
        fed = _feature_federation(config, machine)
        start = fed.model.flat.clone() if head is None else head
    else:
        fed = _image_federation(config, machine, head)
        start = fed.model.flat.clone()
    fisher = bool(rule_of(config.local).fisher)
    calibration = None
    if config.mask.in_force or fisher:
        calibration = Calibration(config, machine, fed.model, fed.train, fed.shards, start, fisher)
        fed.masks = calibration if config.mask.in_force else None
        fed.fisher = calibration.client_fisher if fisher else None
        fed.all_fisher = calibration.all_fisher if fisher else None
    fed.before = partial(_before, config, machine, head, calibration)
    if config.part == "backbone" and head is not None:
        fed.beside = len(encode(head, None, "dense"))
    return fed, State(start)


def _before(
    config: TrialConfig, machine: Machine, head: Tensor | None, calibration: Calibration | None
) -> dict[str, Cost]:
    """What the stages before the main one have cost: those that sent anything.

    A shared mask is calibrated here, if it was not yet.
    """
    costs: dict[str, Cost] = {}
    if head is not None:
        costs["head"] = head_cost(config, machine, head)
    if config.mask.in_force and calibration is not None and any(calibration.cost()):
        costs["masks"] = calibration.cost()
    return costs


def head_cost(config: TrialConfig, machine: Machine, head: Tensor) -> Cost:
    """What this head (C * D + C,) took. It goes to the clients as a part of the main stage."""
    if config.head.method == "fedavg":
        return Cost.of(_fedavg_artefact(config, machine)["cost"])
    clients, classes = config.federation.clients, task_of(config.data.name).classes
    evaluations = fitted_scale(config, machine).evaluations
    searched = cost_of_temperature(head, evaluations, (SENT_DOWN, SENT_UP), clients)
    return cost_of_ridge(len(head) // classes, classes, clients).plus(searched)


def realised_partition(config: TrialConfig, machine: Machine) -> np.ndarray:
    """(clients, classes) examples of each class at each client.

    Also loads, downloads or computes everything the stages of this configuration read, so that a
    study fails here, before any worker starts, if it fails.
    """
    fed, _ = prepare(config, machine)
    return fed.class_counts


def forget_inputs() -> None:
    """Give back the memory of images and features that this process keeps."""
    _images.cache_clear()
    forget_features()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _feature_federation(config: TrialConfig, machine: Machine) -> Federation:
    """A linear model on cached features."""
    source = extract_features(config, machine)
    model = linear_head(source.features.shape[1], task_of(config.data.name).classes)
    return _federation(config, FlatModule(model.to(machine.device)), source)


def _image_federation(config: TrialConfig, machine: Machine, head: Tensor | None) -> Federation:
    """The whole classifier on images, with the part that the strategy trains unfrozen."""
    if task_of(config.data.name).features:
        allowed = f"data.name={config.data.name!r} has features, not images: only head"
        raise refuse("fine_tune.strategy", config.fine_tune.strategy, allowed)
    model, preprocess = build_classifier(config, machine, head)
    images = _images(config.data.name, machine.data_dir, machine.device, train=True)
    source = ImageSource(*images, preprocess, config.data)
    return _federation(config, FlatModule(model), source)


def _federation(config: TrialConfig, model: FlatModule, source: Source) -> Federation:
    labels = source.labels.cpu().numpy()
    _, val = split_train_val(labels, config.data)
    shards = partition(config, labels)
    counts = class_counts(labels, shards, task_of(config.data.name).classes)
    fed = Federation(model, source, source.subset(val) if len(val) else None, shards, counts)
    if config.eval_train and len(sample := train_sample(labels, config.data)):
        fed.train_sample = source.subset(sample)
    return fed


def build_classifier(
    config: TrialConfig, machine: Machine, head: Tensor | None
) -> tuple[Classifier, Preprocess]:
    """The backbone with its head, on the device, frozen but for the trainable part."""
    backbone, features, preprocess = build_backbone(
        config.backbone, machine.weights_file, config.seed
    )
    model = Classifier(backbone, features, task_of(config.data.name).classes)
    if head is not None:
        layout = Layout.of(model.head.named_parameters())
        model.head.load_state_dict(layout.views(head.cpu()))
    elif config.fine_tune.strategy == "sparse_full":
        # behind a head of zeros the backbone has no Fisher information: timm's own scale
        draws = stream(config.seed, "head").standard_normal(model.head.weight.shape, np.float32)
        model.head.weight.data.copy_(torch.from_numpy(0.02 * draws))
    model.backbone.requires_grad_(config.part in ("backbone", "full"))
    model.head.requires_grad_(config.part in ("head", "full"))
    if not machine.device.startswith("cuda"):  # no slower on a CPU, and vmap knows it
        for module in model.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = False  # type: ignore[assignment]
    return model.to(machine.device), preprocess


def test_source(config: TrialConfig, machine: Machine, fed: Federation) -> Source:
    """The test set as the federation's model reads it. Only `Trial` may, for a confirmation."""
    if config.part == "head":
        return extract_features(config, machine, part="test")
    images = _images(config.data.name, machine.data_dir, machine.device, train=False)
    return ImageSource(*images, cast("ImageSource", fed.train).preprocess, config.data)


@lru_cache(maxsize=2)
def _images(name: str, data_dir: Path, device: str, *, train: bool) -> tuple[Tensor, Tensor]:
    """Images and labels on the device, read once per process."""
    pixels, labels = load_examples(name, data_dir, train=train)
    return pixels.to(device), labels.to(device)
