"""A client's plan, its learning rates, and its update against torch.optim.SGD."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.method_sections import LocalConfig, ScheduleConfig
from fl_core.config.sections import BackboneConfig, DataConfig
from fl_core.data.sources import FeatureSource, ImageSource, Preprocess, Source
from fl_core.federated.client import Trained, Work, local_update, plan_work
from fl_core.federated.rule import Visit
from fl_core.federated.schedule import lr_factor, step_rates
from fl_core.models.backbone import Classifier, build_backbone
from fl_core.models.heads import linear_head

CLASSES, EXAMPLES, WIDTH, SIZE = 5, 60, 9, 16


def linear() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(WIDTH, CLASSES)


def cnn() -> nn.Module:
    torch.manual_seed(1)
    layers = (nn.Conv2d(3, 4, 3, stride=2), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(4 * 7 * 7, CLASSES))


def vit() -> nn.Module:
    """The first two blocks of ViT-Ti on four patches, with plain attention as on a CPU."""
    config = BackboneConfig(weights="random", image_size=SIZE, patch_size=8)
    backbone, features, _ = build_backbone(config)
    backbone.blocks = backbone.blocks[:2]
    for block in backbone.blocks:
        block.attn.fused_attn = False
    model = Classifier(backbone, linear_head(features, CLASSES))
    torch.manual_seed(2)
    nn.init.normal_(model.head.weight, std=0.1)  # a zero head sends no gradient back
    return model


def feature_source() -> FeatureSource:
    rng = stream(0, "features")
    features = rng.standard_normal((EXAMPLES, WIDTH), dtype=np.float32)
    return FeatureSource(torch.from_numpy(features), labels())


def image_source() -> ImageSource:
    pixels = stream(0, "pixels").integers(0, 256, (EXAMPLES, 3, SIZE, SIZE), dtype=np.uint8)
    preprocess = Preprocess((0.5,) * 3, (0.5,) * 3, SIZE)
    augmentation = DataConfig(flip=True, crop=2, rotation=15)
    return ImageSource(torch.from_numpy(pixels), labels(), preprocess, augmentation)


def labels() -> torch.Tensor:
    return torch.from_numpy(stream(0, "labels").integers(0, CLASSES, EXAMPLES))


def source_of(model: nn.Module) -> Source:
    return feature_source() if isinstance(model, nn.Linear) else image_source()


def plan(shard: np.ndarray, local: LocalConfig, source: Source, client: int = 0) -> Work:
    draws = stream(0, "augment", 0, client) if isinstance(source, ImageSource) else None
    return plan_work(shard, local, stream(0, "batches", 0, client), draws)


def torch_update(
    model: nn.Module, source: Source, work: Work, local: LocalConfig, rates: list[float]
) -> torch.Tensor:
    """The obvious loop: torch's own module, optimiser and loss on the same batches."""
    model = copy.deepcopy(model).train()
    optimiser = torch.optim.SGD(
        model.parameters(), local.lr, local.momentum, local.dampening, local.weight_decay,
        nesterov=local.nesterov,
    )  # fmt: skip
    for step, row in enumerate(work.indices):
        indices = torch.from_numpy(row[row >= 0])
        draws = None if work.draws is None else torch.from_numpy(work.draws[step][row >= 0])
        optimiser.param_groups[0]["lr"] = rates[step]
        optimiser.zero_grad()
        F.cross_entropy(model(source.batch(indices, draws)), source.labels[indices]).backward()
        if local.clip:
            nn.utils.clip_grad_norm_(model.parameters(), local.clip)
        optimiser.step()
    return torch.cat([parameter.detach().reshape(-1) for parameter in model.parameters()])


# --- plan_work --------------------------------------------------------------------------------


