"""The documents that published numbers and methods are from, as BibTeX."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from fl_analysis.tables.escapes import tex
from fl_analysis.tables.render import Block
from fl_analysis.tables.sources import Source


def bibliography(blocks: Sequence[Block]) -> str | None:
    """`references.bib`: what the blocks cite, each once; None where they cite nothing."""
    cited = {key: source for block in blocks for key, source in block.sources.items()}
    entries = [_entry(key, source) for key, source in cited.items()]
    return "\n".join(entries) if entries else None


def _entry(key: str, source: Source) -> str:
    notes = [rf"\url{{{source.link}}}"] if source.link else []
    notes += [f"Contradicts itself: {tex(source.caveat)}"] if source.caveat else []
    fields = {
        "author": " and ".join(map(_author, source.authors.split(", "))),
        "title": f"{{{tex(source.title)}}}",
        "howpublished": tex(source.kind),
        "year": str(source.year),
        "note": ". ".join(notes),
    }
    lines = [f"  {name} = {{{text}}}," for name, text in fields.items() if text]
    return "\n".join([f"@misc{{{key},", *lines, "}", ""])


def _author(name: str) -> str:
    """Last name, initials; a name without any is a last name, whatever its parts.

    >>> _author("F. Del Vecchio"), _author("A. C.-C. Yao"), _author("Kotb Hatem")
    ('{Del Vecchio}, F.', '{Yao}, A. C.-C.', '{Kotb Hatem}')
    """
    words = name.split(" ")
    initials = list(itertools.takewhile(lambda word: word.endswith("."), words))
    last = f"{{{tex(' '.join(words[len(initials) :]))}}}"
    return f"{last}, {' '.join(initials)}" if initials else last
