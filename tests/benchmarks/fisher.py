"""Seconds of an exact diagonal Fisher: one backward pass an example, and ours; peak memory.

    PYTHONPATH=tests python tests/benchmarks/fisher.py --examples 256

ViT-Ti/16 at image_size 32, patch 8 by default (--size 224 --patch 16: the pre-trained shape), all
5.4 M parameters, random weights and images. Both take turns in one process; CPU seconds of it,
which other work on the machine stretches less than it does wall seconds. Then, in a process of
its own, a calibration of ViT-S/16 at 224 px with the default `mask.batch_size`: peak memory (RSS)
of that whole process.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from reference import looped_fisher, relative_error

from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.mask_section import MaskConfig
from fl_core.config.sections import BackboneConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import ImageSource
from fl_core.masks.fisher import fisher
from fl_core.models.backbone import Classifier, build_backbone
from fl_core.models.heads import linear_head

CLASSES = 100


def setting(name: str, size: int, patch: int, examples: int) -> tuple[FlatModule, ImageSource]:
    """A model whose head has learned something (noise), and 32-pixel images for it."""
    config = BackboneConfig(name=name, weights="random", image_size=size, patch_size=patch)
    backbone, features, preprocess = build_backbone(config)
    model = Classifier(backbone, linear_head(features, CLASSES))
    rng = stream(0, "benchmark")
    weight = rng.standard_normal((CLASSES, features), dtype=np.float32) / features**0.5
    model.head.weight.data.copy_(torch.from_numpy(weight))
    pixels = torch.from_numpy(rng.integers(0, 256, (examples, 3, 32, 32), dtype=np.uint8))
    labels = torch.from_numpy(rng.integers(0, CLASSES, examples))
    return FlatModule(model), ImageSource(pixels, labels, preprocess, TrialConfig().data)


def seconds(run: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def memory(batch_size: int, examples: int) -> None:
    """The calibration whose memory is measured; prints it."""
    model, source = setting("vit_small_patch16_224", 224, 16, examples)
    fisher(model, source, np.arange(examples), "sampled", batch_size, stream(0, "labels"))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"ViT-S/16, 224 px, batch {batch_size}: peak {peak:.2f} GiB")


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=256)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--patch", type=int, default=8)
    parser.add_argument("--kind", default="sampled", choices=("sampled", "talos", "empirical"))
    parser.add_argument("--batch-size", type=int, default=MaskConfig().batch_size)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-only", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_only:
        memory(args.batch_size, 2 * args.batch_size)
        return
    model, source = setting("vit_tiny_patch16_224", args.size, args.patch, args.examples)
    indices = np.arange(args.examples)
    loops, ours = [], []
    for repeat in range(args.repeats):
        loop, right = seconds(
            lambda: looped_fisher(model, source, indices, args.kind, stream(0, "labels"))
        )
        mine, found = seconds(
            lambda: fisher(model, source, indices, args.kind, args.batch_size, stream(0, "labels"))
        )
        loops.append(loop)
        ours.append(mine)
        error = relative_error(found, right)
        print(
            f"{repeat}: loop {loop:.2f} s, ours {mine:.2f} s, {loop / mine:.2f} times, {error:.1e}"
        )
    ratio = statistics.median(a / b for a, b in zip(loops, ours, strict=True))
    print(
        f"ViT-Ti, {args.size} px, patch {args.patch}, {args.examples} examples, {args.threads} "
        f"thread(s): loop {min(loops):.2f} s, ours {min(ours):.2f} s, median ratio {ratio:.2f}"
    )
    command = [sys.executable, __file__, "--memory-only", "--batch-size", str(args.batch_size)]
    subprocess.run([*command, "--threads", str(args.threads)], check=True)


if __name__ == "__main__":
    main()
