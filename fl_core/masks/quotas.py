"""How many active entries each tensor has, where every tensor gets its share of a total."""

from __future__ import annotations


def quotas(counts: list[int], sizes: list[int]) -> list[list[int]]:
    """Each round's active entries of every tensor: in all exactly `counts`, and never growing.

    The last round's are proportional to the sizes. Apportioning each round by itself could give
    a tensor MORE entries of a smaller total (the Alabama paradox), so the earlier ones go
    backwards: what a round drops is taken in proportion from the entries without a later use.
    """
    found, later = [], [0] * len(sizes)
    for count in reversed(counts):
        spare = [size - used for size, used in zip(sizes, later, strict=True)]
        more = apportion(count - sum(later), spare)
        later = [used + extra for used, extra in zip(later, more, strict=True)]
        found.append(later)
    return found[::-1]


def apportion(total: int, sizes: list[int]) -> list[int]:
    """`total` in proportion to `sizes`, each within one: by largest remainder, in integers."""
    whole = max(sum(sizes), 1)  # nothing to share where no size is left: total = 0
    shares = [total * size // whole for size in sizes]
    order = sorted(range(len(sizes)), key=lambda i: -(total * sizes[i] % whole))
    for i in order[: total - sum(shares)]:
        shares[i] += 1
    return shares
