"""A user's own mask rule and model, in files of theirs: trials, studies, Ray workers, digests."""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from faults.events import Events
from other_values import DEFAULT, FIELDS
from pages import own_methods
from toy import config, machine_of, plain, write_features

from fl_core import head_stage, inputs, stages
from fl_core.base.errors import ConfigError
from fl_core.base.machine import Machine
from fl_core.base.rng import stream
from fl_core.config import own
from fl_core.config.artefact import stage_key
from fl_core.config.sections import DataConfig
from fl_core.config.trial_config import TrialConfig, own_sources
from fl_core.data.task import Examples
from fl_core.data.tasks import check_parts, load_examples
from fl_core.masks.calibration import MASK_READS
from fl_core.models import features
from fl_core.models.backbone import build_backbone
from fl_core.study.workers import largest
from fl_core.trial import Trial, run_trial

RULES = '''
"""Rules of a researcher's own."""

import torch


def by_position(scoring):
    return torch.arange(len(scoring.params), dtype=torch.float32)


def calm(scoring):
    return scoring.sensitivity() + 0 * scoring.params * scoring.round


def of_two(scoring, other):
    return scoring.params


def too_short(scoring):
    return scoring.params[1:]


number = 3
'''
MODEL = '''
"""A model of a researcher's own."""

from torch import nn


def perceptron(config):
    pixels = 3 * config.image_size**2
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, 8), nn.ReLU()), 8


def bare(config):
    return nn.Identity()


def with_statistics(config):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3 * config.image_size**2)), 192
'''
MASK = {"mask__sparsity": 0.5, "mask__examples": 16, "head__method": "ridge"}


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the user's files, from which they can be imported."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "my_rules.py").write_text(RULES)
    (folder / "my_model.py").write_text(MODEL)
    (folder / "my_broken.py").write_text("import no_such_package\n")
    (folder / "my_bad.py").write_text("raise RuntimeError('on two\\nlines')\n")
    monkeypatch.syspath_prepend(folder)
    forget()
    return folder


def forget() -> None:
    own.source_sha256.cache_clear()
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


OWN = [name for name, spec in FIELDS.items() if spec.metadata.get("own")]


def test_the_fields_that_take_the_users_own() -> None:
    assert set(OWN) >= {
        *("mask.rule", "backbone.name", "local.rule", "head.local.rule"),
        *("server.optimiser", "select.rule", "aggregate.rule", "data.name"),
    }


@pytest.mark.parametrize("name", OWN)
def test_a_source_is_part_of_what_names_a_trial(name: str, beside: Path) -> None:
    mine = DEFAULT.override({name: "my_rules:by_position"})
    sha = hashlib.sha256(RULES.encode()).hexdigest()
    assert own_sources(mine) == {name: sha}
    before = mine.digest(), stage_key("any", mine)
    assert before == (mine.digest(), stage_key("any", mine))
    (beside / "my_rules.py").write_text(RULES + "\n# another version")
    forget()
    after = mine.digest(), stage_key("any", mine)
    assert not set(before) & set(after)
    assert own_sources(DEFAULT) == {}


def test_a_stage_that_does_not_read_it_keeps_its_key(beside: Path) -> None:
    base = config(**MASK)
    mine = base.override({"mask.rule": "my_rules:calm"})
    for reads, same in ((head_stage.RIDGE_READS, True), (MASK_READS, False)):
        keys = {stage_key("any", cfg.only(reads)) for cfg in (base, mine)}
        assert (len(keys) == 1) == same


