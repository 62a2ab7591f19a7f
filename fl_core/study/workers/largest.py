"""The configuration of a study that needs the most memory.

Which one it is must be known before anything runs, so it is estimated from the fields that decide
it. The estimate is there to RANK configurations, never to say how much they need: what the winner
needs is measured (fl_core.study.workers.gpu).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from fl_core.base.errors import ConfigError
from fl_core.config.fields import is_read
from fl_core.config.methods import HOLDING
from fl_core.config.own import is_own
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.data.catalogue import DATA_SETS
from fl_core.data.tasks import task_of
from fl_core.federated.memory import LIMIT
from fl_core.federated.rules.table import rule_of
from fl_core.study.jobs import Arm
from fl_core.study.plan import Space
from fl_core.study.search.space import various_points
from fl_core.study.settled import within

#: Parameters and width of a backbone by the word in its name; the last is for names without one.
SIZES = {"tiny": (6e6, 192), "small": (22e6, 384), "base": (86e6, 768), "large": (304e6, 1024),
         "huge": (632e6, 1280), "cnn": (2e6, 64), "": (25e6, 512)}  # fmt: skip
#: The same of networks by their whole names. They have no tokens: their width is that of the
#: transformer, by this account, whose layers keep as many numbers of an image.
NETS = {"cnn": (2e6, 135), "lenet": (8e5, 157), "mlp": (5e5, 1), "char_lstm": (8e5, 6),
        "char_lstm_small": (6e4, 2),
        "resnet18_gn": (11e6, 135), "resnet18_gn_small": (11e6, 2000)}  # fmt: skip
#: The fields that the estimate reads; of the numbers among the last two only whether they are 0.
DECIDING = ("federation.", "backbone.", "fine_tune.", "compute.", "mask.", "data.name",
            "data.path",
            "aggregate.rule", "head.hidden", "local.batch_size", "local.blend", "local.rule",
            "local.optimiser", "local.option", "local.tau",
            "local.momentum", "mask.sparsity")  # fmt: skip
LAYERS = 12
#: Numbers kept for the backward pass by token, layer and unit of width (Korthikanti et al. 2022:
#: 34 bytes in 16-bit arithmetic).
KEPT = 17


def largest_config(
    arms: Sequence[Arm], space: Space, draws: int = 200, device: str = "cuda"
) -> TrialConfig:
    """The most memory-hungry configuration that a search of these arms may ask for.

    `draws` points of the define-by-run space, half of them with every number at one of the ends
    of its range; points that are not possible with an arm are left out. Of equal ones the first.
    """
    largest, most = arms[0].config, -1.0
    for arm in arms:
        points = [{}, *various_points(within(space, arm), draws, _deciding)]
        for config in _configs(arm.config, points):
            estimate = estimated_bytes(config, device)
            if estimate > most:
                largest, most = config, estimate
    return largest


def estimated_bytes(config: TrialConfig, device: str = "cuda") -> float:
    """A rough account of a trial's memory: parameters with what is kept of each, and activations.

    Trained part, clients at a time, batch size, resolution, precision, per-client masks, what the
    local rule keeps, the updates that an aggregate holds.
    """
    weights, width = _size(config.backbone.name)
    classes = task_of(config.data).classes
    fed, local = config.federation, config.local
    copies = clients_at_a_time(config, device)
    on_head = config.part == "head"
    hidden = config.head.hidden
    head = (width + classes) * hidden if hidden else width * classes
    trained = head if on_head else weights
    rule = rule_of(local)
    # parameters, gradients, the update, the optimiser's means, what the rule corrects with
    means = 2 if local.optimiser in ("lamb", "adamw") else local.momentum > 0
    numbers = 3.0 + means + len(rule.memory) + rule.full_gradient
    masks = 0.25 * config.mask.in_force * (copies if config.mask.of_each_client else 1)
    memory = min(fed.clients * trained * (rule.finish is not None), LIMIT / 4)
    memory += trained * (len(rule.broadcast) + len(rule.held))
    if (aggregate := config.aggregate.rule) in HOLDING or is_own(aggregate):
        memory += trained * (fed.sampled - copies)  # updates beside those that are being trained
    kept = trained * (copies * numbers + masks) + memory
    images = copies * min(local.batch_size, _most_examples(config))
    images = min(images, config.compute.micro_batch or images)
    if on_head:
        return 4 * (kept + images * (width + hidden))
    size = config.backbone.image_size
    tokens = (size / _patch_size(config)) ** 2
    half = 0.5 if config.compute.precision == "bfloat16" else 1.0
    activations = half * tokens * width * LAYERS * KEPT + 3 * size**2
    return 4 * (weights + kept + images * activations)


def clients_at_a_time(config: TrialConfig, device: str = "cuda") -> int:
    """Clients that train stacked: all of a round, or one (see federated.turns.use_stacked)."""
    execution = config.compute.execution
    looped = config.backbone.name.startswith("char_lstm")
    pays = config.part == "head" or (device.startswith("cuda") and not looped)
    auto = execution == "auto" and pays and not config.compute.micro_batch
    return config.federation.sampled if auto or execution == "stacked" else 1


def describe(config: TrialConfig, device: str = "cuda") -> str:
    """What makes a configuration large, in a few words."""
    head = f"head of {config.head.hidden} hidden units" if config.head.hidden else "linear head"
    part = {"head": head, "full": "full model", "backbone": "backbone"}[config.part]
    words = [f"batch {config.local.batch_size}", part]
    if config.part != "head":
        words.append(f"{config.backbone.image_size} px")
    stacked = clients_at_a_time(config, device)
    words += [f"{stacked} clients at a time"] if stacked > 1 else []
    words += ["a mask each"] if config.mask.of_each_client else []
    return ", ".join(words)


def _configs(base: TrialConfig, points: Iterable[Mapping[str, Value]]) -> Iterable[TrialConfig]:
    for values in points:
        try:
            yield base.override(values)
        except ConfigError:  # a point of the space that this arm refuses: the search fails it too
            continue


def _deciding(values: Mapping[str, Value]) -> str:
    """What of a point decides the estimate."""
    kept = ((n, bool(v) if n in DECIDING[-2:] else v) for n, v in values.items())
    return repr([pair for pair in kept if is_read(pair[0], DECIDING)])


def _size(name: str) -> tuple[float, int]:
    return NETS.get(name) or next(size for word, size in SIZES.items() if word in name)


def _most_examples(config: TrialConfig) -> int:
    """Of one client, where they are spread evenly; else, and of the user's own, not known."""
    data, fed = DATA_SETS.get(config.data.name), config.federation
    if data is None or fed.sharding == "dirichlet_labels" or is_own(fed.sharding):
        return config.local.batch_size
    return data.train // fed.clients + 1


def _patch_size(config: TrialConfig) -> int:
    named = re.search(r"patch(\d+)", config.backbone.name)
    return config.backbone.patch_size or (int(named.group(1)) if named else 16)
