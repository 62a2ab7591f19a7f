"""What can be wrong with a study that a user has written: said in one line, with file and field.

Looked at when its command is read, not when the `Study` is made: an error there would be a
traceback, as nothing in the file is called by `main` yet. What its space does is looked at in
`search.probing`, which needs Optuna.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from fl_core.base.errors import UserError
from fl_core.config.fields import shown
from fl_core.config.record import METRICS
from fl_core.config.trial_config import check_value
from fl_core.study.plan import SEARCHERS
from fl_core.study.presets import MOST_WORK, PACE, Preset
from fl_core.study.resolved import resolve
from fl_core.study.study import Study

#: A study's name is a folder and an MLflow experiment, a preset's a word of the command line.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,99}")
#: What a search may minimise: not what it maximises, and nothing of the test set.
OBJECTIVES = [name for name in METRICS if name != "score" and not name.startswith("test_")]
_BUDGETS = ("budget", "eval_steps", "trials", "seeds", "finalists")


def check(study: Study) -> None:
    """UserError for the first mistake."""
    with _within(f"{study.file}: "):
        _check_study(study)
        for name, preset in study.presets.items():
            with _within(f"presets[{name!r}]."):
                _check_preset(preset)
        for name, preset in study.presets.items():
            with _within(f"preset {name}: "):
                resolve(study, preset, {})


@contextmanager
def _within(where: str) -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise UserError(f"{where}{error}") from error


def _check_study(study: Study) -> None:
    _require("name", study.name, _is_name, "letters, digits and _.+- (it names a folder)")
    asks = isinstance(study.question, str) and bool(study.question.strip())
    if not asks:
        raise _wrong("question", study.question, "a text; the file needs a docstring")
    _check_values("base", study.base)
    _check_settings("arms", study.arms)
    _require("space", study.space, callable, "a function of an Optuna trial")
    _require("presets", study.presets, _is_mapping, "a dictionary of names and Presets")
    if not study.presets:
        raise _wrong("presets", study.presets, "at least one Preset; the first is the default")
    for name, preset in study.presets.items():
        _require("presets", name, _is_name, "named by letters, digits and _.+-")
        _require(f"presets[{name!r}]", preset, lambda one: isinstance(one, Preset), "a Preset")
    _check_objectives(study.objectives)
    _check_target(study)
    _require("budget_counts_head", study.budget_counts_head, _is_bool, "True or False")
    _check_settings("joint_arms", study.joint_arms)
    if study.joint_space is not None:
        _require("joint_space", study.joint_space, callable, "a function of an Optuna trial")


def _check_objectives(objectives: object) -> None:
    if not isinstance(objectives, (tuple, list)):
        raise _wrong("objectives", objectives, 'several names: ("bytes_up",)')
    for name in objectives:
        if not isinstance(name, str) or name not in OBJECTIVES:
            close = get_close_matches(str(name), OBJECTIVES, n=1)
            hint = f"did you mean {close[0]}?" if close else "bytes_up, local_steps, …"
            raise _wrong("objectives", name, f"a metric of a trial on validation; {hint}")
    if len(set(objectives)) < len(objectives):
        raise _wrong("objectives", objectives, "different metrics")


def _check_target(study: Study) -> None:
    _check_values("target_of", study.target_of)
    if study.target is not None:
        _require("target", study.target, _is_share, "a number in (0, 1]")
    elif study.target_of:
        raise _wrong("target_of", study.target_of, "empty without a target, of which it is a share")


def _check_preset(preset: Preset) -> None:
    _require("help", preset.help, lambda text: isinstance(text, str), "a text")
    for name in _BUDGETS:
        _require(name, getattr(preset, name), _is_count, f"a whole number in [1, {MOST_WORK:,}]")
    _check_values("overrides", preset.overrides)
    if preset.space is not None:
        _require("space", preset.space, callable, "a function of an Optuna trial")
    if preset.arms is not None:
        _check_settings("arms", preset.arms)
    _require("first", preset.first, _is_sequence, "a list of dictionaries")
    for number, point in enumerate(preset.first):
        _check_values(f"first[{number}]", point)
    for name in ("prune", "neighbours"):
        _require(name, getattr(preset, name), _is_bool, "True or False")
    _require("searcher", preset.searcher, SEARCHERS.__contains__, " or ".join(SEARCHERS))
    if preset.probe is not None:
        _check_values("probe", preset.probe)


def _check_settings(where: str, settings: object) -> None:
    if not _is_sequence(settings):
        raise _wrong(where, settings, "a list of dictionaries, one an arm")
    assert isinstance(settings, Sequence)
    if not settings:
        raise _wrong(where, settings, "at least one arm; [{}] is the base alone")
    for number, setting in enumerate(settings):
        _check_values(f"{where}[{number}]", setting, may=("rounds",))  # as equal bytes ask for


def _check_values(where: str, values: object, may: Sequence[str] = ()) -> None:
    """Names and values each by itself; whether they go together says the configuration.

    may: what else follows from the budget, but may be set here.
    """
    _require(where, values, _is_mapping, "a dictionary of fields and values")
    assert isinstance(values, Mapping)
    with _within(f"{where}: "):
        for name, value in values.items():
            check_value(name, value)
            if name in PACE and name not in may:
                raise UserError(f"{name}={shown(value)}: follows from a preset's budget")


def _require(where: str, value: object, test: Callable[[Any], bool], needed: str) -> None:
    if not test(value):
        raise _wrong(where, value, needed)


def _wrong(where: str, value: object, needed: str) -> UserError:
    return UserError(f"{where}={shown(value)}: must be {needed}")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and NAME.fullmatch(value) is not None


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_WORK
