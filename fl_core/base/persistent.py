"""A mapping that is a value, and whose next version costs its changes, not a copy.

The versions of a mapping share one dictionary, which is the content of the newest. A change first
leaves every older version that somebody still holds what it had there and has not noted before: so
an older one keeps no more than its own content, and goes when nobody holds it. To go on from an
older one takes a copy.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Persistent(Mapping[K, V]):
    """Immutable. Items come in no particular order."""

    def __init__(self, content: Mapping[K, V] | None = None) -> None:
        self._line: _Line[K, V] = _Line(dict(content or {}))
        self._newest = True
        self._had: dict[K, V] = {}  # where the newest has something else,
        self._lacked: set[K] = set()  # and where it has anything

    def changed(self, put: Mapping[K, V], without: Collection[K] = ()) -> Persistent[K, V]:
        """The version with these items, and without these keys, whether it has them or not."""
        if not self._newest:
            self._line, self._had, self._lacked = _Line(self._copy()), {}, set()
        following: Persistent[K, V] = Persistent()
        following._line, self._newest = self._line, False
        self._line.change(self, put, without)
        return following

    def note(self, keys: Collection[K]) -> None:
        """The line is about to change under these keys."""
        table = self._line.table
        for key in keys:
            if key in self._had or key in self._lacked:
                continue
            if key in table:
                self._had[key] = table[key]
            else:
                self._lacked.add(key)

    def __getitem__(self, key: K) -> V:
        if key in self._had:
            return self._had[key]
        if key in self._lacked:
            raise KeyError(key)
        return self._line.table[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._copy())  # whoever iterates may make a next version meanwhile

    def __len__(self) -> int:
        return len(self._copy() if self._lacked or self._had else self._line.table)

    def _copy(self) -> dict[K, V]:
        table = {**self._line.table, **self._had}
        for key in self._lacked:
            table.pop(key, None)
        return table


class _Line(Generic[K, V]):
    """One version after the other: the content of the newest, and who is older."""

    def __init__(self, table: dict[K, V]) -> None:
        self.table = table
        self._older: list[weakref.ref[Persistent[K, V]]] = []

    def change(self, newest: Persistent[K, V], put: Mapping[K, V], without: Collection[K]) -> None:
        """The newest version becomes an older one."""
        self._older.append(weakref.ref(newest))
        alive = [(version, own) for version in self._older if (own := version()) is not None]
        for _, own in alive:
            own.note((*put, *without))
        self._older = [version for version, _ in alive]
        for key in without:
            self.table.pop(key, None)
        self.table.update(put)
