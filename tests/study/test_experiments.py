"""Every command of the docs that runs a study or reads its results, made small, in this process.

A study trains a handful of local steps with one trial and two seeds; one that needs images trains
the ViT-Ti/16 at 32 px on a part of CIFAR-100. What a row is about, its arms, stays as it is.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
from faults.here import run_here
from faults.place import Place
from once import once
from pages import ROOT, page
from pages import commands as all_commands

from fl_core import inputs
from fl_core.base.machine import Machine
from fl_core.config.sections import DataConfig
from fl_core.config.trial_config import Value
from fl_core.data.task import Examples
from fl_core.data.tasks import load_examples
from fl_core.models import features
from fl_core.study.presets import Preset
from fl_core.study.study import Study
from studies import load_study

STATUS = ("default", "images", "later")
IMAGES = {"train": 1500, "test": 200}  # enough for 100 clients with a class each
#: A transformer on a CPU, in seconds.
TINY: Mapping[str, Value] = {
    "backbone.name": "vit_tiny_patch16_224", "backbone.tag": "augreg_in21k_ft_in1k",
    "backbone.image_size": 32, "head.rounds": 1, "local.batch_size": 4, "mask.examples": 2,
    "mask.rounds": 2,
}  # fmt: skip

#: Rows on features for `make soak`: test_study.py has the first two in `make test`; the others have
#: many arms.
LONG = (
    "studies/fedavg_noniid.py",
    "studies/fedavg_iid.py --seeds 10",
    "studies/sparse_fedavg.py",  # test_mask_studies.py has it
    "studies/centralized.py",
    "studies/algorithms.py",
    "studies/robustness.py",
    "studies/secure_aggregation.py",
    "studies/adaptive_sparsity.py",
    "studies/participation.py",
    "studies/personalisation.py",
    "studies/asynchronous.py",
    "studies/superclients.py",
    "studies/large_batch.py",
    "studies/adaptive_steps.py",
    "studies/communication.py",
    "studies/architectures.py",
    "studies/shakespeare.py",
)


class Row(NamedTuple):
    """One experiment of docs/experiments.md."""

    experiment: str
    source: str
    command: str
    status: str


def rows() -> list[Row]:
    """The table of the page."""
    lines = [line for line in page("experiments").splitlines() if line.startswith("|")][2:]
    return [Row(*(cell.strip() for cell in line.strip("|").split("|"))) for line in lines]


def commands(kind: str, status: str = "") -> list[str]:
    """The table's commands that run a file of this folder."""
    chosen = [row for row in rows() if status in ("", row.status)]
    found = [row.command.strip("`").removeprefix("python ") for row in chosen]
    return [command for command in found if command.startswith(f"{kind}/")]


def others(images: bool) -> list[str]:
    """The commands of studies elsewhere in the docs; of a backbone that trains, or of features.

    Not here: what needs a cluster, a GPU or an extra package (its options are looked at in
    `test_docs`), and the file of one's own (`test_own_command`).
    """
    lines = [command.line.removeprefix("python ") for command in all_commands()]
    told = {*commands("studies")}
    found = [line for line in lines if line.startswith("studies/") and line not in told]
    cannot = ["--ray-address", "--gpus-per-trial", "--also"]
    never = [*cannot, "my_methods", "--help", "--fields", "DIR"]
    here = [line for line in found if not any(word in line for word in never)]
    return [line for line in here if images == (" paper" in line or " vit-tiny" in line)]


def test_the_table_is_whole() -> None:
    """Every study answers for a row; who has no command comes later, and the other way round."""
    found = rows()
    assert len(found) > 20
    for row in found:
        assert row.status in STATUS, row
        assert (row.command == "—") == (row.status == "later"), row
        assert row.status == "later" or re.fullmatch(r"`python (studies|analysis)/.+`", row.command)
        assert row.status != "images" or "--preset paper" in row.command, row
    named = {command.split()[0] for command in commands("studies")}
    assert named == {f"studies/{file.name}" for file in (ROOT / "studies").glob("[!_]*.py")}


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artefacts of all rows: each is made once."""
    return once(tmp_path_factory, "experiments", lambda _: None)


def run(study: Study, options: list[str], folder: Path, cache: Path, seeds: int = 2) -> None:
    """The study's command in a folder, to a table with a test accuracy in every row."""
    place = Place.at(folder, study.name, ())
    short = ["--seeds", str(seeds)] if "--seeds" not in options else []
    argv = [*options, *short, "--serial", *place.where(), "--cache-dir", str(cache)]
    run_here(study, argv, folder, place.events).assert_good()
    table = place.frame()
    assert len(table) >= 1
    assert table["test_accuracy_mean"].notna().all()
    assert (place.out / "table.html").stat().st_size > 0


