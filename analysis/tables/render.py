"""Blocks of text cells as Markdown, LaTeX with booktabs and HTML; deterministic byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

import pandas as pd

from fl_analysis.tables.sources import Source


@dataclass(frozen=True)
class Block:
    """A table: caption, header and rows of plain text, then notes and warnings in lines, then the
    documents that it cites by their keys.
    """

    label: str  # appended to the study's name in \\label
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    warnings: Sequence[str]
    bold: frozenset[tuple[int, int]] = frozenset()  # (row, column) of cells that stand out
    sources: Mapping[str, Source] = field(default_factory=dict)


def csv(frame: pd.DataFrame) -> str:
    """A frame at full precision, the same bytes everywhere."""
    return frame.to_csv(index=False, lineterminator="\n")


_NUMBER = re.compile(
    r"<?[-+]?[\d.]+(e[-+]?\d+)?%?\*?( ± ([\d.]+|—))?"
    r"|\d+/(\d+|\(\d+\+\d+\))!?|\[[-+\d.]+, [-+\d.]+\]|—"
)


def right_aligned(block: Block) -> list[bool]:
    """Columns of numbers align right."""
    return [all(_NUMBER.fullmatch(row[i]) for row in block.rows) for i in range(len(block.header))]


def markdown(title: str, blocks: Sequence[Block]) -> str:
    """A title, then each block: caption, table, notes, warnings."""
    lines = [f"# {title}"]
    for block in blocks:
        lines += ["", block.caption, ""]
        lines += _grid(block)
        for note in block.notes:
            lines += ["", _star(note)]
        if block.warnings:
            lines += ["", "Warnings:", ""]
            lines += [f"- {text}" for text in block.warnings]
        if block.sources:
            lines += ["", "Sources:", ""]
            lines += [f"- {_entry(source, _star)}" for source in block.sources.values()]
    return "\n".join(lines) + "\n"


def _star(text: str) -> str:
    return text.replace("*", r"\*")


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
    table = [[_pipe(c) for c in block.header]]
    table += _cells(block, _pipe, lambda text: f"**{text}**")
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


def _pipe(text: str) -> str:
    return _star(text.replace("|", r"\|"))


def latex(title: str, blocks: Sequence[Block]) -> str:
    r"""Tables for `\usepackage{booktabs}`; wide ones shrink to the line with graphicx."""
    more = ",url" if any(block.sources for block in blocks) else ""
    head = [f"% {title}: needs \\usepackage{{booktabs,graphicx{more}}}"]
    lines = [line for block in blocks for line in _float(title, block)]
    return "\n".join([*head, *lines, *_bibliography(blocks)]) + "\n"


def _bibliography(blocks: Sequence[Block]) -> list[str]:
    r"""What all blocks cite, once, for \cite; the label is how the tables name a document."""
    cited: dict[str, Source] = {}
    for block in blocks:
        cited |= block.sources
    if not cited:
        return []
    lines = [r"\begin{thebibliography}{9}"]
    for key, source in cited.items():
        text = _entry(source, tex, r"\url{{{}}}", r"\emph{{{}}}")
        lines.append(rf"  \bibitem[{source.short} et~al.({source.year})]{{{key}}} {text}")
    return [*lines, r"\end{thebibliography}"]


def _float(title: str, block: Block) -> list[str]:
    align = "".join("r" if right else "l" for right in right_aligned(block))
    name = ":".join(part for part in ("tab", title, block.label) if part)
    cells = _cells(block, tex, lambda text: rf"\textbf{{{text}}}")
    body = [" & ".join(row) + r" \\" for row in cells]
    lines = [
        r"\begin{table}[t]",
        r"  \centering",
        rf"  \caption{{{tex(block.caption)}}}",
        rf"  \label{{{re.sub(r'[^A-Za-z0-9:_-]', '-', name)}}}",
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{{align}}}",
        r"    \toprule",
        "    " + " & ".join(map(tex, block.header)) + r" \\",
        r"    \midrule",
        *("    " + line for line in body),
        r"    \bottomrule",
        r"  \end{tabular}}",
    ]
    small = [*block.notes, *(f"Warning: {text}." for text in block.warnings)]
    if small:
        lines += [r"  \par\smallskip\begin{minipage}{\linewidth}\footnotesize\raggedright"]
        lines += ["    " + tex(text) + r"\par" for text in small]
        lines += [r"  \end{minipage}"]
    return [*lines, r"\end{table}"]


_TEX = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "—": "---",
    "–": "--",
    "±": r"$\pm$",
    "×": r"$\times$",
    "α": r"$\alpha$",
    "…": r"\dots{}",
    "[": "{[}",  # at a row's start it would be an argument of the line break before
}


def tex(text: str) -> str:
    r"""Plain text as LaTeX: specials escaped, N_c as mathematics.

    >>> print(tex("N_c=5, local_lr 70.1 ± 0.3 %"))
    $N_c$=5, local\_lr 70.1 $\pm$ 0.3 \%
    """
    parts = re.split(r"\b(N_c|J|K|C|T|R|[sw](?==))\b", text)
    return "".join(
        f"${part}$" if index % 2 else "".join(_TEX.get(c, c) for c in part)
        for index, part in enumerate(parts)
    )


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