WRONG = [
    ("my_missing:rule", "there is no module my_missing; it must lie beside the study file"),
    ("my_rules:missing", "my_rules has no missing"),
    ("my_rules:number", "must be callable with (scoring)"),
    ("my_rules:of_two", "must be callable with (scoring)"),
    ("my_broken:rule", "there is no module no_such_package"),
    ("my_bad:rule", "importing my_bad fails (RuntimeError: on two lines)"),
    ("my_rules:too_short", "must return numbers of shape (1700,), not (1699,)"),
]


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize(("value", "why"), WRONG)
def test_a_wrong_one_is_one_clear_line(value: str, why: str, tmp_path: Path) -> None:
    machine = machine_of(tmp_path)
    write_features(machine.cache_dir)
    with pytest.raises(ConfigError) as caught:
        list(run_trial(config(**MASK, mask__rule=value), machine))
    assert str(caught.value).startswith(f"mask.rule={value!r}: {why}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["a:b:c", ":b", "a:", "a b:c", "1a:b", "a.:b", "a..b:c"])
def test_what_is_no_name_of_an_own_is_refused_with_our_names(value: str) -> None:
    with pytest.raises(ConfigError, match=re.escape("or your own as package.module:name")):
        DEFAULT.override({"mask.rule": value})
    with pytest.raises(ConfigError, match=r"must be steps or epochs$"):
        DEFAULT.override({"local.unit": "my_rules:calm"})


def test_an_own_mask_rule_freezes_what_it_says(beside: Path, tmp_path: Path) -> None:
    machine = machine_of(tmp_path)
    write_features(machine.cache_dir)
    cfg = config(**MASK, mask__rule="my_rules:by_position", mask__min_active=0)
    fed, _ = stages.prepare(cfg, machine)
    mask = fed.masks(0).mask  # type: ignore[misc]
    assert torch.equal(mask, torch.arange(1700) < 850)
    ours = list(run_trial(config(**MASK, mask__rule="least_sensitive"), machine))
    theirs = list(run_trial(config(**MASK, mask__rule="my_rules:calm"), machine))
    assert plain(ours) == plain(theirs)


# --- a model --------------------------------------------------------------------------------------

IMAGES: dict[str, Any] = {
    "backbone.name": "my_model:perceptron", "backbone.weights": "random", "backbone.image_size": 8,
    "data.name": "cifar10", "federation.clients": 3, "federation.participation": 0.67,
    "local.batch_size": 8, "rounds": 2, "eval_every": 1,
}  # fmt: skip


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(data: DataConfig, machine: Machine, *, train: bool) -> Examples:
        pixels = stream(int(train), "toy").integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
        return Examples(torch.from_numpy(pixels), torch.arange(60) % 10)

    for module in (inputs, features):
        monkeypatch.setattr(module, "load_examples", load)


@pytest.mark.usefixtures("beside", "images")
@pytest.mark.parametrize("strategy", ["head", "full"])
def test_an_own_model_trains(strategy: str, tmp_path: Path) -> None:
    cfg = TrialConfig().override({**IMAGES, "fine_tune.strategy": strategy})
    machine = machine_of(tmp_path)
    records = list(run_trial(cfg, machine))
    assert records[-1]["done"]
    assert plain(list(run_trial(cfg, machine))) == plain(records)
    assert plain(list(run_trial(cfg.override({"seed": 1}), machine))) != plain(records)
    pretrained = cfg.override({"backbone.weights": "pretrained"})
    assert plain(list(run_trial(pretrained, machine))) == plain(records)  # it loads none


@pytest.mark.usefixtures("beside")
@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"name": "my_model:bare"}, "must return a torch module and its features"),
        ({"name": "my_model:with_statistics"}, "has batch statistics"),
        ({"name": "my_model:perceptron", "weights": "sha256:" + "0" * 64}, "leave out --weights"),
    ],
)
def test_a_wrong_model_is_one_clear_line(values: dict[str, str], why: str) -> None:
    named = {f"backbone.{name}": value for name, value in values.items()}
    with pytest.raises(Exception, match=re.escape(why)):
        build_backbone(DEFAULT.override({**IMAGES, **named}).backbone)


# --- the seams of a round -------------------------------------------------------------------------

