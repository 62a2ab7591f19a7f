"""The temperature of a ridge head: the minimiser of the cross-entropy, whatever the sharding."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize_scalar
from toy import config, write_features

from fl_core import head_stage, stages
from fl_core.base.machine import Machine
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import FeatureSource
from fl_core.masks.fisher import _Batch, _objective
from fl_core.models.ridge import ridge_head, ridge_statistics
from fl_core.models.temperature import (
    ENOUGH,
    Fit,
    derivatives,
    fit_scale,
    margins,
    spread_of,
)

CLASSES, WIDTH, EXAMPLES = 10, 24, 3000


def examples(noise: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = stream(seed, "temperature")
    labels = rng.integers(0, CLASSES, EXAMPLES)
    centres = rng.standard_normal((CLASSES, WIDTH))
    features = centres[labels] + noise * rng.standard_normal((EXAMPLES, WIDTH)) + 3
    return torch.from_numpy(features).float(), torch.from_numpy(labels)


def fitted(features: torch.Tensor, labels: torch.Tensor, parts: list[np.ndarray],
           ridge_lambda: float = 0.1) -> tuple[Fit, torch.Tensor]:  # fmt: skip
    """The fit of clients with these examples, each with its own sums; and the head."""
    gram, target = ridge_statistics(features, labels, CLASSES)
    head = ridge_head(gram, target, ridge_lambda)
    own = [margins(head, features[part], labels[part]) for part in parts]

    def evaluate(scale: float) -> tuple[float, float]:
        total = torch.stack([derivatives(one, scale) for one in own]).sum(0)
        slope, curvature = (total / len(labels)).tolist()
        return slope, curvature

    return fit_scale(evaluate, spread_of(gram, head)), head


def cross_entropy(
    head: torch.Tensor, features: torch.Tensor, labels: torch.Tensor, scale: float
) -> float:
    weight, bias = head.double().split([CLASSES * WIDTH, CLASSES])
    logits = features.double() @ weight.view(CLASSES, WIDTH).T + bias
    return float(F.cross_entropy(scale * logits, labels))


def test_derivatives_are_those_of_the_cross_entropy() -> None:
    features, labels = examples(1.0)
    gram, target = ridge_statistics(features, labels, CLASSES)
    head = ridge_head(gram, target, 0.1)
    weight, bias = head.double().split([CLASSES * WIDTH, CLASSES])
    logits = features.double() @ weight.view(CLASSES, WIDTH).T + bias
    for value in (0.1, 1.0, 10.0, 40.0):
        scale = torch.tensor(value, dtype=torch.float64, requires_grad=True)
        loss = F.cross_entropy(scale * logits, labels, reduction="sum")
        (slope,) = torch.autograd.grad(loss, scale, create_graph=True)
        (curvature,) = torch.autograd.grad(slope, scale)
        found = derivatives(margins(head, features, labels), value)
        assert found.dtype == torch.float64
        wanted = torch.stack([slope.detach(), curvature])
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0, 10.0])
@pytest.mark.parametrize("ridge_lambda", [1e-3, 1.0, 100.0])
def test_it_is_the_minimiser_of_the_cross_entropy(noise: float, ridge_lambda: float) -> None:
    features, labels = examples(noise)
    fit, head = fitted(features, labels, [np.arange(EXAMPLES)], ridge_lambda)
    best = minimize_scalar(
        lambda u: cross_entropy(head, features, labels, float(np.exp(u))),
        bounds=(-3, 14), method="bounded", options={"xatol": 1e-7},
    )  # fmt: skip
    assert cross_entropy(head, features, labels, fit.scale) < best.fun + ENOUGH
    if best.fun > 0.01:  # else the loss is flat
        assert fit.scale == pytest.approx(np.exp(best.x), rel=1e-3)
    assert 1 <= fit.evaluations <= 12


@pytest.mark.parametrize("kind", ["iid", "one class a client", "a thousand clients"])
def test_any_sharding_gives_the_centralised_scale(kind: str) -> None:
    features, labels = examples(1.0)
    everything = np.arange(EXAMPLES)
    parts = {
        "iid": np.array_split(everything, 7),
        "one class a client": np.array_split(np.argsort(labels.numpy()), CLASSES),
        "a thousand clients": np.array_split(everything, 1000),
    }[kind]
    central, _ = fitted(features, labels, [everything])
    fit, _ = fitted(features, labels, parts)
    assert fit.scale == pytest.approx(central.scale, rel=1e-6)
    assert fit.evaluations == central.evaluations


@pytest.mark.parametrize("ridge_lambda", [1e-3, 1.0, 1000.0])
def test_where_all_is_right_the_scale_is_finite(ridge_lambda: float) -> None:
    """The best one is infinite: the search ends where there is nothing left to gain."""
    labels = torch.arange(200) % CLASSES
    features = F.pad(F.one_hot(labels).float(), (0, WIDTH - CLASSES))
    fit, head = fitted(features, labels, [np.arange(200)], ridge_lambda)
    assert 1e-6 < cross_entropy(head, features, labels, fit.scale) < 1e-4
    assert fit.evaluations <= 12


@pytest.mark.parametrize("values", [torch.zeros(EXAMPLES, WIDTH), torch.ones(EXAMPLES, WIDTH)])
def test_features_that_say_nothing_leave_it_at_one(values: torch.Tensor) -> None:
    labels = torch.arange(EXAMPLES) % CLASSES
    fit, head = fitted(values, labels, [np.arange(EXAMPLES)])
    assert fit == Fit(1.0, 0)
    assert head[: CLASSES * WIDTH].abs().max() < 1e-6


def test_unequal_classes_and_no_features_give_their_frequencies() -> None:
    """Logits of zero weights are the bias alone, the frequencies: their best softmax is finite."""
    labels = torch.from_numpy(
        stream(0, "labels").choice(CLASSES, EXAMPLES, p=np.arange(1, 11) / 55)
    )
    fit, _ = fitted(torch.zeros(EXAMPLES, WIDTH), labels, [np.arange(EXAMPLES)])
    assert 1 < fit.scale < 100


@pytest.mark.parametrize("minimiser", [1e-4, 0.3, 2.0, 50.0, 1e4])
@pytest.mark.parametrize("sharpness", [0.1, 1.0, 10.0])
def test_any_convex_loss_is_searched_safely(minimiser: float, sharpness: float) -> None:
    """Of slope tanh, flat on both sides, where Newton's steps alone would leave everything."""

    def loss(scale: float) -> float:
        return float(np.logaddexp(z := sharpness * (scale - minimiser), -z)) / sharpness

    def evaluate(scale: float) -> tuple[float, float]:
        slope = float(np.tanh(sharpness * (scale - minimiser)))
        return slope, sharpness * (1 - slope * slope)

    fit = fit_scale(evaluate, spread=1.0)
    assert loss(fit.scale) < loss(minimiser) + 2 * ENOUGH
    assert fit.evaluations < 30


