"""A study's tables as text, in each format."""

from __future__ import annotations

from fl_analysis.reading.store import StudyRuns
from fl_analysis.tables.final import blocks
from fl_analysis.tables.render import html, latex, markdown


def table_markdown(runs: StudyRuns, published: bool = False) -> str:
    return markdown(runs.study, blocks(runs, published))


def table_latex(runs: StudyRuns, published: bool = False) -> str:
    return latex(runs.study, blocks(runs, published))


def table_html(runs: StudyRuns, published: bool = False) -> str:
    return html(runs.study, blocks(runs, published))
