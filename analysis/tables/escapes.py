r"""Plain text made harmless in each format: names and tags come from a store that others write to.

A line break in a name would end a TeX comment or start a Markdown heading; a cell that begins with
= + - @ is a formula to a spreadsheet; TeX and HTML have their own specials.
"""

from __future__ import annotations

import re
import unicodedata

import pandas as pd

_TEX = {
    "\\": r"\textbackslash{}",
    **{c: "\\" + c for c in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "—": "---",
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "×": r"$\times$",
    "α": r"$\alpha$",
    "γ": r"$\gamma$",
    "λ": r"$\lambda$",
    "σ": r"$\sigma$",
    "†": r"$^\dagger$",
    "…": r"\dots{}",
    "’": "'",
    "[": "{[}",  # at a row's start it would be an argument of the line break before
}
_SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹⁻"
_POWER = re.compile(rf"[{_SUPERSCRIPTS}]+")
_SYMBOL = r"\b(N_c|J|K|C|T|R|[sw](?==))\b"


def one_line(text: str) -> str:
    """Without line breaks and other control characters, and without marks that turn the direction
    of what follows.
    """
    return "".join(
        " " if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp", "Cs") else c for c in text
    )


def tex(text: str) -> str:
    r"""Plain text as LaTeX: specials escaped, N_c as mathematics.

    >>> print(tex("N_c=5, local_lr 70.1 ± 0.3 %"))
    $N_c$=5, local\_lr 70.1 $\pm$ 0.3 \%
    """
    parts = re.split(_SYMBOL, one_line(text))
    return "".join(
        f"${part}$" if index % 2 else _POWER.sub(_power, "".join(map(_tex_character, part)))
        for index, part in enumerate(parts)
    )


def _tex_character(c: str) -> str:
    """What pdfLaTeX has no glyph for stops it: its code point instead."""
    if c in _TEX:
        return _TEX[c]
    return c if ord(c) < 0x180 or c in _SUPERSCRIPTS else f"U+{ord(c):04X}"


def _power(found: re.Match[str]) -> str:
    plain = str.maketrans(_SUPERSCRIPTS, "0123456789-")
    return f"$^{{{found.group().translate(plain)}}}$"


def number(text: str) -> str:
    """A number as print has it: 1.16e-05 with a power of ten, a true minus.

    >>> number("1.16e-05"), number("[-1.0, +2.0]"), number("128*")
    ('1.16×10⁻⁵', '[−1.0, +2.0]', '128*')
    """
    raised = str.maketrans("0123456789-", _SUPERSCRIPTS)
    text = re.sub(
        r"(?<=\d)e([-+]?\d+)", lambda m: f"×10{str(int(m.group(1))).translate(raised)}", text
    )
    return re.sub(r"(?<![\w⁻])-(?=[\d.])", "−", text)


def markdown(text: str) -> str:
    r"""Plain text as Markdown: no HTML, link, emphasis, code, heading or list comes of it.

    >>> print(markdown("<b>*x* [a](http://b) `c`"), markdown("# no heading"))
    \<b>\*x\* [a]\(http://b) \`c\` \# no heading
    """
    text = re.sub(r"[\\`*|]|<(?=[A-Za-z/!?])", r"\\\g<0>", one_line(text))
    text = re.sub(r"&(?=#?\w+;)", r"\\&", text)  # an entity
    text = re.sub(r"(?<=\])(?=[\[(:])", r"\\", text)  # a link, or what a link refers to
    text = re.sub(r"(?<!\w)_(?=\S)|(?<=\S)_(?!\w)", r"\\_", text)
    text = re.sub(r"^(\s*)(?=#|>|~|[-=]+\s*$|[-+]\s)", r"\1\\", text)
    return re.sub(r"^(\s*\d+)(?=[.)]\s)", r"\1\\", text)


def spreadsheet(value: object) -> object:
    """A text that a spreadsheet would take for a formula, after an apostrophe; numbers as they are.

    >>> spreadsheet("=1+1"), spreadsheet("-0.5"), spreadsheet(-0.5), spreadsheet("N_c=1")
    ("'=1+1", '-0.5', -0.5, 'N_c=1')
    """
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")):
        return value
    return value if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", value) else f"'{value}"


def csv(frame: pd.DataFrame) -> str:
    """A frame at full precision, the same bytes everywhere."""
    safe = frame.rename(columns=spreadsheet)
    for place, kind in enumerate(safe.dtypes):
        if kind.kind == "O":
            cells = [spreadsheet(value) for value in safe.iloc[:, place]]
            safe.isetitem(place, pd.Series(cells, index=safe.index, dtype=object))
    return safe.to_csv(index=False, lineterminator="\n")
