"""The classes of a task as figures call them, and what superclasses they belong to, if any."""

from __future__ import annotations

from dataclasses import dataclass

from fl_analysis.reading.tasks import TaskFacts

LONGEST = 22  # characters of a name in a figure


@dataclass(frozen=True)
class Classes:
    """The classes of a data set. `parents`: the superclass of each, as an index of `groups`."""

    names: tuple[str, ...]
    groups: tuple[str, ...] = ()  # empty: no superclasses
    parents: tuple[int, ...] = ()

    def members(self, group: int) -> list[int]:
        """The classes of a superclass, in order."""
        return [label for label, parent in enumerate(self.parents) if parent == group]

    def order(self) -> list[int]:
        """All classes, those of a superclass side by side."""
        if not self.groups:
            return list(range(len(self.names)))
        return [label for group in range(len(self.groups)) for label in self.members(group)]

    def related(self, one: int, other: int) -> bool:
        """Whether two classes share a superclass."""
        return bool(self.groups) and self.parents[one] == self.parents[other]


def classes_of(task: TaskFacts, count: int) -> Classes:
    """The classes of a task of which `count` were seen; numbers where their names are unknown.

    >>> classes_of(TaskFacts("mine:spectra", "spectra", names=("low_band", "high_band")), 2).names
    ('low band', 'high band')
    >>> classes_of(TaskFacts("mine:spectra", "spectra", classes=3), 2).names
    ('0', '1', '2')
    """
    if not task.names or count > len(task.names):
        return Classes(tuple(map(str, range(max(count, task.classes or 0)))))
    names = tuple(map(_readable, task.names))
    parent = {
        name: index
        for index, members in enumerate(task.superclasses.values())
        for name in members.split()
    }
    if not all(name in parent for name in task.names):
        return Classes(names)
    groups = tuple(_readable(task.short.get(group, group)) for group in task.superclasses)
    return Classes(names, groups, tuple(parent[name] for name in task.names))


def _readable(name: str) -> str:
    """On one line, and not too long for a figure's margin."""
    text = " ".join(name.replace("_", " ").split()) or repr(name)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"
