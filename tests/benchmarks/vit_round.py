"""Seconds of one round of a whole ViT: a plain torch loop, and ours.

    python tests/benchmarks/vit_round.py --clients 2 --steps 2

Ten clients x 4 steps x batch 64 of ViT-Ti at 32 px, patch 8 by default. Both take turns in one
process; ours runs through `fedavg` as a trial does, without its evaluation.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import numpy as np
import timm
import torch
import torch.nn.functional as F

from fl_core.base.machine import Machine
from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import ImageSource
from fl_core.federated.client import precision_context
from fl_core.federated.rounds import fedavg
from fl_core.federated.state import Federation, State
from fl_core.inputs import build_classifier


def plain(
    shards: list[np.ndarray], images: torch.Tensor, labels: torch.Tensor, config: TrialConfig
) -> Callable[[], None]:
    """timm's model, torch's optimiser, a deep copy of the state for each client."""
    own, local = config.backbone, config.local
    model = timm.create_model(
        own.name, num_classes=100, img_size=own.image_size, patch_size=own.patch_size or 16
    ).to(images.device)
    model.train()

    def run() -> None:
        server = copy.deepcopy(model.state_dict())
        mean = {name: torch.zeros_like(value) for name, value in server.items()}
        for shard in shards:
            model.load_state_dict(server)
            optimiser = torch.optim.SGD(model.parameters(), local.lr, local.momentum)
            order = torch.from_numpy(shard).to(images.device)
            for indices in order.split(local.batch_size)[: local.steps]:
                optimiser.zero_grad()
                with precision_context(images.device, config.compute.precision):
                    logits = model(images[indices])
                F.cross_entropy(logits.float(), labels[indices]).backward()
                optimiser.step()
            for name, value in model.state_dict().items():
                mean[name] += copy.deepcopy(value) / len(shards)
        model.load_state_dict(mean)

    return run


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=10)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backbone", default="vit_tiny_patch16_224")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--patch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--augment", action="store_true", help="flip and crop in ours")
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--execution", default="auto", choices=("auto", "sequential", "stacked"))
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    config = TrialConfig().override(
        {
            "backbone.name": args.backbone, "backbone.weights": "random",
            "backbone.image_size": args.image_size, "backbone.patch_size": args.patch_size,
            "federation.clients": args.clients, "federation.participation": 1.0, "rounds": 1,
            "local.steps": args.steps, "local.batch_size": args.batch_size, "local.lr": 0.01,
            "local.momentum": 0.9, "fine_tune.strategy": "full", "data.flip": args.augment,
            "data.crop": 4 if args.augment else 0, "compute.precision": args.precision,
            "compute.execution": args.execution,
        }
    )  # fmt: skip
    size = args.clients * args.steps * args.batch_size
    rng = stream(0, "images")
    pixels = torch.from_numpy(rng.integers(0, 256, (size, 3, 32, 32), dtype=np.uint8))
    labels = torch.from_numpy(rng.integers(0, 100, size)).to(args.device)
    shards = np.array_split(rng.permutation(size), args.clients)
    classifier, preprocess = build_classifier(config, Machine(device=args.device), None)
    source = ImageSource(pixels.to(args.device), labels, preprocess, config.data)
    model = FlatModule(classifier)
    start = model.flat.clone()
    fed = Federation(model, source, None, shards, np.ones((args.clients, 100)))
    images = preprocess(source.pixels)  # the plain loop finds them ready
    ways: dict[str, Callable[[], object]] = {
        "plain torch": plain(shards, images, labels, config),
        "ours": lambda: list(fedavg(config, fed, State(start))),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(args.repeats + 1):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            if args.device.startswith("cuda"):
                torch.cuda.synchronize()
            if repeat:  # the first is a warm-up
                times[name].append(time.perf_counter() - begin)
    print(
        f"{args.device}, {args.threads} thread(s), torch {torch.__version__}, {args.precision}, "
        f"{model.layout.size / 1e6:.1f} M parameters, {args.clients} clients x {args.steps} steps "
        f"x batch {args.batch_size}"
    )
    first = statistics.median(times["plain torch"])
    for name, values in times.items():
        median = statistics.median(values)
        rate = size / median
        print(f"{name:>12}  median {median:8.3f} s  min {min(values):8.3f} s  "
              f"{rate:7.0f} images/s  x{first / median:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