# --- in a trial -----------------------------------------------------------------------------------


def toy_head(machine: Machine, **values: object) -> torch.Tensor:
    head = head_stage.train_head(config(head__method="ridge", **values), machine)
    assert head is not None
    return head


def test_one_is_the_head_of_the_regression(machine: Machine) -> None:
    cfg = config(head__method="ridge", head__temperature=1)
    plain = toy_head(machine, head__temperature=1)
    stored = head_stage.stage_artefact("ridge", cfg, machine, head_stage.RIDGE_READS, never)
    assert torch.equal(plain, ridge_head(stored["gram"], stored["target"], cfg.head.ridge_lambda))
    assert torch.equal(toy_head(machine, head__temperature=0.25), 4 * plain)
    assert not list(machine.cache_dir.glob("temperature-*"))
    fit = head_stage.fitted_scale(config(head__method="ridge"), machine)
    assert torch.equal(toy_head(machine), plain * fit.scale)
    assert 1 <= fit.evaluations <= 12


def never(_: TrialConfig) -> dict[str, torch.Tensor]:
    raise AssertionError("made a second time")


def test_it_is_stored_under_what_it_reads(machine: Machine) -> None:
    def files() -> int:
        return len(list(machine.cache_dir.glob("temperature-*")))

    wanted = toy_head(machine).clone()
    for values in ({"local__lr": 0.2}, {"rounds": 3}, {"head__rounds": 4}):
        assert torch.equal(toy_head(machine, **values), wanted)
        assert files() == 1
    again = replace(machine, cache_dir=machine.cache_dir.parent / "other")
    write_features(again.cache_dir)
    assert torch.equal(toy_head(again), wanted)
    for number, values in enumerate(
        ({"head__ridge_lambda": 0.1}, {"data__train_on": "train+val"}, {"seed": 1}), start=2
    ):
        assert "seed" in values or not torch.equal(toy_head(machine, **values), wanted)
        toy_head(machine, **values)
        assert files() == number


@pytest.fixture(scope="module")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """The embedded features, which a default trial reads."""
    return Machine(cache_dir=tmp_path_factory.mktemp("cache"), threads=1)


def validation(cifar: Machine, temperature: float | str) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of the ridge head on CIFAR-100's validation features."""
    cfg = TrialConfig().override({"head.method": "ridge", "head.temperature": temperature})
    fed, state = stages.prepare(cfg, cifar)
    assert isinstance(fed.val, FeatureSource)
    weight, bias = state.params.split([len(state.params) - 100, 100])
    return fed.val.features @ weight.view(100, -1).T + bias, fed.val.labels


def test_the_ridge_head_has_a_softmax(cifar: Machine) -> None:
    """Without a temperature its cross-entropy is almost that of guessing among 100 classes."""
    logits, labels = validation(cifar, 1.0)
    assert float(F.cross_entropy(logits, labels)) > 4.3
    scaled, _ = validation(cifar, "auto")
    assert float(F.cross_entropy(scaled, labels)) < 1.1
    assert torch.equal(scaled.argmax(1), logits.argmax(1))
    confidence = float(scaled.softmax(1).amax(1).mean())
    assert confidence == pytest.approx(float((scaled.argmax(1) == labels).float().mean()), abs=0.05)


@pytest.mark.parametrize(("temperature", "right"), [("auto", 0.60), (1.0, 0.0132)])
def test_sampled_labels_are_as_good_as_the_model(
    cifar: Machine, temperature: float | str, right: float
) -> None:
    """Fisher information draws labels from the softmax: with a temperature of one, at random."""
    logits, labels = validation(cifar, temperature)
    draws = torch.from_numpy(stream(0, "draws").random(len(labels)))
    drawn = _objective("talos", logits, _Batch(logits, labels, draws))  # the logit of the label
    share = float((drawn == logits.gather(1, labels[:, None])[:, 0]).float().mean())
    probabilities = logits.softmax(1)
    expected = float((probabilities**2).sum(1).mean())  # of a calibrated model
    assert share == pytest.approx(right, abs=0.03)
    if temperature == "auto":
        assert share == pytest.approx(expected, abs=0.05)
