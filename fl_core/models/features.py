"""Stage 1: features of a frozen backbone, once per (data, backbone, resolution).

Without augmentation a frozen backbone gives every image the same features in every step of
every trial, so they are computed once and a head trains on them a thousand times faster.
Stored as int8 with one scale per feature (symmetric, rounded to nearest), which costs less than
0.2 points of linear-probe accuracy (LOG.md). The artefact of the default data set x ViT-Ti/16 at
224 px ships with the package: the cache entry, already there. `make features` rebuilds it.

The training and the test tensors of the file are read apart: a search never loads the latter.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fl_core.base.cache import DamagedArtefact, cached, load_artefact, save_artefact
from fl_core.base.errors import UserError
from fl_core.base.machine import Machine
from fl_core.base.told import told
from fl_core.config.artefact import stage_key
from fl_core.config.own import is_own
from fl_core.config.sections import BackboneConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import FeatureSource, Preprocess
from fl_core.data.tasks import load_examples, task_of
from fl_core.models.backbone import build_backbone, check_own_model
from fl_core.models.weights import file_sha256

FEATURES_VERSION = 2  # part of every artefact's name; raised like TRIAL_VERSION
EMBEDDED = Path(__file__).parent / "embedded"
#: The fields that decide the features; with random weights also the seed.
READS = ("data.name", "data.path", "data.image_size", "backbone.")


def read_fields(config: TrialConfig) -> TrialConfig:
    """The part of a trial's configuration that this stage reads.

    The seed is that of random weights, which a model of the user's own may have, too: pre-trained
    ones do not depend on it.
    """
    random = config.backbone.weights == "random" or is_own(config.backbone.name)
    return config.only((*READS, "seed") if random else READS)


def features_path(config: TrialConfig, cache_dir: Path) -> Path:
    """Where the artefact lies: in the package if it ships with it, else in the cache."""
    key = stage_key("features", read_fields(config), FEATURES_VERSION)
    embedded = EMBEDDED / f"features-{key}.safetensors"
    return embedded if embedded.exists() else cache_dir / embedded.name


def extract_features(config: TrialConfig, machine: Machine, part: str = "train") -> FeatureSource:
    """Features (N, D) float32 and labels of `part` ("train" or "test"), on the device.

    Computed and stored if they are in neither the package nor the cache. Only the confirmation
    phase may ask for "test".
    """
    return _features(read_fields(config), machine, part)


@lru_cache(maxsize=2)
def _features(config: TrialConfig, machine: Machine, part: str) -> FeatureSource:
    """Kept in memory: a reused worker does not read them again."""
    if task_of(config.data).inputs == "features":
        examples = load_examples(config.data, machine, train=part == "train")
        return FeatureSource(*examples.to(machine.device))
    path = features_path(config, machine.cache_dir)
    if path.parent != EMBEDDED:
        tensors, _ = cached(path, lambda: compute_features(config, machine), part)
        return dequantise(tensors, part, machine.device)
    try:
        return dequantise(load_artefact(path, part)[0], part, machine.device)
    except DamagedArtefact as damage:
        raise UserError(
            f"{damage}: the embedded features are damaged; install the package again or rebuild "
            "them with python -m fl_core.models.features"
        ) from damage


def forget_features() -> None:
    """Give back the memory of features that this process keeps."""
    _features.cache_clear()


def dequantise(tensors: dict[str, Tensor], part: str, device: str) -> FeatureSource:
    """Stored tensors of one part back to float32 features and int64 labels."""
    features = tensors[f"{part}_features"].to(device).float() * tensors[f"{part}_scale"].to(device)
    owners = tensors.get(f"{part}_owners")
    labels = tensors[f"{part}_labels"].to(device).long()
    return FeatureSource(features, labels, None if owners is None else owners.to(device))


def quantise(features: Tensor, scale: Tensor) -> Tensor:
    """(N, D) float32 -> int8, `scale` (D,) being the value of one step."""
    return (features / scale).round().clamp(-127, 127).to(torch.int8)


def compute_features(
    config: TrialConfig, machine: Machine
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Run the backbone over all images: the artefact's tensors and its provenance."""
    import timm
    import torchvision

    own = config.backbone
    backbone, width, preprocess = build_backbone(
        own, machine.weights_file, config.seed, task_of(config.data).classes
    )
    if is_own(own.name):
        check_own_model(backbone, width, own)
    backbone = backbone.to(machine.device)
    tensors: dict[str, Tensor] = {}
    scale: Tensor | None = None
    for part in ("train", "test"):
        pixels, labels, owners = load_examples(config.data, machine, train=part == "train")
        features = _forward(backbone, pixels, preprocess, machine.device, part)
        if scale is None:  # from the training images alone
            scale = features.abs().amax(0).clamp_min(1e-12) / 127
        tensors[f"{part}_features"] = quantise(features, scale)
        tensors[f"{part}_labels"] = labels.to(torch.uint8 if labels.max() < 256 else torch.int32)
        tensors[f"{part}_scale"] = scale.clone()
        if owners is not None:
            tensors[f"{part}_owners"] = owners
    meta = {
        "source": f"{config.data.name}, all images, no augmentation",
        "backbone": f"{own.name}.{own.tag}",
        "weights_sha256": _weights_sha256(own, machine),
        "resolution": own.image_size,
        "preprocessing": f"{preprocess}",
        "storage": "int8, one symmetric scale per feature",
        "versions": {
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "timm": timm.__version__,
            "features": FEATURES_VERSION,
        },
        "command": "python -m fl_core.models.features",
    }
    return tensors, meta


