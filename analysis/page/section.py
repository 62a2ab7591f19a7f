"""One study as the report shows it: words, tables, plots and figures, gathered from `analysis`.

Numbers are those of `tables` and `outcome`; nothing is computed a second way here.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from fl_analysis.page.encoding import Plot
from fl_analysis.page.facts import cost_block, more_warnings, protocol, space_block
from fl_analysis.page.heat import Shades, shades
from fl_analysis.page.parallel import parallel_plot
from fl_analysis.page.result_plots import (
    accuracy_plot,
    curves_plot,
    loss_plot,
    pareto_plot,
    traffic_plot,
)
from fl_analysis.page.search_plots import history_plot, importance_plot, rungs_plot, slice_plot
from fl_analysis.page.trials import trials_data
from fl_analysis.plots.study import draw_figures
from fl_analysis.plots.style import render
from fl_analysis.reading.frames import json_tag
from fl_analysis.reading.store import StudyRuns
from fl_analysis.reading.tasks import titles
from fl_analysis.results.answer import answer
from fl_analysis.results.curves import read_curves
from fl_analysis.results.expected import unsuitable
from fl_analysis.results.outcome import Outcome, outcomes
from fl_analysis.results.traffic import read_traffic
from fl_analysis.tables import final as tables
from fl_analysis.tables.pivot import pivot_block
from fl_analysis.tables.render import Block
from fl_core.config.vocabulary import DASH

#: Drawn by the page instead, so that a reader can ask for the numbers.
INTERACTIVE = ("curves", "loss", "pareto", "importance", "search", "traffic")
PHOTOS = ("predictions",)
SVG_BYTES = 250_000  # larger drawings are lighter as pixels
#: Titles of the figures that the suite draws; another figure's name is its title.
TITLES = {
    "accuracy": "Test accuracy",
    "expected": "Expected best validation accuracy after n trials",
    "virtual_time": "Accuracy against virtual time",
    "communication": "Accuracy against communication",
    "test_curves": "Test accuracy on the way (chose nothing)",
    "test_loss": "Test loss on the way (chose nothing)",
    "drift": "Client drift at one learning rate",
    "drift_own": "Client drift at each arm's own learning rate",
    "active_share": "Active share over the rounds",
    "steps_round": "Local steps of a round",
    "batch_round": "Batches of a round",
    "mask_active": "Where the masks live",
    "overlap_layers": "Mask overlap by layer",
    "overlap_depth": "Mask overlap by depth",
    "overlap_sharding": "Mask overlap by sharding",
    "partition": "Realised partition",
    "selections": "How often the clients were selected",
    "calibration_error": "Calibration error of each arm",
}


@dataclass(frozen=True)
class Picture:
    """A figure as an image in the page; its caption is the text for who cannot see it."""

    name: str
    title: str
    caption: str
    width: int  # pixels at its own size
    source: str  # a data URI
    photo: bool  # whose colours a dark page leaves as they are


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of a study's question; `kept`: its lines stand as they are, being a table."""

    text: str
    kept: bool


@dataclass(frozen=True)
class Section:
    """Everything about one study, ready for the template."""

    name: str
    data: str
    headline: str
    answer: str
    question: list[Paragraph]
    arms: int
    protocol: list[tuple[str, str]]
    warnings: list[str]
    pivot: Block
    shades: Shades
    table: Block
    csv: str  # the final table at full precision, a data URI
    front: Block | None
    more: list[Block]
    published: list[Block]
    plots: dict[str, Plot]
    absent: dict[str, str]  # why a plot is not there
    pictures: list[Picture]
    space: Block | None
    cost: Block
    trials: dict[str, Any]
    commands: list[str]
    reproduce: list[tuple[str, str]]
    dirty: bool


