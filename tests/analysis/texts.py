"""A study's tables as text, in each format."""

from __future__ import annotations

from dataclasses import replace

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.outcome import outcomes
from fl_analysis.tables.final import answer_first, blocks
from fl_analysis.tables.latex import paper_appendix, paper_table
from fl_analysis.tables.pivot import pivot_block
from fl_analysis.tables.render import html, markdown


def table_markdown(runs: StudyRuns, published: bool = False) -> str:
    return markdown(runs.study, answer_first(outcomes(runs), blocks(runs, published)))


def table_latex(runs: StudyRuns, published: bool = False) -> str:
    """What a paper takes in: the grid, then the appendix."""
    arms, *more = blocks(runs, published)
    arms = replace(arms, label="arms")
    grid = paper_table(runs.study, pivot_block(outcomes(runs), arms.warnings), arms.label)
    return grid + paper_appendix(runs.study, [arms, *more])


def table_html(runs: StudyRuns, published: bool = False) -> str:
    return html(runs.study, answer_first(outcomes(runs), blocks(runs, published)))
