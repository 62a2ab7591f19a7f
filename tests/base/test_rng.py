"""Contract 1: a stream is a pure function of its name."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fl_core.base.rng import stream

Name = tuple[int, str, tuple[int, ...]]
names = st.tuples(
    st.integers(0, 2**70),
    st.sampled_from(["shard", "clients", "batches", "augment", "init"]),
    st.lists(st.integers(0, 2**40), max_size=3).map(tuple),
)


def first(seed: int, purpose: str, *indices: int) -> tuple[int, ...]:
    """The first 128 random bits."""
    return tuple(stream(seed, purpose, *indices).integers(2**63, size=2))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(names, names)
def test_same_name_same_draws_other_name_other_draws(one: Name, two: Name) -> None:
    a, b = ((seed, purpose, *indices) for seed, purpose, indices in (one, two))
    assert first(*a) == first(*a)
    assert (first(*a) == first(*b)) == (a == b)


def test_neighbours_are_distinct() -> None:
    """Every part of the name counts, and where one part ends and the next begins."""
    purposes = ("batches", "augment", "batches1", "")
    indices = [(), (0,), (1,), (1, 23), (12, 3), (123,), (1, 2, 3), (3, 2, 1), (23, 1), (0, 0)]
    every = list(itertools.product(range(12), purposes, indices))
    assert len({first(seed, purpose, *rest) for seed, purpose, rest in every}) == len(every)


def test_streams_of_neighbouring_rounds_are_independent() -> None:
    draws = np.array([stream(0, "batches", r, c).random(50) for r in range(20) for c in range(20)])
    correlation = np.corrcoef(draws)[np.triu_indices(len(draws), 1)]
    assert abs(correlation.mean()) < 4 / np.sqrt(49 * correlation.size)
    assert 0.9 < correlation.var() * 49 < 1.1  # of independent rows: 1 / (n - 1)
    assert abs(draws.mean() - 0.5) < 4 / np.sqrt(12 * draws.size)


def test_a_new_consumer_disturbs_no_other() -> None:
    alone = stream(3, "clients", 5).random(8)
    disturbed = stream(3, "clients", 5)
    parts = [disturbed.random(3)]
    stream(3, "something new", 5).random(1000)
    stream(3, "clients", 6).random(1000)
    np.random.default_rng(0).random(10)
    parts.append(disturbed.random(5))
    assert (np.concatenate(parts) == alone).all()


def test_numpy_integers_name_the_same_stream() -> None:
    assert first(np.int64(1), "shard", np.uint8(2)) == first(1, "shard", 2)


def test_another_process_draws_the_same() -> None:
    code = (
        "from fl_core.base.rng import stream\n"
        "print(stream(7, 'batches', 1, 23).random(4).tobytes().hex())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == stream(7, "batches", 1, 23).random(4).tobytes().hex()


def test_the_first_values_do_not_change_by_accident() -> None:
    """Another algorithm or another spelling of the name would change every published result."""
    assert stream(0, "shard").integers(2**32, size=3).tolist() == [
        1342920897,
        1134110614,
        604591686,
    ]
    assert stream(1, "batches", 2, 3).permutation(8).tolist() == [4, 5, 6, 0, 2, 7, 1, 3]
    assert stream(2**70, "init", 0).bit_generator.random_raw() == 16128094261841257536
