"""How wide a table's columns are in print, and how they share pages that are too narrow for all.

The widths are those of Computer Modern; other text fonts are narrower.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fl_analysis.tables.escapes import number
from fl_analysis.tables.render import Block

#: Points at ten points: digits and most other characters have 5, capitals 7.4 on the average.
_WIDTHS = {
    **dict.fromkeys("bdhnpqu", 5.6),
    **dict.fromkeys("kvxy", 5.3),
    **dict.fromkeys("cez", 4.45),
    **dict.fromkeys("il.,:;'!|[]", 2.8),
    **dict.fromkeys(" -fj", 3.35),
    **dict.fromkeys("rst()", 3.95),
    **dict.fromkeys("mw%&", 8.4),
    **dict.fromkeys("MW@—", 10.3),
    **dict.fromkeys("±=+<>~×−", 7.8),
    **dict.fromkeys("⁻⁰¹²³⁴⁵⁶⁷⁸⁹†", 4.4),
    "N": 8.1,
}
_WRAP = 110.0  # points; longer text breaks into lines
_BOLD = 1.16
_LABELS = 200.0  # points for all labels of a row


@dataclass(frozen=True)
class Column:
    """`place` in the block; `heads`: an upper and a lower line; `width` in points."""

    place: int
    heads: tuple[str, str]
    width: float
    wraps: bool
    scale: float

    def lines(self, text: str) -> int:
        """How many lines a cell takes, words broken where they would be."""
        return math.ceil(1.2 * self.scale * text_width(text) / self.width) if self.wraps else 1


def text_width(text: str) -> float:
    """Points of a text at ten points.

    >>> round(text_width("70.1 ± 0.3"))
    45
    """
    return sum(_WIDTHS.get(c) or (7.4 if c.isupper() else 5.0) for c in text)


def columns_of(block: Block, scale: float) -> list[Column]:
    """The columns at a size that makes the widths `scale` times those at ten points."""
    most = min(_WRAP, _LABELS / block.labels)
    found = []
    for x, head in enumerate(block.header):
        cells = [
            text_width(number(cited(block, y, x)[0])) * (_BOLD if (y, x) in block.bold else 1)
            for y in range(len(block.rows))
        ]
        inside = max(cells, default=0.0)
        heads = _heads(head, inside)
        width = scale * max(inside, *map(text_width, heads))
        limit = most if x < block.labels else _WRAP
        found.append(Column(x, heads, min(width, limit), width > limit, scale))
    return found


def cited(block: Block, y: int, x: int) -> tuple[str, str]:
    """A cell as print has it, and what it cites: the document's name becomes a number."""
    text = block.rows[y][x]
    if not (block.cites and block.header[x] == "source"):
        return text, ""
    key = block.cites[y]
    return f"[10]{text.removeprefix(block.sources[key].name)}", key


def _heads(head: str, inside: float) -> tuple[str, str]:
    """A head in two lines where it is wider than what stands below it."""
    if text_width(head) <= inside:
        return "", head
    words = head.split(" ")
    ways = [(" ".join(words[:i]), " ".join(words[i:])) for i in reversed(range(len(words)))]
    return min(ways, key=lambda pair: max(inside, *map(text_width, pair)))


def parts_of(
    block: Block, columns: Sequence[Column], limit: float, gap: float
) -> list[tuple[Sequence[Column], str]]:
    """Columns that fit together into `limit` points, the labels with each, and what they hold.
    Whole sections stand together where they fit.
    """
    labels = list(columns[: block.labels])
    room = limit - sum(c.width + gap for c in labels)
    starts = [*block.sections] or [(block.labels, "further columns")]
    ends = [start for start, _ in starts[1:]] + [len(columns)]
    sections = [(columns[start:end], w) for (start, w), end in zip(starts, ends, strict=True)]
    found: list[tuple[list[Column], list[str]]] = []
    left = 0.0
    for section, words in sections:
        whole = sum(c.width + gap for c in section) <= room
        for piece in [section] if whole else [[column] for column in section]:
            need = sum(c.width + gap for c in piece)
            if not found or need > left:
                found.append(([*labels], []))
                left = room
            found[-1][0].extend(piece)
            found[-1][1].extend([words] if words not in found[-1][1] else [])
            left -= need
    return [(part, ", ".join(words)) for part, words in found]
