r"""Blocks as LaTeX tables for a paper: booktabs, never shrunk, nine or eight points where the class
has ten.

A table is as wide as a column of two-column `article` where it fits there, else as wide as the text
of one-column `article` (`table*`, which is `table` there): the narrowest of the common classes.
What is wider is split by its columns, the labels of the rows repeated; what is longer than a page,
by its rows. Notes and warnings of an appendix are running text, which breaks over pages.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fl_analysis.tables.columns import Column, cited, columns_of, parts_of, text_width
from fl_analysis.tables.escapes import number, one_line, tex
from fl_analysis.tables.render import Block, right_aligned

#: Points: a column of two-column `article` on A4, the text of one-column `article`; its height.
COLUMN, TEXT, HEIGHT = 221.0, 345.0, 550.0
#: Name, share of the widths at ten points, points from line to line: 9 pt and 8 pt.
_SIZES = ((r"\small", 0.925, 11.0), (r"\footnotesize", 0.85, 9.5))
_GAP = 6.0  # points between columns
_HEAD = 90.0  # points for heads and rules, and around the caption


@dataclass(frozen=True)
class _Float:
    """Some columns and rows of a block."""

    columns: Sequence[Column]
    rows: Sequence[int]
    words: str  # what they are


def paper_table(title: str, block: Block, details: str) -> str:
    r"""`table.tex`: a block as a float that says where the details are."""
    where = rf"Conditions, budgets and hyper-parameters: Table~\ref{{{_label(title, details)}}}."
    if count := len(block.warnings):
        where = f"{where[:-1]}, with {count} warning{'s' if count > 1 else ''}."
    head = f"% {one_line(title)}: needs \\usepackage{{booktabs}}; the details are in appendix.tex"
    return "\n".join([head, *_floats(title, block, [*map(tex, block.notes), where])]) + "\n"


def paper_appendix(title: str, blocks: Sequence[Block]) -> str:
    r"""`appendix.tex`: each block with its notes and warnings."""
    cites = any(block.sources for block in blocks)
    more = "; cites references.bib" if cites else ""
    lines = [f"% {one_line(title)}: needs \\usepackage{{booktabs}}{more}"]
    for block in blocks:
        lines += [*_floats(title, block, ()), *_prose(title, block)]
    return "\n".join(lines) + "\n"


def _label(title: str, name: str) -> str:
    parts = ("tab", title, name)
    return re.sub(r"[^A-Za-z0-9:_-]", "-", ":".join(part for part in parts if part))


def _prose(title: str, block: Block) -> list[str]:
    """The notes and warnings of a block."""
    lines = [_citing(block, tex(note)) for note in block.notes]
    lines += [f"Warning: {tex(text)}." for text in block.warnings]
    if not lines:
        return []
    head = rf"\textbf{{Notes to Table~\ref{{{_label(title, block.label)}}}.}}"
    body = [rf"  {line}\par" for line in (head, *lines)]
    return [r"{\footnotesize\raggedright\parindent=0pt", *body, r"\medskip}"]


def _citing(block: Block, note: str) -> str:
    r"""A note with \cite where it names a document in brackets."""
    for key, source in block.sources.items():
        note = note.replace(tex(f"({source.name})"), rf"\cite{{{key}}}")
    return note


def _floats(title: str, block: Block, small: Sequence[str]) -> Iterator[str]:
    """The block as one float or more; `small`: lines below the last."""
    size, kind, parts = _layout(block)
    first = _label(title, block.label)
    for place, part in enumerate(parts):
        caption, label = tex(block.caption), first
        if place:
            caption = rf"Table~\ref{{{first}}}, continued: {tex(part.words)}."
            label = f"{first}-{place + 1}"
        yield rf"\begin{{{kind}}}[htbp]"
        yield rf"  \centering{size}\setlength{{\tabcolsep}}{{{_GAP / 2:g}pt}}"
        yield rf"  \caption{{{caption}}}"
        yield rf"  \label{{{label}}}"
        yield from _tabular(block, part)
        if small and place == len(parts) - 1:
            yield r"  \par\smallskip\begin{minipage}{\linewidth}\footnotesize\raggedright"
            yield from (rf"    {text}\par" for text in small)
            yield r"  \end{minipage}"
        yield rf"\end{{{kind}}}"


def _layout(block: Block) -> tuple[str, str, list[_Float]]:
    """The size and the kind of the floats, and what each holds."""
    for kind, limit in (("table", COLUMN), ("table*", TEXT)):
        most = _lines(block, limit)
        for size, scale, height in _SIZES:
            columns = columns_of(block, scale)
            if _GAP * (len(columns) - 1) + sum(c.width for c in columns) <= limit:
                floats = _chunks(block, columns, "further rows", most / height)
                if len(floats) == 1 or (kind, size) == ("table*", _SIZES[-1][0]):
                    return size, kind, floats
    size, scale, height = _SIZES[-1]
    parts = parts_of(block, columns_of(block, scale), TEXT, _GAP)
    most = _lines(block, TEXT) / height
    return size, "table*", [f for part in parts for f in _chunks(block, *part, most)]


def _lines(block: Block, width: float) -> float:
    """Points of height for rows, below the caption of a float of this width."""
    return HEIGHT - _HEAD - 12.0 * math.ceil(text_width(block.caption) / width)


def _chunks(block: Block, columns: Sequence[Column], words: str, most: float) -> list[_Float]:
    """As many rows together as `most` lines hold."""
    found: list[list[int]] = [[]]
    room, apart = most, _groups(block)
    for y in range(len(block.rows)):
        lines = max(column.lines(block.rows[y][column.place]) for column in columns)
        lines += 0.5 * (y in apart)
        if lines > room and found[-1]:
            found.append([])
            room = most
        found[-1].append(y)
        room -= lines
    return [_Float(columns, rows, words) for rows in found]


def _tabular(block: Block, part: _Float) -> Iterator[str]:
    right = right_aligned(block)
    align = "".join(
        f"p{{{math.ceil(c.width)}pt}}" if c.wraps else "r" if right[c.place] else "l"
        for c in part.columns
    )
    yield rf"  \begin{{tabular}}{{@{{}}{align}@{{}}}}"
    yield r"    \toprule"
    for heads in zip(*(c.heads for c in part.columns), strict=True):
        if any(heads):
            yield "    " + " & ".join(map(tex, heads)) + r" \tabularnewline"
    yield r"    \midrule"
    apart = _groups(block)
    for place, y in enumerate(part.rows):
        if place and y in apart:
            yield r"    \addlinespace"
        first = block.labels if place == 0 else 0
        cells = (
            _cell(block, _said(block, y, c) if c.place < first else y, c, right[c.place])
            for c in part.columns
        )
        yield "    " + " & ".join(cells) + r" \tabularnewline"
    yield r"    \bottomrule"
    yield r"  \end{tabular}"


def _groups(block: Block) -> set[int]:
    """The rows with which a group of rows of one first label begins, where these make groups."""
    first = [row[0] for row in block.rows]
    new = {y for y, text in enumerate(first) if y == 0 or text not in ("", first[y - 1])}
    return new if block.labels > 1 and 2 * len(new) <= len(first) else set()


def _said(block: Block, y: int, column: Column) -> int:
    """The row in which an empty label was last said: the first row of a float says it again."""
    above = (row for row in range(y, -1, -1) if block.rows[row][column.place])
    return next(above, y)


def _cell(block: Block, y: int, column: Column, right: bool) -> str:
    text, key = cited(block, y, column.place)
    shown = tex(number(text) if right else text)
    if right:  # beside a mark the digits stay below each other
        ends = {row[column.place][-1:] for row in block.rows} & set("†*") - {text[-1:]}
        shown += "".join(rf"\phantom{{{tex(mark)}}}" for mark in sorted(ends)[:1])
    if column.wraps:
        shown = rf"\raggedright\hspace{{0pt}}{_breakable(shown)}"
    if key:
        shown = shown.replace(tex("[10]"), rf"\cite{{{key}}}", 1)
    return rf"\textbf{{{shown}}}" if (y, column.place) in block.bold else shown


def _breakable(text: str) -> str:
    """With places for a line's end inside long words."""
    return re.sub(r"(\\_|(?<=[^\W\d])[/.-])(?=[^\W\d])", r"\1\\allowbreak{}", text)