@settings(derandomize=True, max_examples=200, deadline=None)
@given(size=st.integers(1, 40), batch=st.integers(1, 50), steps=st.integers(1, 12))
def test_steps_are_j_batches_of_shuffled_passes(size: int, batch: int, steps: int) -> None:
    shard = np.arange(100, 100 + 3 * size, 3)
    local = LocalConfig(steps=steps, batch_size=batch)
    work = plan_work(shard, local, stream(0, "batches"))
    assert work.indices.shape == (steps, min(batch, size))
    assert work.num_examples == size
    order = work.indices.reshape(-1)
    for start in range(0, len(order), size):  # each pass: every example once before it repeats
        part = order[start : start + size]
        assert len(set(part)) == len(part)
        assert set(part) <= set(shard)
    assert len(set(order)) == min(size, len(order))


@settings(derandomize=True, max_examples=200, deadline=None)
@given(size=st.integers(1, 40), batch=st.integers(1, 50), epochs=st.integers(1, 4))
def test_epochs_use_every_example_exactly_j_times(size: int, batch: int, epochs: int) -> None:
    shard = np.arange(100, 100 + size)
    local = LocalConfig(steps=epochs, unit="epochs", batch_size=batch)
    work = plan_work(shard, local, stream(0, "batches"))
    per_pass = math.ceil(size / batch)
    assert work.indices.shape == (epochs * per_pass, min(batch, size))
    assert work.num_examples == size
    for one in work.indices.reshape(epochs, -1):
        assert sorted(one[one >= 0]) == list(shard)
        assert (one[one < 0] == -1).all()
        assert (one[:size] >= 0).all()  # the padding is the end of a pass


def test_passes_are_shuffled_anew_and_follow_the_stream() -> None:
    local = LocalConfig(steps=2, unit="epochs", batch_size=50)
    first, second = plan_work(np.arange(50), local, stream(0, "batches", 0, 1)).indices
    assert list(first) != list(second)
    assert list(first) != sorted(first)
    again = plan_work(np.arange(50), local, stream(0, "batches", 0, 1)).indices
    other = plan_work(np.arange(50), local, stream(0, "batches", 0, 2)).indices
    assert np.array_equal(again[0], first)
    assert not np.array_equal(other[0], first)


def test_draws_have_a_row_for_each_place_and_do_not_touch_the_batches() -> None:
    local = LocalConfig(steps=3, batch_size=4)
    plain = plan_work(np.arange(10), local, stream(0, "batches"))
    drawn = plan_work(np.arange(10), local, stream(0, "batches"), stream(0, "augment"))
    assert plain.draws is None
    assert drawn.draws is not None
    assert drawn.draws.shape == (3, 4, 4)
    assert drawn.draws.dtype == np.float32
    assert 0 <= drawn.draws.min() < drawn.draws.max() < 1
    assert np.array_equal(plain.indices, drawn.indices)


# --- schedules --------------------------------------------------------------------------------


def all_rates(schedule: ScheduleConfig, rounds: int, steps: int) -> list[float]:
    local = LocalConfig(lr=0.2)
    per_round = [step_rates(local, schedule, r, rounds, steps) for r in range(rounds)]
    return [rate for one in per_round for rate in one]


def torch_rates(make: Callable[[Any], Any], count: int) -> list[float]:
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.2)
    scheduler = make(optimiser)
    rates = []
    for _ in range(count):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        scheduler.step()
    return rates


def test_constant_is_the_learning_rate_itself() -> None:
    assert all_rates(ScheduleConfig(), 3, 4) == [0.2] * 12


def test_cosine_is_torchs_at_the_middle_of_each_step() -> None:
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR
    wanted = torch_rates(lambda optimiser: cosine(optimiser, 2 * 6 * 4), 2 * 6 * 4)[1::2]
    assert all_rates(ScheduleConfig("cosine"), 6, 4) == pytest.approx(wanted, rel=1e-9)


def test_step_drops_where_torchs_step_lr_does() -> None:
    step = torch.optim.lr_scheduler.StepLR
    wanted = torch_rates(lambda optimiser: step(optimiser, 6, 0.3), 24)
    ours = all_rates(ScheduleConfig("step", step_size=0.25, gamma=0.3), 6, 4)
    assert ours == pytest.approx(wanted, rel=1e-12)


