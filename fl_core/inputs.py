"""What the stages work on: a federation of clients on images or text, or on features of images.

Examples, features and partitions stay in memory from trial to trial of a process (`forget_inputs`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import numpy as np
import torch
from torch import Tensor

from fl_core.base.machine import Machine
from fl_core.base.params import FlatModule, Layout
from fl_core.base.rng import stream
from fl_core.config.fields import refuse
from fl_core.config.method_sections import LocalConfig
from fl_core.config.own import is_own
from fl_core.config.sections import DataConfig, FederationConfig
from fl_core.config.text_combinations import check_reading
from fl_core.config.trial_config import TrialConfig
from fl_core.data.catalogue import DATA_SETS
from fl_core.data.sharding import class_counts, shard
from fl_core.data.sources import (
    ImageSource,
    Preprocess,
    Source,
    TokenSource,
    exemplars,
    split_train_val,
    train_sample,
)
from fl_core.data.task import Examples
from fl_core.data.tasks import load_examples, task_of
from fl_core.federated.state import Federation
from fl_core.models.backbone import Classifier, build_backbone, check_own_model
from fl_core.models.features import extract_features, forget_features
from fl_core.models.heads import build_head


def feature_federation(config: TrialConfig, machine: Machine) -> Federation:
    """The classifier alone, on cached features."""
    if task_of(config.data).inputs == "tokens":
        check_reading(config)
    source = extract_features(config, machine)
    classes = task_of(config.data).classes
    model = build_head(config.head, source.features.shape[1], classes, config.seed)
    return _federation(config, FlatModule(model.to(machine.device)), source)


def model_federation(config: TrialConfig, machine: Machine, head: Tensor | None) -> Federation:
    """The whole classifier on images or text, with the part that the strategy trains unfrozen."""
    if (kind := task_of(config.data).inputs) == "features":
        allowed = f"data.name={config.data.name!r} has {kind}, not images: only head"
        raise refuse("fine_tune.strategy", config.fine_tune.strategy, allowed)
    if kind == "tokens":
        check_reading(config)
    model, preprocess = build_classifier(config, machine, head)
    source = _source(config, _loaded(config.data, machine, train=True), preprocess)
    return _federation(config, FlatModule(model), source)


def _source(
    config: TrialConfig, examples: Examples, preprocess: Preprocess
) -> ImageSource | TokenSource:
    """Examples as a model reads them."""
    inputs, labels, owners = examples
    if task_of(config.data).inputs == "tokens":
        return TokenSource(inputs, labels, config.data.scored == "every", owners)
    return ImageSource(inputs, labels, preprocess, config.data, owners)


def _federation(config: TrialConfig, model: FlatModule, source: Source) -> Federation:
    labels = source.labels.cpu().numpy()
    _, val = split_train_val(labels, config.data)
    shards = partition(config, labels, source.owners)
    _check_batch(config, sum(map(len, shards)))
    counts = class_counts(labels, shards, task_of(config.data).classes)
    fed = Federation(model, source, source.subset(val) if len(val) else None, shards, counts)
    if config.eval_train and len(sample := train_sample(labels, config.data)):
        fed.train_sample = source.subset(sample)
    if config.timing.asks_exemplars:
        fed.exemplars = source.subset(exemplars(labels, config.data))
    return fed


def _check_batch(config: TrialConfig, examples: int) -> None:
    """ConfigError for a batch that was asked for and is larger than the data. Of data sets whose
    size is known the configuration finds it out; the default batch gives way to few examples.
    """
    batch = config.local.batch_size
    if config.data.name not in DATA_SETS and batch > max(examples, LocalConfig.batch_size):
        has = f"data.name={config.data.name} has only {examples} training examples"
        raise refuse("local.batch_size", batch, has)


def partition(
    config: TrialConfig, labels: np.ndarray, owners: Tensor | None = None
) -> list[np.ndarray]:
    """Each client's training indices, a function of the split, the sharding and the seed."""
    content = labels.astype(np.int64).tobytes()
    whose = None if owners is None else owners.cpu().numpy().tobytes()
    return _partition(content, whose, config.data, config.federation, config.seed)


@lru_cache(maxsize=16)
def _partition(
    labels: bytes, owners: bytes | None, data: DataConfig, federation: FederationConfig, seed: int
) -> list[np.ndarray]:
    """Kept in memory: the trials of an arm share it."""
    classes = np.frombuffer(labels, dtype=np.int64)
    train, _ = split_train_val(classes, data)
    whose = None if owners is None else np.frombuffer(owners, dtype=np.int64)[train]
    shards = shard(classes[train], federation, stream(seed, "shard"), whose)
    return [train[indices] for indices in shards]


def build_classifier(
    config: TrialConfig, machine: Machine, head: Tensor | None
) -> tuple[Classifier, Preprocess]:
    """The backbone with its head, on the device, frozen but for the trainable part."""
    classes = task_of(config.data).classes
    backbone, features, preprocess = build_backbone(
        config.backbone, machine.weights_file, config.seed, classes
    )
    if is_own(config.backbone.name) and task_of(config.data).inputs == "images":
        check_own_model(backbone, features, config.backbone)
    # behind a head of zeros the backbone has no Fisher information
    zeros = config.fine_tune.strategy != "sparse_full"
    classifier = build_head(config.head, features, classes, config.seed, zeros=zeros)
    model = Classifier(backbone, classifier)
    if head is not None:
        layout = Layout.of(model.head.named_parameters())
        model.head.load_state_dict(layout.views(head.cpu()))
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
    inputs, labels, _ = _loaded(config.data, machine, train=False)
    match fed.train:
        case TokenSource(every=every):
            return TokenSource(inputs, labels, every)
        case train:
            return ImageSource(inputs, labels, cast("ImageSource", train).preprocess, config.data)


@lru_cache(maxsize=2)
def _loaded(data: DataConfig, machine: Machine, *, train: bool) -> Examples:
    """Images or windows of text, and labels, on the device, read once per process."""
    return load_examples(data, machine, train=train).to(machine.device)


def forget_inputs() -> None:
    """Give back the memory of examples and features that this process keeps."""
    _loaded.cache_clear()
    forget_features()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
