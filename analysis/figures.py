"""The figures of each study in an MLflow store, for a paper's columns: PNG, PDF or SVG.

    python analysis/figures.py --study fedavg_noniid

writes results/fedavg_noniid/{accuracy,curves,communication,...}.{png,pdf} and captions.md. A study
gets the figures that its arms and metrics have data for; an unconfirmed one has no accuracy.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from analysis import command
from analysis.captions import captions
from analysis.conditions import caption
from analysis.outcome import outcomes
from analysis.plot_accuracy import accuracy_figure
from analysis.plot_layers import active_figure, overlap_figure, read_layers
from analysis.plot_overlap import depth_figure, heterogeneity_figure
from analysis.plot_pareto import pareto_figure
from analysis.plot_results import bytes_figure, curve_figure, drift_figure, read_curves
from analysis.plot_search import importance_figure, partition_figure
from analysis.store import StudyRuns
from analysis.style import RC, render

FORMATS = ("png", "pdf", "svg")


def write_figures(
    runs: StudyRuns, out: Path, formats: Sequence[str] = ("png", "pdf")
) -> list[Path]:
    """Draws what the study has data for; the files written, captions.md last."""
    with matplotlib.rc_context(RC):
        results = outcomes(runs)
        data, layers = read_curves(runs, results), read_layers(runs, results)
        drawn: dict[str, Figure | None] = {
            "accuracy": accuracy_figure(results),
            "curves": curve_figure(results, data),
            "communication": bytes_figure(results, data),
            "pareto": pareto_figure(runs, results),
            "drift": drift_figure(results, data),
            "mask_active": active_figure(results, layers),
            "overlap_layers": overlap_figure(results, layers),
            "overlap_depth": depth_figure(results, layers),
            "overlap_sharding": heterogeneity_figure(results),
            "importance": importance_figure(runs),
            "partition": partition_figure(runs, results),
        }
        figures = {name: figure for name, figure in drawn.items() if figure is not None}
        paths = [
            command.write(out / f"{name}.{kind}", render(figure, kind))
            for name, figure in figures.items()
            for kind in formats
        ]
    text = captions(results, data.searched)
    lines = [f"# {runs.study}: captions", "", caption(runs, results)]
    lines += [line for name in figures for line in ("", f"**{name}.** {text[name]}")]
    return [*paths, command.write(out / "captions.md", ("\n".join(lines) + "\n").encode())]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = command.parser(__doc__)
    parser.add_argument("--format", choices=[*FORMATS, "all"], nargs="+", default=["png", "pdf"])
    args = parser.parse_args(argv)
    chosen = command.formats(args.format, FORMATS)

    def work(runs: StudyRuns, out: Path) -> None:
        for path in write_figures(runs, out, chosen):
            print(path)

    return command.run(args, work)


if __name__ == "__main__":
    sys.exit(main())
