"""Mistakes in a study's file: one line with the file and the field, before any work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
import small_study
from small_study import SMALL, STUDY

from fl_core.base.errors import UserError
from fl_core.config.trial_config import Value
from fl_core.study import declared, options
from fl_core.study.request import request_of
from fl_core.study.study import Study


def refused(study: Study, *argv: str) -> str:
    """The one line that its command ends with."""
    with pytest.raises(UserError) as error:
        request_of(study, options.parse(study, argv))
    line = str(error.value)
    assert line.startswith(f"{Path(__file__).relative_to(Path.cwd())}: "), line
    assert "\n" not in line
    assert len(line) < 300
    return line


def test_a_study_without_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert STUDY.file == str(Path(small_study.__file__).relative_to(Path.cwd()))
    assert replace(STUDY, name="other").file == str(Path(__file__).relative_to(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    assert request_of(STUDY, options.parse(STUDY, [])).study.name == "mine"
    assert not list(tmp_path.iterdir())


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"name": "a/b"}, ["name='a/b'", "letters, digits"]),
        ({"name": ".."}, ["name='..'"]),
        ({"name": "two\nlines"}, [r"name='two\nlines'"]),
        ({"name": ""}, ["name=''"]),
        ({"name": 5}, ["name=5"]),
        ({"name": "x" * 300}, ["name='xxx", "302 characters"]),
        ({"question": None}, ["question=None", "docstring"]),
        ({"question": " \n"}, ["question=", "docstring"]),
        ({"base": None}, ["base=None", "a dictionary of fields"]),
        ({"base": {"federation.clints": 5}}, ["base: federation.clints", "federation.clients"]),
        ({"base": {"lr": 5}}, ["base: lr", "did you mean local.lr?"]),
        ({"base": {"local.lr": "high"}}, ["base: local.lr='high'", "must be a number"]),
        ({"base": {"local.lr": float("nan")}}, ["base: local.lr=nan", "finite"]),
        ({"base": {"local.lr": [0.1]}}, ["base: local.lr=[0.1]"]),
        ({"base": {"rounds": 5}}, ["base: rounds=5", "follows from a preset's budget"]),
        ({"base": {"rounds": 10**5000}}, ["base: rounds=int that cannot be shown"]),
        ({"base": {3: 5}}, ["base: 3: no such configuration field"]),
        ({"base": {"seed": 5}}, ["seed=5", "--seed"]),
        ({"arms": []}, ["arms=[]", "at least one arm"]),
        ({"arms": None}, ["arms=None", "a list of dictionaries"]),
        ({"arms": {"local.steps": 4}}, ["arms={'local.steps': 4}", "a list of dictionaries"]),
        ({"arms": "arms"}, ["arms='arms'", "a list of dictionaries"]),
        ({"arms": [{}, 4]}, ["arms[1]=4", "a dictionary of fields"]),
        ({"arms": [["local.steps", 4]]}, ["arms[0]=['local.steps', 4]"]),
        ({"arms": CYCLE}, ["arms[0]=[[...]]"]),
        ({"arms": [{}, {"local.stps": 4}]}, ["arms[1]: local.stps", "local.steps"]),
        ({"arms": [{"local.lr": 0.1}, {"local.lr": 0.1}]}, ["arms[1]", "same as arms[0], lr=0.1"]),
        ({"arms": [{"local.steps": 4}, {"local.steps": 4.0}]}, ["arms[1]: the same as arms[0]"]),
        ({"arms": [{"local.steps": 33}]}, ["preset small", "local.steps=33", "budget is 32"]),
        (
            {"arms": [{"eval_every": 5}]},
            ["arms[0]: eval_every=5", "follows from a preset's budget"],
        ),
        ({"arms": [{"local.nesterov": True}]}, ["preset small", "local.nesterov=True"]),
        ({"space": None}, ["space=None", "a function"]),
        ({"presets": {}}, ["presets={}", "at least one Preset"]),
        ({"presets": None}, ["presets=None", "a dictionary"]),
        ({"presets": {"small": 5}}, ["presets['small']=5", "a Preset"]),
        ({"presets": {"%s small": SMALL}}, ["presets='%s small'", "letters, digits"]),
        ({"objectives": "bytes_up"}, ["objectives='bytes_up'", '("bytes_up",)']),
        ({"objectives": ("bytes_upp",)}, ["objectives='bytes_upp'", "did you mean bytes_up?"]),
        ({"objectives": ("test_loss",)}, ["objectives='test_loss'", "on validation"]),
        ({"objectives": ("score",)}, ["objectives='score'"]),
        ({"objectives": ("bytes_up", "bytes_up")}, ["objectives=", "different"]),
        ({"objectives": (["bytes_up"],)}, ["objectives=['bytes_up']"]),
        ({"target": 70}, ["target=70", "in (0, 1]"]),
        ({"target": 0.0}, ["target=0.0", "in (0, 1]"]),
        ({"target_of": {"local.steps": 4}}, ["target_of=", "empty without a target"]),
        ({"target": 0.7, "target_of": {"local.stps": 4}}, ["target_of: local.stps"]),
        ({"budget_counts_head": "yes"}, ["budget_counts_head='yes'", "True or False"]),
        ({"joint_arms": []}, ["joint_arms=[]", "at least one"]),
        ({"joint_space": 3}, ["joint_space=3", "a function"]),
    ],
)
def test_mistakes_of_a_study(changed: dict[str, Any], words: list[str]) -> None:
    line = refused(replace(STUDY, **changed))
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"help": None}, ["help=None", "a text"]),
        ({"budget": 0}, ["budget=0", "a whole number in [1,"]),
        ({"budget": -5}, ["budget=-5"]),
        ({"budget": "800"}, ["budget='800'"]),
        ({"budget": 8e2}, ["budget=800.0"]),
        ({"budget": True}, ["budget=True"]),
        ({"budget": 10**30}, ["budget=1000", "1,000,000,000"]),
        ({"eval_steps": 0}, ["eval_steps=0"]),
        ({"trials": 0}, ["trials=0"]),
        ({"seeds": 0}, ["seeds=0"]),
        ({"finalists": 0}, ["finalists=0"]),
        ({"overrides": []}, ["overrides=[]", "a dictionary"]),
        ({"overrides": {"learning_rate": 1}}, ["overrides: learning_rate", "local.lr"]),
        ({"space": 4}, ["space=4", "a function"]),
        ({"arms": []}, ["arms=[]", "at least one arm"]),
        ({"arms": [{}, {}]}, ["arms[1]: the same as arms[0], all"]),
        ({"first": [3]}, ["first[0]=3", "a dictionary"]),
        ({"first": [{"local.lr": -1}]}, ["first[0]: local.lr=-1"]),
        ({"prune": 1}, ["prune=1", "True or False"]),
        ({"probe": {"local.lr": 0}}, ["probe: local.lr=0"]),
        ({"probe": {"local.steps": 1}}, ["probe local.steps: this study's arms set it already"]),
    ],
)
def test_mistakes_of_a_preset(changed: dict[str, Any], words: list[str]) -> None:
    """Of any, also where another is asked for."""
    presets = {"small": SMALL, "other": replace(SMALL, **changed)}
    line = refused(replace(STUDY, presets=presets), "--preset", "small")
    assert "other" in line
    for word in words:
        assert word in line


def raises(trial: optuna.Trial) -> Mapping[str, Value]:
    raise KeyError("no such thing")


def upside_down(trial: optuna.Trial) -> Mapping[str, Value]:
    return {"local.lr": trial.suggest_float("local.lr", 1.0, 0.1)}


def too_far(trial: optuna.Trial) -> Mapping[str, Value]:
    return {"local.momentum": trial.suggest_float("local.momentum", 0.0, 1.0)}


def unknown(trial: optuna.Trial) -> Mapping[str, Value]:
    return {"learning_rate": trial.suggest_float("learning_rate", 0.1, 1.0)}


def of_lists(trial: optuna.Trial) -> Mapping[str, Any]:
    return {"local.lr": trial.suggest_categorical("local.lr", [[0.1], [0.2]])}  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        (raises, ["raises KeyError: 'no such thing'"]),
        (lambda trial: None, ["returns None: must return a dictionary"]),
        (upside_down, ["raises ValueError", "low"]),
        (too_far, ["local.momentum=1.0: must be in [0, 1)", "arm J=4"]),
        (unknown, ["learning_rate: no such configuration field; did you mean local.lr?"]),
        (of_lists, ["local.lr=["]),
    ],
)
@pytest.mark.parametrize("where", ["study", "preset"])
def test_mistakes_of_a_space(where: str, space: Any, words: list[str]) -> None:
    study = replace(STUDY, space=space)
    if where == "preset":
        study = replace(STUDY, presets={"small": replace(SMALL, space=space)})
    line = refused(study)
    assert "space" in line
    for word in words:
        assert word in line


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--trials", str(10**12)], ["--trials 1000000000000", "2,000,000,000,002 runs of 2 arms"]),
        (["--seeds", "1000000000"], ["--seeds 1000000000", "2,000,000,004 runs of 2 arms"]),
        (["--seed", str(10**12)], ["--seed 1000000000000: must be at most 999999999999"]),
    ],
)
def test_what_cannot_end_is_refused(argv: list[str], words: list[str]) -> None:
    with pytest.raises(UserError) as error:
        request_of(STUDY, options.parse(STUDY, argv))
    for word in words:
        assert word in str(error.value)


def test_a_time_budget_or_a_grid_end_any_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    many = ["--trials", str(10**12), "--time-budget", "8h"]
    assert request_of(STUDY, options.parse(STUDY, many)).plan.seconds == 8 * 3600
    grid = ["--trials", str(10**12), "--searcher", "grid", "--set", "local.lr=0.1"]
    assert request_of(STUDY, options.parse(STUDY, grid)).plan.searcher == "grid"


def test_the_check_says_nothing_of_a_good_study() -> None:
    declared.check(STUDY)