@torch.inference_mode()
def _forward(
    backbone: nn.Module, pixels: Tensor, preprocess: Preprocess, device: str, part: str
) -> Tensor:
    """(N, 3, H, W) uint8 -> (N, D) float32 features, with a line of progress now and then."""
    batch = 512 if device.startswith("cuda") else 64
    chunks = told(torch.split(pixels, batch), f"features ({part})", len(pixels), len)
    return torch.cat([backbone(preprocess(chunk.to(device))).float().cpu() for chunk in chunks])


def _weights_sha256(config: BackboneConfig, machine: Machine) -> str:
    if is_own(config.name) and not config.weights.startswith("sha256:"):
        return "its own"
    if machine.weights_file is not None:
        return file_sha256(machine.weights_file)
    return f"timm's download of {config.tag}" if config.weights == "pretrained" else "none"


def known_weights(weights_file: Path) -> str:
    """`backbone.weights` for a local file: "pretrained" if it is the file of the embedded features.

    The name of a file says nothing, its content everything: any other file is named by its hash,
    so that no artefact of other weights is ever taken for it.
    """
    digest = file_sha256(weights_file)
    known = [load_artefact(path, "none")[1] for path in EMBEDDED.glob("*.safetensors")]
    same = any(meta["weights_sha256"] == digest for meta in known)
    return "pretrained" if same else f"sha256:{digest}"


def main(argv: Sequence[str] | None = None) -> None:
    """Rebuild the embedded artefact from the default data set and the ViT-Ti/16 weights."""
    import argparse

    # a mistake is one line: no usage above it
    parser = argparse.ArgumentParser(
        prog="python -m fl_core.models.features", description=main.__doc__, usage=argparse.SUPPRESS
    )
    add = parser.add_argument
    add("--data-dir", type=Path, default=Path("data"), help="folder of its images")
    add("--weights", type=Path, help="local weights file (default: timm's download)")
    there = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    add("--device", choices=there, default=there[-1])

    args = parser.parse_args(argv)
    try:
        if args.weights is not None:
            file_sha256(args.weights)  # before the images are looked for
        config = read_fields(TrialConfig())
        machine = Machine(args.device, args.data_dir, weights_file=args.weights)
        path = features_path(config, EMBEDDED)
        save_artefact(path, *compute_features(config, machine))
    except UserError as error:
        parser.exit(2, f"error: {error}\n")
    print(path)


if __name__ == "__main__":
    main()
