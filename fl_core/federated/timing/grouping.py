"""Clients grouped into superclients: which go into one chain (Zaccone et al., ICPR 2022, III-B).

Greedy: a group R begins as the uniform mix of classes; the client is added whose estimated mix p
maximises 1 - KL((R + p) / 2 || uniform), ties by number, and R becomes the mean of its clients'
mixes, weighted by their examples. A group is complete with so many examples, or so many clients.
The clients of a last one that is not go, the last added first, to the complete groups that have
room, those with the fewest examples first; where none has room it stays a group.

The authors' code takes the first client left where no score is above 0, which is so for every pair
of clients with few of 100 classes each; and it stops where the last group finds no room.

Groups are numbered by their lowest client: groups of one client each are numbered as the clients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle

import numpy as np

Groups = list[list[int]]  # of clients


def greedy(mixes: np.ndarray, examples: np.ndarray, chain: int, least: int) -> np.ndarray:
    """(K,) the group of each client; mixes: (K, classes) that sum to 1, examples: (K,)."""

    def best(group: Sequence[int], left: np.ndarray) -> int:
        mix = np.full(mixes.shape[1], 1 / mixes.shape[1])
        if group:
            own = np.array(group)
            mix = np.average(mixes[own], axis=0, weights=examples[own])
        return int(np.argmin(distance_to_uniform((mix + mixes[left]) / 2)))

    return _numbered(_grouped(best, examples, chain, least), len(examples))


def at_random(rng: np.random.Generator, examples: np.ndarray, chain: int, least: int) -> np.ndarray:
    """(K,) the group of each client, whatever its classes."""
    order = rng.permutation(len(examples))
    place = {int(client): rank for rank, client in enumerate(order)}

    def first(group: Sequence[int], left: np.ndarray) -> int:
        return int(np.argmin([place[int(client)] for client in left]))

    return _numbered(_grouped(first, examples, chain, least), len(examples))


def distance_to_uniform(mixes: np.ndarray) -> np.ndarray:
    """KL(mix || uniform) in nats, of mixes (..., classes): 0 is uniform, log(classes) one class."""
    safe = np.where(mixes > 0, mixes, 1.0)  # 0 log 0 = 0
    found: np.ndarray = (mixes * np.log(safe)).sum(-1) + np.log(mixes.shape[-1])
    return found


def _grouped(
    choose: Callable[[Sequence[int], np.ndarray], int],
    examples: np.ndarray,
    chain: int,
    least: int,
) -> Groups:
    """choose(group, clients left) -> the place of the next among these."""
    groups: Groups = []
    group: list[int] = []
    left = np.arange(len(examples))
    while len(left):
        place = choose(group, left)
        group.append(int(left[place]))
        left = np.delete(left, place)
        if len(group) == chain or examples[group].sum() >= least:
            groups.append(group)
            group = []
    return [*groups, rest] if (rest := _spread(group, groups, examples, chain)) else groups


def _spread(group: list[int], groups: Groups, examples: np.ndarray, chain: int) -> list[int]:
    """What is left of an incomplete group when the complete ones, which change, are full."""
    roomy = sorted(groups, key=lambda one: examples[one].sum())
    for other in cycle(roomy):
        if not group or all(len(one) >= chain for one in roomy):
            break
        if len(other) < chain:
            other.append(group.pop())
    return group


def _numbered(groups: Groups, clients: int) -> np.ndarray:
    found = np.empty(clients, dtype=np.int32)
    for number, group in enumerate(sorted(groups, key=min)):
        found[group] = number
    return found
