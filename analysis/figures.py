"""The figures of each study in an MLflow store, for a paper's columns: PNG, PDF or SVG.

    python analysis/figures.py --study fedavg_noniid

writes results/fedavg_noniid/{accuracy,curves,communication,...}.{png,pdf} and captions.md. A study
gets the figures that its arms and metrics have data for; an unconfirmed one has no accuracy. The
pictures of predictions need the data set's published files on disk (--data-dir, FL_DATA_DIR,
./data); other tasks have none.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fl_analysis.plots.study import draw_figures
from fl_analysis.plots.style import FORMATS, render
from fl_analysis.reading import cli as command
from fl_analysis.reading.images import check_named
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.expected import unsuitable
from fl_analysis.results.outcome import outcomes
from fl_analysis.results.participation import undrawn
from fl_analysis.tables.conditions import caption
from fl_analysis.tables.escapes import markdown
from fl_core.study.arguments import path


def write_figures(
    runs: StudyRuns,
    out: Path,
    formats: Sequence[str] = ("png", "pdf"),
    data_dir: Path | None = None,
) -> list[Path]:
    """Draws what the study has data for; the files written, captions.md last."""
    figures, text = draw_figures(runs, data_dir)
    paths = [
        command.write(out / f"{name}.{kind}", render(figure, kind))
        for name, figure in figures.items()
        for kind in formats
    ]
    results = outcomes(runs)
    lines = [f"# {markdown(runs.study)}: captions", "", markdown(caption(runs, results))]
    lines += [line for name in figures for line in ("", f"**{name}.** {markdown(text[name])}")]
    for name, reason in (("expected", unsuitable(runs)), ("selections", undrawn(results))):
        lines += ["", f"**{name}.** Not drawn: {markdown(reason)}."] if reason else []
    return [*paths, command.write(out / "captions.md", ("\n".join(lines) + "\n").encode())]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = command.parser(__doc__)
    parser.add_argument("--format", choices=[*FORMATS, "all"], nargs="+", default=["png", "pdf"])
    parser.add_argument("--data-dir", type=path, help="folder of the images (FL_DATA_DIR, ./data)")
    args = command.parsed(parser, argv)
    kinds = command.formats(args.format, FORMATS)

    def work(runs: StudyRuns, out: Path) -> None:
        check_named({o.task.data for o in outcomes(runs)}, args.data_dir)
        for file in write_figures(runs, out, kinds, args.data_dir):
            print(file, flush=True)

    return command.run(args, work)


if __name__ == "__main__":
    sys.exit(main())
