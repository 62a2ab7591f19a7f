"""What a study's runs say of their tasks, and what is known of published data sets.

A study writes down what it found in its data (`fl_core.study.found`); of studies that did not, and
of what no study can tell, `fl_core.data.catalogue` knows the published data sets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fl_core.config.vocabulary import DASH
from fl_core.data.catalogue import DATA_SETS, data_title

TASKS = "tasks"  # the tag of a study's run


@dataclass(frozen=True)
class TaskFacts:
    """A task as far as it is known; None is unknown.

    inputs: images, features, tokens. train: training examples, val: those of them that are held
    back for validation. names: of the classes, in the order of their labels. superclasses: the
    classes of each, as a text; short: superclasses' names for an axis.
    """

    data: str  # `data.name`
    title: str
    classes: int | None = None
    inputs: str | None = None
    train: int | None = None
    val: int | None = None
    test: int | None = None
    names: tuple[str, ...] = ()
    superclasses: Mapping[str, str] = field(default_factory=dict)
    short: Mapping[str, str] = field(default_factory=dict)

    @property
    def noun(self) -> str:
        """What its examples are called."""
        return "images" if self.inputs == "images" else "examples"


def task_facts(config: Mapping[str, Any], found: Sequence[Mapping[str, Any]] = ()) -> TaskFacts:
    """The task of a configuration; found: what the study's run says of its tasks.

    >>> task_facts({"data.name": "digits"}).noun, task_facts({"data.name": "mine:spectra"}).noun
    ('images', 'examples')
    """
    name, path = str(config.get("data.name") or ""), str(config.get("data.path") or "")
    facts: dict[str, Any] = {"title": data_title(name, path)}
    if (known := DATA_SETS.get(name)) is not None:
        facts |= {"classes": known.classes, "train": known.train, "test": known.test}
        facts |= {"inputs": known.inputs}
        facts |= {"names": known.names, "superclasses": known.superclasses, "short": known.short}
    for one in found:
        if (one.get("name"), one.get("path", path)) == (name, path):
            facts |= {n: one[n] for n in ("classes", "inputs", "train", "val") if n in one}
            facts |= {"names": tuple(one["names"])} if one.get("names") else {}
    return TaskFacts(name, **facts)


def titles(tasks: Iterable[TaskFacts]) -> str:
    """The data sets of several arms in print, each once."""
    return "/".join(dict.fromkeys(task.title for task in tasks if task.title)) or DASH
