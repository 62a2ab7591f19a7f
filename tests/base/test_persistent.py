"""A persistent mapping: every version stays what it was, whoever is asked in whatever order."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from fl_core.base.persistent import Persistent

#: From which version on (as a share of those there are), what it puts, what it takes away.
STEPS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.dictionaries(st.integers(0, 5), st.integers(), max_size=3),
        st.sets(st.integers(0, 5), max_size=2),
        st.floats(0, 1),
    ),
    max_size=12,
)


@given(STEPS)
def test_any_version_of_any_tree_is_a_dictionary(
    steps: list[tuple[float, dict[int, int], set[int], float]],
) -> None:
    versions: list[tuple[Persistent[int, int], dict[int, int]]] = [(Persistent({1: 1}), {1: 1})]
    for place, put, without, asked in steps:
        version, wanted = versions[int(place * (len(versions) - 1))]
        put = {key: value for key, value in put.items() if key not in without}
        wanted = {key: value for key, value in wanted.items() if key not in without} | put
        versions.append((version.changed(put, without), wanted))
        one, right = versions[int(asked * (len(versions) - 1))]
        assert one == right
    for version, wanted in versions:
        assert version == wanted
        assert len(version) == len(wanted)
        assert {key: version.get(key) for key in range(6)} == {k: wanted.get(k) for k in range(6)}


def test_versions_may_be_read_together() -> None:
    first = Persistent({1: "a", 2: "b"})
    second = first.changed({2: "c", 3: "d"})
    assert [(one, other) for one in first for other in second] == [
        (one, other) for one in (1, 2) for other in (1, 2, 3)
    ]


def test_an_old_version_holds_what_it_had_and_no_more() -> None:
    """Whatever came and went since."""

    class Value:
        pass

    first = last = Persistent({0: Value()})
    alive = []
    for _ in range(10):
        last = last.changed({0: Value(), 1: Value()})
        alive += [weakref.ref(last[0]), weakref.ref(last[1])]
    gc.collect()
    assert [value() is None for value in alive] == [True] * 18 + [False] * 2
    assert (len(first), len(last)) == (1, 2)
    again = first.changed({2: Value()})  # the old one is now of another line
    del last
    gc.collect()
    assert not any(value() for value in alive)
    assert (list(first), sorted(again)) == ([0], [0, 2])


def test_what_nobody_holds_goes() -> None:
    class Value:
        pass

    first = Persistent({1: Value()})
    old = weakref.ref(first[1])
    second = first.changed({1: Value()})
    assert first[1] is old()
    assert second[1] is not old()
    del first
    gc.collect()
    assert old() is None
    assert len(second) == 1


def test_the_next_version_looks_at_its_changes_alone() -> None:
    """However many items there are; only from an older one does it take a copy."""

    class Key(int):
        looks = 0

        def __hash__(self) -> int:
            Key.looks += 1
            return int(self)

    looks = []
    for size in (10, 1000):
        first = Persistent({Key(number): number for number in range(size)})
        Key.looks = 0
        second = first.changed({Key(3): 0})
        assert (first[Key(3)], second[Key(3)]) == (3, 0)
        looks.append(Key.looks)
    assert looks[0] == looks[1]