METHODS = """
from dataclasses import dataclass

import numpy as np

from fl_core.federated.aggregates.mean import mean
from fl_core import LocalRule


def prox(local):
    def correct(grad, params, visit):
        grad.add_(params - visit.start, alpha=local.mu)

    return LocalRule(correct=correct)


@dataclass
class Plain:
    plain: bool = False

    def step(self, params, grad, state, lr, layout=None, active=None):
        params.add_(grad, alpha=-lr)


def sgd(server):
    return Plain()


def average(updates, start, config):
    return mean(updates, start, config)


def the_first(state, fed, config):
    return np.arange(3)


def nothing(section):
    return None


def too_short(updates, start, config):
    return mean(updates, start, config)[1:]


def strangers(state, fed, config):
    return np.array([3, 1000])
"""


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ({"local.rule": "my_methods:prox", "local.mu": 0.3},
         {"local.rule": "prox", "local.mu": 0.3}),
        ({"server.optimiser": "my_methods:sgd", "server.lr": 0.5}, {"server.lr": 0.5}),
        ({"aggregate.rule": "my_methods:average"}, {}),
        ({"select.rule": "my_methods:the_first", "federation.clients": 3},
         {"federation.participation": 1.0, "federation.clients": 3}),
    ],
)  # fmt: skip
def test_own_methods_do_what_ours_do(
    theirs: dict[str, Any], ours: dict[str, Any], beside: Path, tmp_path: Path
) -> None:
    (beside / "my_methods.py").write_text(METHODS)
    machine = machine_of(tmp_path)
    write_features(machine.cache_dir)
    mine = list(run_trial(config().override(theirs), machine, tmp_path / "trials"))
    same = plain(list(run_trial(config().override(ours), machine)))
    assert plain(mine) == same
    assert plain(list(run_trial(config().override(theirs), machine, tmp_path / "trials"))) == same


def test_the_method_of_the_docs_is_fedprox(beside: Path, tmp_path: Path) -> None:
    (beside / "my_methods.py").write_text(own_methods())
    machine = machine_of(tmp_path)
    write_features(machine.cache_dir)
    theirs = config(local__rule="my_methods:prox", local__mu=0.5, local__momentum=0.9)
    ours = plain(list(run_trial(config(local__rule="prox", local__mu=0.5, local__momentum=0.9),
                                machine)))  # fmt: skip
    assert plain(list(run_trial(theirs, machine))) == ours
    assert plain(list(run_trial(config(local__momentum=0.9), machine))) != ours


@pytest.mark.parametrize(
    ("field", "name", "why"),
    [
        ("local.rule", "nothing", "must give a LocalRule, not NoneType"),
        ("server.optimiser", "nothing", "must give an Optimiser, not NoneType"),
        ("aggregate.rule", "too_short", "must give numbers of shape (1700,)"),
        ("select.rule", "strangers", "must give distinct clients, each in [0, 9]"),
        ("local.rule", "the_first", "must be callable with (local)"),
        ("server.optimiser", "the_first", "must be callable with (server)"),
        ("aggregate.rule", "prox", "must be callable with (updates, start, config)"),
        ("select.rule", "prox", "must be callable with (state, fed, config)"),
    ],
)
def test_a_wrong_method_is_one_clear_line(
    field: str, name: str, why: str, beside: Path, tmp_path: Path
) -> None:
    (beside / "my_methods.py").write_text(METHODS)
    machine = machine_of(tmp_path)
    write_features(machine.cache_dir)
    with pytest.raises(ConfigError) as caught:
        list(run_trial(config().override({field: f"my_methods:{name}"}), machine))
    assert str(caught.value).startswith(f"{field}='my_methods:{name}': {why}")


# --- a task ---------------------------------------------------------------------------------------

TASK = """
import torch

from fl_core import Task


def features(folder, *, train):
    drawn = torch.Generator().manual_seed(int(train))
    labels = torch.arange(300 if train else 90) % 3
    noise = torch.randn(len(labels), 5, generator=drawn, dtype=torch.float64)
    return 0.4 * noise + 3 * torch.eye(3, 5)[labels], labels


def images(folder, *, train):
    inputs, labels = features(folder, train=train)
    pixels = (inputs.clamp(-4, 4) * 30 + 128).to(torch.uint8)
    return pixels[:, None, :, None].expand(-1, 3, 5, 7).contiguous(), labels


spectra = Task(3, features, inputs="features")
pictures = Task(3, images)


def in_numpy(folder, *, train):
    inputs, labels = features(folder, train=train)
    return [inputs.numpy(), labels.numpy().astype("float32")]


def given(*parts):
    return Task(3, lambda folder, *, train: parts, inputs="features")


ROWS, LABELS = torch.ones(6, 2), torch.arange(6) % 3
arrays = Task(3, in_numpy, inputs="features")
spelt = Task(3, features, inputs="feature")
named = Task(3, features, inputs="features", names=("a", "b"))
none = Task(0, features)
untold = Task(3, lambda folder: None)
nothing = Task(3, lambda folder, *, train: None)
four = given(ROWS, LABELS, LABELS, LABELS)
lists = given(ROWS, [0, 1, 2, 0, 1, 2])
words = given(ROWS, LABELS.numpy().astype(str))
halves = given(ROWS, LABELS / 2)
negative = given(ROWS, LABELS - 1)
short = given(ROWS, LABELS[:5])
unequal = given(ROWS, LABELS, LABELS[:5])
unknown = given(ROWS / torch.tensor([1, 0, 1, 1, 1, 1])[:, None] - ROWS, LABELS)
empty = given(ROWS[:0], LABELS[:0])


def absent(folder, *, train):
    return (folder / "train.npz").read_bytes()


missing = Task(3, absent)


def wide(folder, *, train):
    inputs, labels = features(folder, train=train)
    return inputs[:, : 5 - train], labels


widths = Task(3, wide, inputs="features")
two = Task(2, features, inputs="features")
confused = Task(3, images, inputs="features")
blind = Task(3, features)
"""
SMALL: dict[str, Any] = {"federation.clients": 5, "federation.participation": 0.4, "rounds": 15,
                         "eval_every": 5, "local.batch_size": 16, "local.steps": 10}  # fmt: skip


