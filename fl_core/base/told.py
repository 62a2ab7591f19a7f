"""A line now and then for whoever waits for something long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
PAUSE = 30  # seconds between lines


def told(items: Iterable[T], what: str, total: int, size: Callable[[T], int]) -> Iterator[T]:
    """The items, each `size` of the `total` images, with a line on stderr every half minute."""
    start = said = time.monotonic()
    done = 0
    for item in items:
        yield item
        done += size(item)
        now = time.monotonic()
        if now - said > PAUSE:
            said = now
            left = (said - start) / done * (total - done)
            print(f"{what}: {done}/{total} images, {left:.0f} s left", file=sys.stderr)