def test_warm_up_is_linear_then_cosine() -> None:
    schedule = ScheduleConfig("warmup_cosine", warmup=0.25)
    rates = all_rates(schedule, 4, 2)  # progress 1/16, 3/16, 5/16 ... 15/16
    assert rates[:2] == pytest.approx([0.2 / 4, 0.2 * 3 / 4])
    rest = [(1 / 16 + k / 8) / (3 / 4) for k in range(6)]
    assert rates[2:] == pytest.approx([0.1 * (1 + math.cos(math.pi * r)) for r in rest])
    assert lr_factor(schedule, 0.25) == pytest.approx(1)


def test_warm_up_goes_by_steps_where_a_round_is_an_epoch_of_few() -> None:
    """Three batches of 16k an epoch, ten epochs, warm-up over the first six steps."""
    schedule = ScheduleConfig("warmup_cosine", warmup=0.2)
    rates = all_rates(schedule, 10, 3)
    assert rates[:6] == pytest.approx([0.2 * (k + 0.5) / 6 for k in range(6)])
    assert rates[6] == max(rates) < 0.2


@pytest.mark.parametrize(("scaling", "factor"), [("none", 1.0), ("linear", 16.0), ("sqrt", 4.0)])
def test_the_rate_grows_with_the_batch(scaling: str, factor: float) -> None:
    own = {} if scaling == "none" else {"base_batch": 128}
    local = LocalConfig(lr=0.3, batch_size=2048, lr_scaling=scaling, **own)  # type: ignore[arg-type]
    assert step_rates(local, ScheduleConfig(), 0, 1, 2) == [0.3 * factor] * 2
    usual = LocalConfig(lr=0.3, batch_size=256, lr_scaling=scaling)
    assert step_rates(usual, ScheduleConfig(), 0, 1, 1) == [0.3]  # to the bit


def at(params: torch.Tensor) -> Visit:
    return Visit(params, {}, {})


# --- local_update -----------------------------------------------------------------------------

RULES = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.01},
    {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
]


@pytest.mark.parametrize("make", [linear, cnn, vit])
@pytest.mark.parametrize(("steps", "unit"), [(1, "steps"), (4, "steps"), (2, "epochs")])
def test_equals_torch_bit_for_bit(make: Callable[[], nn.Module], steps: int, unit: str) -> None:
    module = make()
    source = source_of(module)
    shard = np.arange(3, 32)  # 29 examples: the last batch of an epoch is ragged
    for rule in RULES if make is linear else RULES[::3]:
        local = LocalConfig(steps=steps, unit=unit, batch_size=8, lr=0.1, **rule)  # type: ignore[arg-type]
        work = plan(shard, local, source)
        rates = step_rates(local, ScheduleConfig("cosine"), 0, 2, len(work.indices))
        wanted = torch_update(module, source, work, local, rates)
        model = FlatModule(copy.deepcopy(module))
        update = local_update(model, at(model.flat.clone()), source, work, local, rates)
        assert not torch.equal(update.params, torch_update(module, source, work, local, [0.0] * 99))
        assert torch.equal(update.params, wanted), rule


@pytest.mark.parametrize("make", [linear, cnn])
def test_micro_batches_change_rounding_alone(make: Callable[[], nn.Module]) -> None:
    """Ragged parts, of a ragged batch, each with its own augmentation."""
    module = make()
    source, local = source_of(module), LocalConfig(1, "epochs", batch_size=16, momentum=0.9)
    work = plan(np.arange(3, 32), local, source)

    def trained(micro_batch: int) -> Trained:
        model = FlatModule(copy.deepcopy(module))
        start = at(model.flat.clone())
        return local_update(model, start, source, work, local, [0.1] * 2, micro_batch=micro_batch)

    whole, same, parts = trained(0), trained(16), trained(5)
    assert torch.equal(whole.params, same.params)
    torch.testing.assert_close(parts.params, whole.params)
    torch.testing.assert_close(parts.train_loss, whole.train_loss)
    torch.testing.assert_close(parts.first_loss, whole.first_loss)