@pytest.fixture
def tasks(beside: Path) -> None:
    (beside / "my_task.py").write_text(TASK)


@pytest.mark.usefixtures("tasks")
@pytest.mark.parametrize(
    "values",
    [
        {"data.name": "my_task:spectra"},
        {"data.name": "my_task:spectra", "head.method": "ridge", "mask.sparsity": 0.2,
         "mask.examples": 8, "federation.sharding": "classes", "federation.classes_per_client": 2},
        {"data.name": "my_task:pictures", "backbone.name": "cnn", "backbone.weights": "random",
         "backbone.image_size": 8, "fine_tune.strategy": "full"},
        {"data.name": "my_task:pictures", "backbone.name": "my_model:perceptron",
         "backbone.image_size": 8},
    ],
    ids=["features", "features, ridge, mask", "images", "images, frozen model"],
)  # fmt: skip
def test_an_own_task_is_learnt_and_tested(values: dict[str, Any], tmp_path: Path) -> None:
    cfg, machine = TrialConfig().override({**SMALL, **values}), machine_of(tmp_path)
    trial = Trial(cfg, machine, tmp_path / "trials")
    records = list(trial.records())
    assert records[-1]["val_accuracy"] > 0.6
    metrics, files = trial.test_metrics()
    assert metrics["test_accuracy"] > 0.6
    assert len(files["predictions.csv"].splitlines()) == 1 + 90
    assert plain(list(run_trial(cfg, machine))) == plain(records)
    assert largest.estimated_bytes(cfg) > 0


@pytest.mark.usefixtures("tasks")
def test_a_batch_larger_than_an_own_task_is_one_clear_line(tmp_path: Path) -> None:
    values = {**SMALL, "data.name": "my_task:spectra", "local.batch_size": 5000}
    with pytest.raises(ConfigError, match=r"local.batch_size=5000: .* has only \d+ training"):
        list(run_trial(TrialConfig().override(values), machine_of(tmp_path)))


@pytest.mark.usefixtures("tasks")
def test_arrays_are_as_good_as_tensors(tmp_path: Path) -> None:
    machine = machine_of(tmp_path)
    one, same = (
        [t for t in load_examples(DataConfig(name=name), machine, train=True) if t is not None]
        for name in ("my_task:arrays", "my_task:spectra")
    )
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(one, same, strict=True))


