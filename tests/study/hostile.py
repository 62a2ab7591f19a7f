"""Inputs of all kinds for a study's command line and its file, typed and hostile."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st

from fl_core.config.fields import specs
from fl_core.config.trial_config import TrialConfig
from fl_core.study.presets import Preset
from fl_core.study.study import Study

FIELDS = specs(TrialConfig)
TEXTS = [
    "",
    " ",
    "\n",
    "\t",
    "\0",
    "a\nb",
    "nan",
    "NaN",
    "inf",
    "-inf",
    ".inf",
    "1e309",
    "-1e309",
    "1e-320",
    "9" * 5000,
    "[" * 3000,
    "{" * 3000,
    "!!python/object:os.system",
    "&a [*a]",
    "0x10",
    "0b1",
    "1_000",
    "2026-11-27",
    "12:30:45",
    "../../x",
    "..",
    ".",
    "/",
    "/dev/zero",
    "/dev/null",
    "/proc/x",
    "/etc/passwd/x",
    "~",
    "a" * 300,
    "/".join(["a" * 200] * 30),
    "\udc80",
    "☃",
    "١٢",
    "[/red]",
    "[bold]",
    "%s",
    "%(prog)s",
    "$(reboot)",
    "`id`",
    "; ls",
    "-1",
    "--",
    "-",
    "--set",
    "null",
    "None",
    "true",
    "false",
    "0",
    "1",
    "1e400",
    "http://[::1",
    "http://",
    "http://x:99999",
    "sqlite://",
    "sqlite:///",
    "sqlite:///:memory:",
    "sqlite:////dev/null/x.db",
    "file:///x",
    "s3://",
    "memory://x",
    "ray://x:1",
    "auto",
    "x:y",
    "os:system",
    "package.module:name",
    "sha256:",
    "cuda:99",
    "cpu:abc",
    "1/2",
    "0.3333",
    "5",
    "5h",
    "-5m",
    "1e999h",
    "2**31",
    "🙂" * 100,
]


def texts() -> st.SearchStrategy[str]:
    """What somebody may type who wants it to fail."""
    return st.sampled_from(TEXTS) | st.text(max_size=30)


def typed(name: str) -> st.SearchStrategy[str]:
    """Values that a field takes by itself, as texts, and numbers of any size."""
    meta = FIELDS[name].metadata
    kind = str(FIELDS[name].type).split(" | ")[0]
    if "choices" in meta:
        return st.sampled_from(meta["choices"])
    if kind == "bool":
        return st.sampled_from(["true", "false"])
    if kind == "str":
        return st.sampled_from(["pretrained", "random", "cnn", "all", "norm", "linear+norm"])
    whole = st.integers(-1, 10**7).map(str)
    return whole if kind == "int" else whole | st.floats(width=32).map(str)


def settings_of_fields() -> st.SearchStrategy[str]:
    """NAME=VALUE of every field, and what looks like it."""
    fields = st.sampled_from(sorted(FIELDS))
    good = fields.flatmap(lambda name: typed(name).map(lambda value: f"{name}={value}"))
    return st.one_of(
        good, good, good, st.builds("{}={}".format, fields | texts(), texts()), texts()
    )


def words_of(action: argparse.Action) -> st.SearchStrategy[list[str]]:
    """An option of the parser with a value, typed or hostile."""
    option = st.sampled_from(action.option_strings)
    if action.nargs == 0:
        return st.tuples(option).map(list)
    if action.dest == "values":
        value = settings_of_fields()
    elif action.choices:
        right = st.sampled_from(list(action.choices))
        value = st.one_of(right, right, texts())
    else:
        right = st.integers(0, 40).map(str) | st.sampled_from(["x", "cpu", "8h", "0.5", "auto"])
        value = st.one_of(right, right, texts())
    apart = st.tuples(option, value).map(list)
    return apart | st.builds("{}={}".format, option, value).map(lambda word: [word])


def command_lines(parser: argparse.ArgumentParser) -> st.SearchStrategy[list[str]]:
    """Up to four options; now and then a word that is none."""
    actions = [one for one in parser._actions if one.dest not in ("help", "fields")]
    known = st.sampled_from(actions).flatmap(words_of)
    option = st.one_of(*[known] * 9, texts().map(lambda word: [word]))
    return st.lists(option, max_size=4).map(
        lambda lists: [word for words in lists for word in words]
    )


class Unshowable:
    """An object whose repr fails."""

    def __repr__(self) -> str:
        raise RuntimeError("no")


def _raising(trial: Any) -> Any:
    raise RuntimeError("two\nlines")


def _upside_down(trial: Any) -> Any:
    return {"local.lr": trial.suggest_float("local.lr", 1.0, 0.1)}


def _of(value: Any) -> Any:
    return lambda trial: value


def things() -> st.SearchStrategy[Any]:
    """Objects of any type."""
    loop: list[Any] = []
    loop.append(loop)
    odd = [
        None,
        True,
        0,
        -1,
        1,
        10**30,
        10**5000,
        0.0,
        float("nan"),
        float("inf"),
        1j,
        b"x",
        (),
        [],
        {},
        set(),
        loop,
        Unshowable(),
        Unshowable,
        object(),
        np.zeros(3),
        np.float64("nan"),
        np.int64(3),
        range(3),
        iter([1]),
        len,
        _raising,
        _upside_down,
        _of(None),
        _of([]),
        _of({"local.lr": None}),
        _of({3: 4}),
        _of({"local.lr": 1e300}),
        _of({"local.steps": 3}),
        _of({}),
        _of({"local.lr": Unshowable()}),
        ("bytes_up",),
        ["bytes_up", "score"],
        ({"a": {}},),
        [{"local.lr": 0.1}],
        [{}, {}],
        {"small": None},
    ]
    return st.sampled_from(odd) | texts()


def values() -> st.SearchStrategy[Any]:
    """A dictionary of fields and values, of which some are wrong."""
    names = st.sampled_from(sorted(FIELDS)) | texts() | st.sampled_from([3, None, ("a",)])
    scalars = st.none() | st.booleans() | st.integers(-1, 10**7) | st.floats() | things()
    return st.dictionaries(names, scalars, max_size=3) | things()


def studies(right: Study) -> st.SearchStrategy[Study]:
    """The study with one to three parts replaced, of itself or of its preset."""
    own = {spec.name: things() for spec in dataclasses.fields(Study) if spec.init}
    own |= {"base": values(), "arms": st.lists(values(), max_size=3) | things()}
    own |= {"joint_arms": own["arms"]}
    of_preset = {spec.name: things() | st.integers(-1, 100) for spec in dataclasses.fields(Preset)}
    of_preset |= {"overrides": values(), "probe": values(), "arms": own["arms"]}
    of_preset |= {"first": st.lists(values(), max_size=2) | things()}

    def parts(of: dict[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[dict[str, Any]]:
        some = st.lists(st.sampled_from(sorted(of)), min_size=1, max_size=2, unique=True)
        return some.flatmap(lambda names: st.fixed_dictionaries({n: of[n] for n in names}))

    def with_preset(changed: dict[str, Any]) -> Study:
        ((name, preset),) = right.presets.items()
        return dataclasses.replace(right, presets={name: dataclasses.replace(preset, **changed)})

    changed = parts(own).map(lambda some: dataclasses.replace(right, **some))
    return changed | parts(of_preset).map(with_preset)