def soaked(found: list[str], which: Collection[str]) -> list[object]:
    """Some of these for `make soak`."""
    marks = [(pytest.mark.soak,) if command in which else () for command in found]
    return [pytest.param(command, marks=m) for command, m in zip(found, marks, strict=True)]


@pytest.mark.parametrize("command", soaked(commands("studies", "default"), LONG))
def test_a_study_by_default(command: str, tmp_path: Path, cache: Path) -> None:
    study, options = _short(command)
    run(study, options, tmp_path, cache)


@pytest.mark.soak
@pytest.mark.parametrize("command", others(images=False))
def test_a_command_of_another_page(command: str, tmp_path: Path, cache: Path) -> None:
    """What it is about are its options: the first and the last arm will do."""
    study, options = _short(command)
    ends = [study.arms[0], study.arms[-1]] if len(study.arms) > 1 else study.arms
    run(replace(study, arms=ends), options, tmp_path, cache)


def _short(command: str) -> tuple[Study, list[str]]:
    """A command's study with a handful of local steps, and its options."""
    file, *options = shlex.split(command)
    study = load_study(Path(file).stem)
    small = study.presets["smoke"]
    rounds = any("rounds" in arm for arm in small.arms or study.arms)  # J is not bound to be small
    budget = small.budget if study.budget_counts_head or rounds else min(small.budget, 16)
    short = replace(small, budget=budget, eval_steps=16, trials=1)
    return replace(study, presets={"embedded": short}), options


@pytest.fixture
def few_images(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A part of CIFAR-100: features and evaluations of all of it take minutes."""

    def load(data: DataConfig, machine: Machine, *, train: bool) -> Examples:
        count = IMAGES["train" if train else "test"]
        images, labels, _ = load_examples(data, machine, train=train)
        return Examples(images[:count], labels[:count])

    for module in (inputs, features):
        monkeypatch.setattr(module, "load_examples", load)
    yield
    inputs.forget_inputs()  # which are kept from call to call
    features.forget_features()


@pytest.mark.usefixtures("few_images")
@pytest.mark.soak
@pytest.mark.parametrize("command", commands("studies", "images") + others(images=True))
def test_a_study_on_images(command: str, tmp_path: Path, cache: Path, cifar_dir: Path) -> None:
    weights = os.environ.get("FL_WEIGHTS")
    if not weights:
        pytest.skip("FL_WEIGHTS names no weights")
    file, *options = shlex.split(command)
    study = load_study(Path(file).stem)
    preset = options[options.index("--preset") + 1]
    paper = study.presets[preset]
    if own := [arm for arm in paper.arms or study.arms if "backbone.name" in arm]:
        # one of its networks, from random weights: --weights would be of all of them
        paper = replace(paper, arms=[arm for arm in own if arm["backbone.name"] == "lenet"])
    else:
        options += ["--weights", weights]
    study = replace(study, presets={preset: _tiny(study, paper)})
    options += ["--data-dir", str(cifar_dir)]
    run(study, options, tmp_path, cache / "images", seeds=1)


def _tiny(study: Study, paper: Preset) -> Preset:
    """A round or two of two clients each; the first and the last of the arms."""
    arms = study.arms if paper.arms is None else paper.arms
    arms = [arms[0], arms[-1]] if len(arms) > 1 else arms
    alone = study.base.get("federation.clients") == 1
    own: Mapping[str, Value] = (
        {"local.unit": "steps", "head.local.unit": "steps"}
        if alone
        else {"federation.participation": 0.02}
    )
    return replace(
        paper,
        overrides={**paper.overrides, **TINY, **own},
        arms=arms,
        # a head's own steps included where the study counts them
        budget=max(8, *(int(str(arm.get("local.steps", 1))) for arm in arms)),
        eval_steps=8,
        trials=1,
        finalists=1,
        first=(),
        prune=False,
    )


@pytest.mark.soak
@pytest.mark.parametrize(
    "command", sorted({c.line[7:] for c in all_commands() if c.line.startswith("python analysis/")})
)
def test_what_is_read_from_the_store(command: str, tmp_path: Path, undisturbed: Place) -> None:
    file, *options = shlex.split(command)
    main = import_module(f"fl_analysis.{Path(file).stem}").main
    out = tmp_path / ("out.html" if Path(file).stem == "report" else "out")
    argv = [*options, "--tracking-uri", undisturbed.uri, "--out", str(out)]
    assert main(argv) == 0
    assert out.is_file() or {file.suffix for file in out.iterdir()} & {".png", ".tex"}
