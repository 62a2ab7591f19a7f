"""Fisher scores against one backward pass an example; their closed forms; hybrid ranks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import looped_fisher, relative_error
from torch import Tensor, nn

import fl_core.masks.fisher as scores
from fl_core.base.errors import UserError
from fl_core.base.params import FlatModule
from fl_core.base.rng import stream
from fl_core.config.sections import BackboneConfig
from fl_core.data.sources import FeatureSource, Source
from fl_core.masks.fisher import fisher
from fl_core.masks.rules import hybrid, magnitude
from fl_core.models.backbone import Classifier, build_backbone
from fl_core.models.heads import linear_head

KINDS = ("sampled", "talos", "empirical")
CLASSES = 5


@dataclass(frozen=True)
class Inputs:
    """Ready model inputs; refuses augmentation."""

    inputs: Tensor
    labels: Tensor

    def batch(self, indices: Tensor, draws: Tensor | None = None) -> Tensor:
        assert draws is None
        return self.inputs[indices]

    def subset(self, indices: np.ndarray) -> Source:
        raise NotImplementedError


def randomise(module: nn.Module, dtype: torch.dtype = torch.float64) -> FlatModule:
    """Every parameter moved off its start: zeros and ones hide mistakes."""
    rng = stream(0, "weights")
    with torch.no_grad():
        for parameter in module.parameters():
            noise = torch.from_numpy(rng.standard_normal(tuple(parameter.shape)))
            fan_in = max(1, parameter[0].numel()) if parameter.dim() > 1 else 25
            parameter.add_(noise / math.sqrt(fan_in))
    return FlatModule(module.to(dtype))


def source_of(
    *shape: int, examples: int = 7, dtype: torch.dtype = torch.float64, classes: int = CLASSES
) -> Inputs:
    rng = stream(0, "inputs")
    inputs = torch.from_numpy(rng.standard_normal((examples, *shape))).to(dtype)
    return Inputs(inputs, torch.from_numpy(rng.integers(0, classes, examples)))


def tiny_vit(**options: object) -> nn.Module:
    options = {"num_classes": CLASSES, "depth": 2, "num_heads": 2, **options}
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=16, **options
    )


def backbone(name: str) -> nn.Module:
    config = BackboneConfig(name=name, weights="random", image_size=16)
    module, features, _ = build_backbone(config)
    return Classifier(module, linear_head(features, CLASSES))


class Own(nn.Module):
    """A forward pass of one's own over two linear layers and one parameter."""

    def __init__(self, run: Callable[[Own, Tensor], Tensor], *shape: int) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 4), nn.Linear(4, CLASSES)
        if shape:
            self.token = nn.Parameter(torch.zeros(shape))
        self.run = run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


def tokens_first(m: Own, x: Tensor) -> Tensor:
    """As many tokens as the probe has examples."""
    tokens = x.view(-1, 2, 2).repeat(1, 1, 2).transpose(0, 1)  # (2, B, 4)
    return m.outer(m.inner(tokens).tanh().sum(0))


#: Modules of (B, 4) inputs that one pass over the layers would get wrong.
TRAPS = {
    "used twice": Own(lambda m, x: m.outer(m.inner(m.inner(x).tanh()))),
    "weight used elsewhere": Own(lambda m, x: m.outer(m.inner(x).tanh() @ m.inner.weight)),
    "layer not called": Own(lambda m, x: m.outer(F.linear(x, m.inner.weight, m.inner.bias))),
    "token not broadcast": Own(lambda m, x: m.outer(m.inner(x)) * (1 + m.token.sum()), 1, 3),
    "token without a batch": Own(lambda m, x: m.outer(m.inner(x)) * (1 + m.token), CLASSES),
    "table": Own(lambda m, x: m.outer(m.inner(x) * (1 + m.token.sum((0, 1)))), 2, 1, 4),
    "tokens first": Own(tokens_first),
}
VITS = {
    "vit": {},
    "registers": {"reg_tokens": 2, "no_embed_class": True},
    "average pool": {"class_token": False, "global_pool": "avg", "fc_norm": True},
    "no bias": {"qkv_bias": False, "qk_norm": True},
    "layer scale": {"init_values": 0.5},
}
CONVS = {
    "padded": nn.Conv2d(2, 4, (3, 2), padding=(2, 1), stride=(2, 1)),
    "same": nn.Conv2d(2, 4, (3, 4), padding="same", dilation=2),
    "reflected": nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect"),
    "grouped": nn.Conv2d(2, 4, 3, groups=2, bias=False),
}