def section(runs: StudyRuns, published: bool = False) -> Section:
    """Gathers one study; with published numbers if asked for."""
    results = outcomes(runs)
    blocks = tables.blocks(runs, published)
    text = runs.tags.get("question", "").strip()
    headline, *rest = text.split("\n\n", 1)
    figures, captions = draw_figures(runs)
    plots, absent = _plots(runs, results, captions)
    commands, reproduce, dirty = reproduction(runs)
    ours = blocks[0]
    return Section(
        name=runs.study,
        data=titles(o.task for o in results),
        headline=" ".join(headline.split()) or "The study states no question.",
        question=paragraphs(rest[0]) if rest else [],
        arms=len(results),
        protocol=protocol(runs, results),
        warnings=list(dict.fromkeys([*ours.warnings, *more_warnings(runs, results)])),
        answer=answer(results),
        pivot=pivot_block(results),
        shades=shades(results),
        table=ours,
        csv=data_uri("text/csv", tables.table_csv(runs).encode()),
        front=next((b for b in blocks[1:] if b.label == "front"), None),
        more=[b for b in blocks[1:] if b.label != "front" and not b.label.startswith("published")],
        published=[b for b in blocks[1:] if b.label.startswith("published")],
        plots={plot.name: plot for plot in plots},
        absent=absent,
        pictures=[
            Picture(
                name,
                TITLES.get(name, name.replace("_", " ").capitalize()),
                captions[name],
                round(figure.get_figwidth() * 96),
                _image(figure),
                name in PHOTOS,
            )
            for name, figure in figures.items()
            if name not in INTERACTIVE
        ],
        space=space_block(runs, results),
        cost=cost_block(runs),
        trials=trials_data(runs, results),
        commands=commands,
        reproduce=reproduce,
        dirty=dirty,
    )


def _plots(
    runs: StudyRuns, results: Sequence[Outcome], captions: dict[str, str]
) -> tuple[list[Plot], dict[str, str]]:
    """The interactive plots, and a sentence for each that lacks its data."""
    absent = {}
    accuracy = accuracy_plot(results)
    if accuracy is None:
        absent["accuracy"] = "No arm has been confirmed: there is no test accuracy to draw."
    courses = read_curves(runs)
    curves = curves_plot(results, courses)
    if curves is None:
        absent["curves"] = "No run has a validation curve of more than one point."
    ranked = importance_plot(runs, captions.get("importance", ""))
    if ranked is None and runs.space:
        absent["importance"] = "Too few search trials to estimate importance."
    elif not runs.space:
        absent["importance"] = "Nothing was searched: there is no importance to estimate."
    if runs.space and (reason := unsuitable(runs)):
        absent["expected"] = f"No expected best accuracy after n trials: {reason}."
    found = [
        *(accuracy, curves, loss_plot(results, courses), pareto_plot(runs, results)),
        traffic_plot(results, read_traffic(runs, results)),
        history_plot(runs, results),
        *(slice_plot(runs), ranked, parallel_plot(runs), rungs_plot(runs)),
    ]
    return [plot for plot in found if plot is not None], absent


def paragraphs(text: str) -> list[Paragraph]:
    """A docstring's paragraphs: prose flows, lines that a writer aligned stay as they are."""
    parts = [part.strip("\n") for part in re.split(r"\n\s*\n", text) if part.strip()]
    return [
        Paragraph(part, True)
        if re.search(r"\S {2,}\S|^ {2,}", part, re.MULTILINE)
        else Paragraph(" ".join(part.split()), False)
        for part in parts
    ]


def reproduction(runs: StudyRuns) -> tuple[list[str], list[tuple[str, str]], bool]:
    """Commands that repeat the study, its versions, and whether the commit is not all of it."""
    commit = runs.tags.get("git_commit", "")
    dirty = commit.endswith("-dirty")
    clean = commit.removesuffix("-dirty")
    commands = [f"git checkout {clean}"] if re.fullmatch(r"[0-9a-f]{7,40}", clean) else []
    if command := runs.tags.get("command", ""):
        commands.append(command)
    versions = json_tag(runs.tags, "versions", {})
    rows = [
        ("Commit", commit or DASH),
        ("Versions", ", ".join(f"{n} {v}" for n, v in versions.items()) or DASH),
        ("Device", runs.tags.get("device", DASH)),
        ("Study run", runs.run_id),
        ("Study digest", runs.tags.get("study_digest", DASH)),
    ]
    return commands, rows, dirty


def data_uri(kind: str, content: bytes) -> str:
    """Bytes as an address that needs no network."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _image(figure: Figure) -> str:
    svg = render(figure, "svg")
    if len(svg) <= SVG_BYTES:
        return data_uri("image/svg+xml", svg)
    return data_uri("image/png", render(figure, "png"))


def packed(value: object) -> str:
    """JSON that may stand in a script element: nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
