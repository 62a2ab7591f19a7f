"""Blocks of text cells as Markdown and as LaTeX with booktabs; deterministic byte for byte."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Block:
    """A table: caption, header and rows of plain text, then notes and warnings in lines."""

    label: str  # appended to the study's name in \\label
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str]
    warnings: Sequence[str]


_NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?%?\*?( ± ([\d.]+|—))?|—")


def _right(block: Block) -> list[bool]:
    """Columns of numbers align right."""
    return [all(_NUMBER.fullmatch(row[i]) for row in block.rows) for i in range(len(block.header))]


def markdown(title: str, blocks: Sequence[Block]) -> str:
    """A title, then each block: caption, table, notes, warnings."""
    lines = [f"# {title}"]
    for block in blocks:
        lines += ["", block.caption, ""]
        lines += _grid(block)
        for note in block.notes:
            lines += ["", note.replace("*", r"\*")]
        if block.warnings:
            lines += ["", "Warnings:", ""]
            lines += [f"- {text}" for text in block.warnings]
    return "\n".join(lines) + "\n"


def _grid(block: Block) -> list[str]:
    """A pipe table whose columns line up as plain text too."""
    table = [[_pipe(c) for c in row] for row in (block.header, *block.rows)]
    widths = [max(3, *(len(row[i]) for row in table)) for i in range(len(block.header))]
    right = _right(block)

    def line(row: Sequence[str]) -> str:
        cells = (
            c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, right, strict=True)
        )
        return "| " + " | ".join(cells) + " |"

    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    return [line(table[0]), line(rule), *map(line, table[1:])]


def _pipe(text: str) -> str:
    return text.replace("|", r"\|").replace("*", r"\*")


def latex(title: str, blocks: Sequence[Block]) -> str:
    r"""Tables for `\usepackage{booktabs}`; wide ones shrink to the line with graphicx."""
    head = [f"% {title}: needs \\usepackage{{booktabs,graphicx}}"]
    return "\n".join(head + [line for block in blocks for line in _float(title, block)]) + "\n"


def _float(title: str, block: Block) -> list[str]:
    align = "".join("r" if right else "l" for right in _right(block))
    name = ":".join(part for part in ("tab", title, block.label) if part)
    body = [" & ".join(map(tex, row)) + r" \\" for row in block.rows]
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