@pytest.mark.parametrize("make", [linear, cnn])
def test_clipping_is_torch_s(make: Callable[[], nn.Module]) -> None:
    """Before weight decay and momentum. A limit above every norm changes no bit."""
    module = make()
    source = source_of(module)

    def both(clip: float) -> tuple[torch.Tensor, torch.Tensor]:
        local = LocalConfig(batch_size=8, momentum=0.9, weight_decay=0.01, clip=clip)
        work = plan(np.arange(30), local, source)
        model, rates = FlatModule(copy.deepcopy(module)), [0.1] * 4
        update = local_update(model, at(model.flat.clone()), source, work, local, rates)
        return update.params, torch_update(module, source, work, local, rates)

    free, clipped = both(0.0)[0], both(0.1)
    torch.testing.assert_close(*clipped, rtol=1e-6, atol=1e-7)
    assert not torch.allclose(clipped[0], free, atol=1e-3)
    assert torch.equal(both(1e5)[0], free)


@pytest.mark.parametrize("make", [linear, cnn])
def test_what_comes_back_and_what_stays(make: Callable[[], nn.Module]) -> None:
    model = FlatModule(make())
    source = source_of(model.module)
    local = LocalConfig(steps=2, unit="epochs", batch_size=8, momentum=0.9)
    work = plan(np.arange(29), local, source)
    params = torch.randn(model.layout.size, generator=torch.Generator().manual_seed(3)) * 0.1
    before, start = params.clone(), torch.ones_like(params)
    momentum = {"velocity": start}
    update = local_update(model, at(params), source, work, local, [0.1] * 8, state=momentum)
    assert torch.equal(params, before)
    assert torch.equal(start, torch.ones_like(params))
    assert update.params.data_ptr() not in (params.data_ptr(), model.flat.data_ptr())
    assert (work.num_examples, update.images) == (29, 58)  # examples, not batches or epochs
    second = local_update(model, at(params), source, work, local, [0.1] * 8, state=momentum)
    assert torch.equal(update.params, second.params)  # nothing is left behind in the model
    without = local_update(model, at(params), source, work, local, [0.1] * 8)
    assert not torch.equal(update.params, without.params)  # the given momentum counts


def test_the_loss_is_the_mean_over_the_examples_seen() -> None:
    """At lr -> 0 the model stays put, so it is the plain mean loss of the shard, ragged or not."""
    model, source = FlatModule(linear()), feature_source()
    local = LocalConfig(steps=1, unit="epochs", batch_size=8)
    work = plan(np.arange(29), local, source)
    update = local_update(model, at(model.flat.clone()), source, work, local, [0.0] * 4)
    mean = F.cross_entropy(model.module(source.features[:29]), source.labels[:29])
    assert float(update.train_loss) == pytest.approx(mean.item(), rel=1e-6)


def test_frozen_parameters_are_not_part_of_the_update() -> None:
    module = cnn()
    module[0].requires_grad_(False)  # type: ignore[index]
    frozen = copy.deepcopy(module[0].state_dict())  # type: ignore[index]
    model, source = FlatModule(module), image_source()
    local = LocalConfig(steps=3, batch_size=8, momentum=0.9, weight_decay=0.1)
    work = plan(np.arange(29), local, source)
    update = local_update(model, at(model.flat.clone()), source, work, local, [0.1] * 3)
    total = sum(parameter.numel() for parameter in module.parameters())
    assert len(update.params) == total - sum(tensor.numel() for tensor in frozen.values())
    after = module[0].state_dict()  # type: ignore[index]
    assert all(torch.equal(after[name], tensor) for name, tensor in frozen.items())


def test_bfloat16_keeps_float32_parameters_and_comes_close() -> None:
    model, source = FlatModule(linear()), feature_source()
    local = LocalConfig(steps=4, batch_size=8)
    work = plan(np.arange(29), local, source)
    args = (model, at(model.flat.clone()), source, work, local, [0.1] * 4)
    exact, rough = local_update(*args), local_update(*args, precision="bfloat16")
    assert rough.params.dtype == torch.float32
    assert not torch.equal(exact.params, rough.params)
    torch.testing.assert_close(exact.params, rough.params, rtol=0.05, atol=0.01)