@pytest.mark.usefixtures("tasks")
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("spelt", "its inputs must be images or tokens or features, not"),
        ("named", "it has 3 classes and names of 2"),
        ("none", "its classes must be a whole number above 0, not 0"),
        ("untold", "its load must be callable with (folder, *, train)"),
        ("nothing", "its load must give (inputs, labels[, owners]), not NoneType"),
        ("four", "its load must give (inputs, labels[, owners]), not 4 of them"),
        ("missing", "its load fails (FileNotFoundError: [Errno 2] No such file or directory"),
        ("lists", "its labels must be a tensor or an array of numbers, not list"),
        ("words", "its labels must be a tensor or an array of numbers, not an array of <U"),
        ("halves", "its labels must be whole numbers"),
        ("negative", "its labels must be in [0, 2], not -1 to 1"),
        ("short", "its examples have 6 inputs and labels of shape (5,)"),
        ("unequal", "its examples have 6 inputs and owners of shape (5,)"),
        ("unknown", "its features must be finite numbers: example 1 has others"),
        ("empty", "its inputs must be at least one, not 0"),
        ("widths", "its training part has 4 features, its test part 5"),
    ],
)
def test_what_a_task_gives_is_checked_before_a_search(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check_parts(DataConfig(name=f"my_task:{name}"), machine_of(tmp_path))
    assert str(caught.value).startswith(f"data.name='my_task:{name}': {why}")
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("tasks")
@pytest.mark.parametrize(
    ("values", "field", "why"),
    [
        ({"data.name": "my_task:features"}, "data.name", "must be a Task, not function"),
        ({"data.name": "my_task:two"}, "data.name", "its labels must be in [0, 1], not 0 to 2"),
        ({"data.name": "my_task:confused"}, "data.name", "its inputs must be float (N, D), not"),
        ({"data.name": "my_task:blind", "backbone.name": "cnn", "backbone.weights": "random",
          "fine_tune.strategy": "full"}, "data.name", "its inputs must be uint8 (N, 3, H, W), not"),
        ({"data.name": "my_task:spectra", "fine_tune.strategy": "full", "backbone.name": "cnn"},
         "fine_tune.strategy", "data.name='my_task:spectra' has features, not images: only head"),
        ({"data.name": "my_task:spectra", "federation.clients": 1000}, "federation.clients", ""),
        ({"data.name": "my_task:spectra", "federation.sharding": "classes",
          "federation.classes_per_client": 9}, "federation.classes_per_client", ""),
    ],
)  # fmt: skip
def test_a_wrong_task_is_one_clear_line(
    values: dict[str, Any], field: str, why: str, tmp_path: Path
) -> None:
    cfg = TrialConfig().override({**SMALL, **values})
    with pytest.raises(ConfigError) as caught:
        list(run_trial(cfg, machine_of(tmp_path)))
    assert str(caught.value).startswith(f"{field}={values[field]!r}: {why}")


# --- a study --------------------------------------------------------------------------------------

STUDY = '''
"""Does my rule find better masks?"""

from fl_core import Preset, Study, main


def space(trial):
    return {"local.lr": trial.suggest_float("local.lr", 0.05, 1.0, log=True)}


if __name__ == "__main__":
    main(Study(
        name="mine", question=__doc__, space=space,
        base={"federation.clients": 20, "head.method": "ridge", "mask.sparsity": 0.5,
              "mask.examples": 32},
        arms=[{"mask.rule": rule} for rule in ("my_rules:by_position", "my_rules:calm")],
        presets={"embedded": Preset("short", budget=16, eval_steps=8, trials=1, seeds=1)},
    ))
'''


def command(beside: Path, where: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    """The study with its rules beside it, started in another folder."""
    (beside / "study.py").write_text(STUDY)
    where.mkdir(exist_ok=True)
    environment = {**os.environ, **Events(where / "events.log").environment}  # without figures
    return subprocess.run(
        [sys.executable, str(beside / "study.py"), "--tracking-uri", "sqlite:///m.db", *argv],
        cwd=where, capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip


@pytest.mark.soak
@pytest.mark.parametrize(
    ("how", "place"),
    [
        (("--serial",), "in the current folder"),
        (("--workers", "1"), "beside the study"),
    ],
)
def test_a_study_with_own_rules(how: tuple[str, ...], place: str, beside: Path) -> None:
    """In this process, and in Ray's workers."""
    where = beside.parent / "elsewhere"
    if place == "in the current folder":
        where.mkdir()
        (beside / "my_rules.py").rename(where / "my_rules.py")
    done = command(beside, where, *how)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(where / "results/mine/table.csv")
    assert len(table) == 2
    tags = sqlite3.connect(where / "m.db").execute(
        "select value from tags where key = 'own.mask.rule'"
    )
    sha = hashlib.sha256(RULES.encode()).hexdigest()
    # each arm, its search, the neighbour's winner, its confirmation
    assert [value for (value,) in tags] == [sha] * (2 * 4)


def test_a_study_with_a_wrong_rule_stops_before_any_work(beside: Path) -> None:
    (beside / "my_rules.py").write_text("calm = 3")
    done = command(beside, beside.parent / "elsewhere")
    assert done.returncode == 2
    assert "mask.rule='my_rules:by_position': my_rules has no by_position" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
