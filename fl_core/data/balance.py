"""Tables of counts: whole numbers, exact column sums, row sums as equal as can be.

A table is (clients, classes): how many examples of each class a client gets. A real one is made
even by `fitted` or comes with equal rows already; `whole` turns it into integers within bounds:
`rounded` entry by entry, then `levelled` along augmenting paths until no other table with these
columns and bounds has more equal rows.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def fitted(held: Bools, columns: Ints) -> Floats:
    """Iterative proportional fitting (Deming & Stephan 1940): equal rows, then exact columns.

    Equal rows may be out of reach on this support; `levelled` then has the last word.
    """
    degrees = np.maximum(held.sum(axis=0), 1)
    row = columns.sum() / len(held)
    table: Floats = held * (columns / degrees)
    for _ in range(100):
        sums = table.sum(axis=1, keepdims=True)
        if np.abs(sums - row).max() < 0.1:
            break
        table *= row / np.where(sums > 0, sums, 1)
        sums = table.sum(axis=0)
        table *= columns / np.where(sums > 0, sums, 1)
    return table


def rounded(table: Floats, totals: Ints) -> Ints:
    """Each entry rounded down or up, column sums exact; the rows' errors are carried along."""
    counts = np.floor(table).astype(np.int64)
    carry = np.zeros(len(table))
    for c in range(table.shape[1]):
        rest = table[:, c] - counts[:, c]
        order = np.argsort(np.where(rest > 0, -(rest + carry), np.inf), kind="stable")
        counts[order[: totals[c] - counts[:, c].sum()], c] += 1
        carry += table[:, c] - counts[:, c]
    return counts


def whole(table: Floats, totals: Ints, low: Ints, high: Ints) -> Ints:
    """The real table in whole examples, within [low, high]: column sums exact, rows levelled.

    First within the table's own floor and ceiling, where sizes within one exist if its rows are
    equal (a flow with integral bounds; the margin is for floating-point error), then freely.
    """
    near = np.floor(table - 1e-6).astype(np.int64), np.ceil(table + 1e-6).astype(np.int64)
    counts = levelled(rounded(table, totals), np.maximum(low, near[0]), np.minimum(high, near[1]))
    return levelled(counts, low, high)


def levelled(counts: Ints, low: Ints, high: Ints) -> Ints:
    """Counts within [low, high] with sizes (row sums) as equal as can be and columns unchanged.

    Examples move along client-class-client paths, from the largest clients to any that is smaller
    by two or more. When no path is left, no other counts have a smaller maximum, a larger minimum
    or a smaller sum of squares (Harvey et al. 2006 for such semi-matchings).
    """
    spare, room = counts - low, high - counts
    sizes = counts.sum(axis=1)
    done = np.zeros(len(counts), dtype=np.bool_)
    while not done.all() and np.ptp(sizes[~done]) > 1:
        sources = ~done & (sizes == sizes[~done].max())
        poor = ~done & (sizes <= sizes[sources][0] - 2)
        parent, via = _search(spare, room, sources, poor)
        ends = np.flatnonzero(poor & (parent >= 0))
        if not ends.size:  # what was reached has no way out and nobody poor: it is settled
            done |= sources | (parent >= 0)
        for end in ends[np.argsort(sizes[ends], kind="stable")]:
            _push(spare, room, sizes, parent, via, int(end))
    return low + spare


def _search(spare: Ints, room: Ints, sources: Bools, poor: Bools) -> tuple[Ints, Ints]:
    """Breadth-first until a level has someone poor: from whom, by which class (-1: unreached)."""
    parent, via = np.full(len(spare), -1), np.full(len(spare), -1)
    unused = np.ones(spare.shape[1], dtype=np.bool_)
    level = np.flatnonzero(sources)
    while level.size and not poor[level].any():
        can_give = spare[level] > 0
        following = []
        for c in np.flatnonzero(unused & can_give.any(axis=0)):
            givers = level[can_give[:, c]]
            takers = np.flatnonzero((room[:, c] > 0) & (parent < 0) & ~sources)
            parent[takers] = np.resize(givers, len(takers))
            via[takers] = c
            following.append(takers)
            unused[c] = False
        level = np.concatenate(following) if following else level[:0]
    return parent, via


def _push(spare: Ints, room: Ints, sizes: Ints, parent: Ints, via: Ints, end: int) -> None:
    """Move what the path to `end` can carry and its two ends need; by now maybe nothing."""
    path, start = [], end
    while parent[start] >= 0:
        path.append((parent[start], start, via[start]))
        start = int(parent[start])
    amount = (sizes[start] - sizes[end]) // 2
    for giver, taker, c in path:
        amount = min(amount, spare[giver, c], room[taker, c])
    if amount < 1:
        return
    for giver, taker, c in path:
        spare[giver, c] -= amount
        room[giver, c] += amount
        spare[taker, c] += amount
        room[taker, c] -= amount
    sizes[start] -= amount
    sizes[end] += amount
