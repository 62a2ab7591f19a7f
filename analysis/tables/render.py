"""Blocks of text cells as Markdown and HTML (LaTeX: `latex`); deterministic byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from fl_analysis.tables.escapes import markdown as md
from fl_analysis.tables.sources import Source


@dataclass(frozen=True)
class Block:
    """A table: caption, header and rows of plain text, then notes and warnings in lines, then the
    documents that it cites by their keys.

    A page that is too narrow for all columns takes the first `labels` of them, which say what a row
    is, again with each of `sections`: the column that one begins with, and what it holds.
    """

    label: str  # appended to the study's name in \\label
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    warnings: Sequence[str]
    bold: frozenset[tuple[int, int]] = frozenset()  # (row, column) of cells that stand out
    sources: Mapping[str, Source] = field(default_factory=dict)
    cites: Sequence[str] = ()  # the key that a row's `source` is, by row
    labels: int = 1
    sections: Sequence[tuple[int, str]] = ()


_NUMBER = re.compile(
    r"(<|> )?[-+]?[\d.]+(e[-+]?\d+)?%?\*?( ± ([\d.]+|—))?†?"
    r"|\d+/(\d+|\(\d+\+\d+\))†?|\[[-+\d.]+, [-+\d.]+\]|—|"
)


def right_aligned(block: Block) -> list[bool]:
    """Columns of numbers align right."""
    return [all(_NUMBER.fullmatch(row[i]) for row in block.rows) for i in range(len(block.header))]


def markdown(title: str, blocks: Sequence[Block]) -> str:
    """A title, then each block: caption, table, notes, warnings."""
    lines = [f"# {md(title)}"]
    for block in blocks:
        lines += ["", md(block.caption), ""]
        lines += _grid(block)
        for note in block.notes:
            lines += ["", md(note)]
        if block.warnings:
            lines += ["", "Warnings:", ""]
            lines += [f"- {md(text)}" for text in block.warnings]
        if block.sources:
            lines += ["", "Sources:", ""]
            lines += [f"- {_entry(source, md)}" for source in block.sources.values()]
    return "\n".join(lines) + "\n"


def _entry(
    source: Source, shown: Callable[[str], str], link: str = "<{}>", title: str = "*{}*"
) -> str:
    """One document in a line of a bibliography."""
    where = "no public link known" if source.link is None else link.format(source.link)
    parts = [f"{shown(source.authors)}: {title.format(shown(source.title))}"]
    parts += [f"{shown(source.kind)}, {source.year}; {where}"]
    parts += [shown(f"Contradicts itself: {source.caveat}")] if source.caveat else []
    return ". ".join(parts) + "."


def _grid(block: Block) -> list[str]:
    """A pipe table whose columns line up as plain text too."""
    table = [[md(c) for c in block.header]]
    table += _cells(block, md, lambda text: f"**{text}**")
    widths = [max(3, *(len(row[i]) for row in table)) for i in range(len(block.header))]
    right = right_aligned(block)

    def line(row: Sequence[str]) -> str:
        cells = (
            c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)
        )
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    return [line(table[0]), line(rule), *map(line, table[1:])]


def _cells(
    block: Block, escaped: Callable[[str], str], bold: Callable[[str], str]
) -> list[list[str]]:
    """The rows as a format writes them; `bold`: how it lets a cell stand out."""
    return [
        [bold(escaped(c)) if (y, x) in block.bold else escaped(c) for x, c in enumerate(row)]
        for y, row in enumerate(block.rows)
    ]


_STYLE = (
    "body{font:15px/1.45 sans-serif;max-width:75em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:1em 0 .5em;display:block;overflow-x:auto}"
    "caption{display:block;text-align:left;max-width:60em;margin:1.5em 0 .5em}"
    "thead tr{border-top:2px solid;border-bottom:1px solid}tbody{border-bottom:2px solid}"
    "th,td{padding:.2em .7em;text-align:left;white-space:nowrap}.n{text-align:right}"
    ".note{font-size:85%;max-width:70em;margin:.2em 0}.warnings{color:#8a3800}"
)


def html(title: str, blocks: Sequence[Block]) -> str:
    """A page of its own: no script, nothing fetched, every text escaped."""
    name = escape(title)
    lines = ["<!doctype html>", '<html lang="en">', "<head>", '<meta charset="utf-8">']
    lines += ['<meta name="viewport" content="width=device-width">', f"<title>{name}</title>"]
    lines += [f"<style>{_STYLE}</style>", "</head>", "<body>", f"<h1>{name}</h1>"]
    return "\n".join([*lines, html_fragment(blocks), "</body>", "</html>"]) + "\n"


def html_fragment(blocks: Sequence[Block]) -> str:
    """The blocks for a page that has a head and a style: a notebook's."""
    return "\n".join(line for block in blocks for line in _html_block(block))


def _html_block(block: Block) -> list[str]:
    right = right_aligned(block)

    def row(cells: Sequence[str], tag: str) -> str:
        opening = [f'<{tag} class="n">' if number else f"<{tag}>" for number in right]
        made = (f"{o}{c}</{tag}>" for o, c in zip(opening, cells, strict=True))
        return f"<tr>{''.join(made)}</tr>"

    lines = ["<table>", f"<caption>{escape(block.caption)}</caption>"]
    body = _cells(block, escape, lambda text: f"<strong>{text}</strong>")
    head = row([escape(c) for c in block.header], "th")
    lines += ["<thead>", head, "</thead>", "<tbody>"]
    lines += [*(row(cells, "td") for cells in body), "</tbody>", "</table>"]
    lines += [f'<p class="note">{escape(note)}</p>' for note in block.notes]
    if block.warnings:
        items = (f"<li>{escape(text)}</li>" for text in block.warnings)
        lines += ['<p class="note">Warnings:</p>', '<ul class="note warnings">', *items, "</ul>"]
    if block.sources:
        items = (f"<li>{entry}</li>" for entry in html_sources(block))
        lines += ['<p class="note">Sources:</p>', '<ul class="note">', *items, "</ul>"]
    return lines


def html_sources(block: Block) -> list[str]:
    """The documents that a block cites, as HTML."""
    link, title = '<a href="{0}">{0}</a>', "<cite>{}</cite>"
    return [_entry(source, escape, link, title) for source in block.sources.values()]