@contextmanager
def watched_routes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """What `_is_covered` decided."""
    decisions: list[bool] = []
    original = scores._is_covered

    def spy(*args: object) -> bool:
        decisions.append(original(*args))  # type: ignore[arg-type]
        return decisions[-1]

    monkeypatch.setattr(scores, "_is_covered", spy)
    yield decisions


def check(
    model: FlatModule, source: Inputs, kind: str, tolerance: float = 1e-10, batch: int = 3
) -> Tensor:
    """Every tensor of `fisher` against the loop; returns the scores."""
    indices = stream(0, "order").permutation(len(source.labels))
    right = looped_fisher(model, source, indices, kind, stream(0, "labels"))
    found = fisher(model, source, indices, kind, batch, stream(0, "labels"))
    assert found.dtype == model.flat.dtype
    wanted = model.layout.views(right)
    noise = 1e-18 * right.max()  # of a gradient that is zero in theory: a key's bias
    for name, mine in model.layout.views(found).items():
        assert wanted[name].max() > 0, name
        assert (mine - wanted[name]).abs().max() <= tolerance * wanted[name].max() + noise, name
    return found


# --- against one backward pass an example ---------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("options", VITS.values(), ids=VITS)
def test_vision_transformers(
    options: dict[str, object], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with watched_routes(monkeypatch) as covered:
        check(randomise(tiny_vit(**options)), source_of(3, 16, 16), kind)
    assert covered == [True]


@pytest.mark.parametrize("kind", KINDS)
def test_vision_transformer_in_float32(kind: str) -> None:
    model = randomise(tiny_vit(), torch.float32)
    assert (
        check(model, source_of(3, 16, 16, dtype=torch.float32), kind, 1e-5).dtype == torch.float32
    )


@pytest.mark.parametrize("name", ["cnn", "resnet18_gn"])
def test_convolutional_networks(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With layers that work in place, and normalisation over groups."""
    with watched_routes(monkeypatch) as covered:
        check(randomise(backbone(name)), source_of(3, 16, 16, examples=3), "sampled", batch=2)
    assert covered == [True]


@pytest.mark.parametrize("conv", CONVS.values(), ids=CONVS)
def test_convolutions(conv: nn.Conv2d, monkeypatch: pytest.MonkeyPatch) -> None:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, CLASSES))
    with watched_routes(monkeypatch) as covered:
        check(
            randomise(nn.Sequential(conv, nn.ReLU(inplace=True), head)),
            source_of(2, 7, 6),
            "sampled",
        )
    assert covered == [True]


def test_any_small_layer_is_covered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Norms over several dimensions and over groups, and layers without a formula of their own."""
    norms = [nn.LayerNorm((4, 6)), nn.GroupNorm(2, 4), nn.RMSNorm(6), nn.PReLU(4)]
    module = nn.Sequential(nn.Conv1d(3, 4, 2), *norms, nn.Flatten(), nn.Linear(24, CLASSES))
    with watched_routes(monkeypatch) as covered:
        check(randomise(module), source_of(3, 7), "sampled")
    assert covered == [True]


@pytest.mark.parametrize("module", TRAPS.values(), ids=TRAPS)
def test_traps_take_the_general_route(module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    with watched_routes(monkeypatch) as covered:
        check(randomise(module), source_of(4), "empirical")
    assert covered == [False]


def test_the_general_route_covers_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts that hold few gradients; attention in kernels that vmap knows, or it would warn."""
    warnings.simplefilter("error")
    monkeypatch.setattr(scores, "_is_covered", lambda *_: False)
    model, source = randomise(tiny_vit(), torch.float32), source_of(3, 16, 16, dtype=torch.float32)
    monkeypatch.setattr(scores, "FUNCTIONAL_FLOATS", 2 * model.layout.size)
    check(model, source, "sampled", 1e-5, batch=5)
    monkeypatch.setattr(scores, "FUNCTIONAL_FLOATS", 1)
    check(model, source, "talos", 1e-5, batch=5)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(
    st.integers(1, 6), st.integers(2, 6), st.integers(1, 5), st.integers(1, 4), st.integers(1, 6),
    st.booleans(), st.sampled_from(KINDS),
)  # fmt: skip
def test_token_mixers_of_any_shape(
    width: int, hidden: int, tokens: int, examples: int, batch: int, bias: bool, kind: str
) -> None:
    """Batches of one, one token, and equal sizes that could be mistaken for each other."""
    module = nn.Sequential(
        nn.Linear(width, hidden, bias=bias), nn.Tanh(), nn.LayerNorm((tokens, hidden)),
        nn.GroupNorm(1, tokens), nn.Flatten(), nn.Linear(tokens * hidden, 3),
    )  # fmt: skip
    model, source = randomise(module), source_of(tokens, width, examples=examples, classes=3)
    indices = np.arange(examples)
    right = looped_fisher(model, source, indices, kind, stream(0, "labels"))
    found = fisher(model, source, indices, kind, batch, stream(0, "labels"))
    torch.testing.assert_close(found, right, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("trained", ["head", "blocks.1", "norm", "cls_token", "qkv.bias"])
def test_only_what_trains_is_scored(trained: str) -> None:
    """Frozen parameters are absent; those of a layer may be frozen in part."""
    module = tiny_vit()
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(trained in name)
    model = randomise(module)
    assert all(trained in name for name in model.layout.names)
    assert check(model, source_of(3, 16, 16), "sampled").shape == (model.layout.size,)


def test_what_is_not_used_scores_zero() -> None:
    module = Own(lambda m, x: m.outer(x), 1, 4)
    model, source = randomise(module), source_of(4)
    found = fisher(model, source, np.arange(7), "sampled", 3, stream(0, "labels"))
    right = looped_fisher(model, source, np.arange(7), "sampled", stream(0, "labels"))
    torch.testing.assert_close(found, right)
    assert not model.layout.views(found)["inner.weight"].any()


# --- closed forms ---------------------------------------------------------------------------------


def linear() -> tuple[FlatModule, FeatureSource]:
    source = source_of(6, examples=40)
    return randomise(nn.Linear(6, CLASSES)), FeatureSource(source.inputs, source.labels)


def test_empirical_fisher_of_logistic_regression() -> None:
    """d log p(y) / d W = (onehot(y) - p) x^T."""
    model, source = linear()
    residual = F.one_hot(source.labels, CLASSES) - model.module(source.features).detach().softmax(1)
    right = {"weight": (residual**2).T @ source.features**2 / 40, "bias": (residual**2).mean(0)}
    found = fisher(model, source, np.arange(40), "empirical", 16, stream(0, "labels"))
    torch.testing.assert_close(found, model.layout.flatten(right))


def test_sampled_fisher_of_logistic_regression() -> None:
    """Its mean over labels is sum_y p_y (onehot(y) - p)^2 = p (1 - p), times x^2."""
    model, source = linear()
    p = model.module(source.features).detach().softmax(1)
    variance = p * (1 - p)
    right = {"weight": variance.T @ source.features**2 / 40, "bias": variance.mean(0)}
    indices = np.tile(np.arange(40), 2_000)
    found = fisher(model, source, indices, "sampled", 20_000, stream(0, "labels"))
    assert relative_error(found, model.layout.flatten(right)) < 0.02
    empirical = fisher(model, source, np.arange(40), "empirical", 40, stream(0, "labels"))
    assert relative_error(empirical, model.layout.flatten(right)) > 0.2  # another quantity


def test_talos_of_a_linear_head() -> None:
    """d logit_y / d W_y = x, so the scores of row c are the sum of x^2 where c was drawn."""
    model, source = linear()
    draws = stream(0, "labels").random(40)
    steps = model.module(source.features).detach().softmax(1).cumsum(1).numpy()
    labels = np.array(
        [np.searchsorted(row, u, side="right") for row, u in zip(steps, draws, strict=True)]
    )
    assert len(set(labels)) == CLASSES
    drawn = torch.from_numpy(labels[None] == np.arange(CLASSES)[:, None]).double()
    right = {"weight": drawn @ source.features**2 / 40, "bias": drawn.mean(1)}
    found = fisher(model, source, np.arange(40), "talos", 16, stream(0, "labels"))
    torch.testing.assert_close(found, model.layout.flatten(right))


def test_a_label_of_probability_zero_is_never_drawn() -> None:
    class Lowest(np.random.Generator):
        def random(self, size: int) -> np.ndarray:  # type: ignore[override]
            return np.array([0.0, 1 - 2**-53])

    model = FlatModule(nn.Linear(1, 4))
    model.flat.copy_(torch.tensor([0, 0, 0, 0, -2000.0, 1, 2, -2000]))
    found = fisher(model, FeatureSource(torch.ones(2, 1), torch.zeros(2, dtype=torch.int64)),
                   np.arange(2), "talos", 2, Lowest(np.random.Philox(0)))  # fmt: skip
    assert model.layout.views(found)["bias"].tolist() == [0, 0.5, 0.5, 0]


def test_the_highest_draw_is_a_label() -> None:
    """Ten tenths add up to less than one."""

    class Highest(np.random.Generator):
        def random(self, size: int) -> np.ndarray:  # type: ignore[override]
            return np.full(size, 1 - 2**-53)

    model = FlatModule(nn.Linear(1, 10))
    model.flat.zero_()
    source = FeatureSource(torch.ones(2, 1), torch.zeros(2, dtype=torch.int64))
    found = fisher(model, source, np.arange(2), "talos", 2, Highest(np.random.Philox(0)))
    assert model.layout.views(found)["bias"].tolist() == [0] * 9 + [1]


# --- what it must not be --------------------------------------------------------------------------


def test_it_is_not_the_squared_batch_gradient() -> None:
    """REFERENCES: the mean of squared gradients of batches is another quantity."""
    model, source = randomise(tiny_vit()), source_of(3, 16, 16, examples=8)
    model.module.eval()
    F.cross_entropy(model.module(source.inputs), source.labels).backward()
    squared_mean = model.grad.square()
    model.grad.zero_()
    found = fisher(model, source, np.arange(8), "empirical", 8, stream(0, "labels"))
    assert (found > squared_mean - 1e-15).all()  # Jensen
    assert found.sum() > 3 * squared_mean.sum()


def test_kinds_differ() -> None:
    model, source = randomise(tiny_vit()), source_of(3, 16, 16)
    found = [fisher(model, source, np.arange(7), kind, 4, stream(0, "labels")) for kind in KINDS]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert relative_error(found[one], found[other]) > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_independent_of_batch_size(kind: str) -> None:
    model, source = randomise(tiny_vit()), source_of(3, 16, 16)
    indices = np.array([3, 0, 6, 6, 1])
    one, *others = [
        fisher(model, source, indices, kind, size, stream(0, "labels")) for size in (1, 2, 5, 99)
    ]
    for other in others:
        assert relative_error(other, one) < 1e-12


def test_independent_of_the_order_of_examples() -> None:
    """With the data set's labels; drawn ones follow the position. Each example counts once."""
    model, source = randomise(tiny_vit()), source_of(3, 16, 16)
    forth, back = np.arange(6), np.arange(6)[::-1].copy()

    def scored(indices: np.ndarray) -> Tensor:
        return fisher(model, source, indices, "empirical", 4, stream(0, "labels"))

    assert relative_error(scored(forth), scored(back)) < 1e-12
    apart = torch.stack([scored(forth[[index]]) for index in range(6)]).mean(0)
    assert relative_error(scored(forth), apart) < 1e-12


def test_draws_come_from_the_generator() -> None:
    model, source = randomise(tiny_vit()), source_of(3, 16, 16)
    rng, other = stream(0, "labels"), stream(0, "labels")
    first = fisher(model, source, np.arange(7), "talos", 3, rng)
    assert relative_error(fisher(model, source, np.arange(7), "talos", 3, rng), first) > 1e-3
    other.random(14)
    assert rng.random() == other.random()  # as many draws as examples, and no more
    again = fisher(model, source, np.arange(7), "talos", 3, stream(0, "labels"))
    assert torch.equal(again, first)


# --- the model stays as it is ---------------------------------------------------------------------


class Failing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) == 1:
            raise KeyboardInterrupt
        return x


def state(model: FlatModule) -> list[object]:
    parts = list(model.module.modules())
    named = list(model.module.named_parameters())
    return [
        [part.training for part in parts],
        [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in parts],
        [type(value) for part in parts for value in part._parameters.values()],
        [(name, p.requires_grad, p.data_ptr(), p.grad is None) for name, p in named],
        model.flat.tolist(),
        model.grad.tolist(),
    ]


@pytest.mark.parametrize("layerwise", [True, False])
@pytest.mark.parametrize("fails", [False, True])
def test_the_model_is_untouched(
    layerwise: bool, fails: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Flags that differ from part to part included, and also when it is interrupted."""
    vit = tiny_vit(drop_rate=0.5)
    vit.blocks[0].requires_grad_(False)
    last = Failing() if fails else nn.Dropout(0.5)
    model, source = randomise(nn.Sequential(vit, last)), source_of(3, 16, 16)
    model.grad.copy_(torch.arange(model.layout.size))
    model.module.train()
    vit.blocks[1].eval()
    monkeypatch.setattr(scores, "_is_covered", lambda *_: layerwise)
    before = state(model)

    def scored() -> Tensor:
        return fisher(model, source, np.arange(7), "sampled", 3, stream(0, "labels"))

    if fails:
        with pytest.raises(KeyboardInterrupt):
            scored()
    else:
        assert torch.equal(scored(), scored())  # no dropout
    assert state(model) == before


def test_batch_statistics_are_those_of_evaluation() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, CLASSES))
    module(torch.randn(9, 4, generator=torch.Generator().manual_seed(0)) * 3 + 1)
    model, source = randomise(module), source_of(4)
    running = model.module[1].running_mean.clone()
    model.module.train()
    check(model, source, "sampled")
    assert torch.equal(model.module[1].running_mean, running)


def test_infinite_scores_get_one_line() -> None:
    model, source = linear()
    model.layout.views(model.flat)["weight"][2, 3] = math.inf
    with pytest.raises(
        UserError, match=r"mask.fisher='sampled'.*not finite in 2 of 2.*weight"
    ) as error:
        fisher(model, source, np.arange(40), "sampled", 16, stream(0, "labels"))
    assert "\n" not in str(error.value)


# --- magnitude and hybrid -------------------------------------------------------------------------


def test_magnitude() -> None:
    params = nn.Parameter(torch.tensor([-2.0, 0.0, 1.5]))
    assert magnitude(params).tolist() == [2, 0, 1.5]
    assert not magnitude(params).requires_grad


FISHER = torch.tensor([3e-9, 1e-9, 9e-9, 1e-9, 0.0, 5e-9])
SIZE = torch.tensor([0.5, 4.0, 1.0, 1.0, 9.0, 1.0])
ACTIVE = torch.tensor([True, True, True, True, False, True])


def test_hybrid_by_hand() -> None:
    """Ranks of five active entries, ties in the middle of theirs, over 4."""
    by_fisher = torch.tensor([2, 0.5, 4, 0.5, 3]).double() / 4
    by_size = torch.tensor([0, 4, 2, 2, 2]).double() / 4
    for weight in (0.0, 0.3, 1.0):
        found = hybrid(FISHER, SIZE, weight, ACTIVE)
        assert found.shape == (6,)
        torch.testing.assert_close(found[ACTIVE], weight * by_fisher + (1 - weight) * by_size)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.booleans()), min_size=1),
    st.floats(0, 1),
)
def test_hybrid_knows_only_the_order(rows: list[tuple[int, int, bool]], weight: float) -> None:
    one, other, chosen = (torch.tensor(column) for column in zip(*rows, strict=True))
    active = chosen.bool()
    found = hybrid(one.float(), other.float(), weight, active)[active]
    for first, second in (
        (one * 2.0**-60, other.float()), (one.float(), other * 1000.0),
        (one.double().exp(), other.float() ** 3), (one + 5.0, other.float().sqrt()),
        (one.float().masked_fill(~active, 1e9), other.float().masked_fill(~active, -1.0)),
    ):  # fmt: skip
        assert torch.equal(hybrid(first, second, weight, active)[active], found)
    assert ((found >= 0) & (found <= 1)).all()


@pytest.mark.parametrize(("weight", "alone"), [(1.0, FISHER), (0.0, SIZE)])
def test_hybrid_at_its_ends(weight: float, alone: Tensor) -> None:
    found, alone = hybrid(FISHER, SIZE, weight, ACTIVE)[ACTIVE], alone[ACTIVE]
    less = alone[:, None] < alone[None]
    assert torch.equal(found[:, None] < found[None], less)


def test_hybrid_has_room_for_millions_of_ranks() -> None:
    """float32 has 2^24 evenly spaced numbers in [0, 1]: fewer than a ViT-S has parameters."""
    assert hybrid(FISHER, SIZE, 1.0, ACTIVE).dtype == torch.float64


def test_hybrid_of_one_or_no_active_entry() -> None:
    assert hybrid(FISHER, SIZE, 0.5, torch.arange(6) == 2)[2].isfinite()
    assert hybrid(FISHER, SIZE, 0.5, torch.zeros(6, dtype=torch.bool)).shape == (6,)
