"""The figures of each study in an MLflow store, for a paper's columns: PNG, PDF or SVG.

    python analysis/figures.py --study fedavg_noniid

writes results/fedavg_noniid/{accuracy,curves,communication,importance,partition}.{png,pdf} and
captions.md. A figure without data (an unconfirmed study has no accuracy) is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure

from analysis import command
from analysis.importance import SHUFFLES, TOP
from analysis.outcome import outcomes
from analysis.plot_results import Curves, accuracy_figure, bytes_figure, curve_figure, read_curves
from analysis.plot_search import importance_figure, partition_figure
from analysis.store import StudyRuns
from analysis.style import RC, render
from analysis.tables import caption

FORMATS = ("png", "pdf", "svg")


def write_figures(
    runs: StudyRuns, out: Path, formats: Sequence[str] = ("png", "pdf")
) -> list[Path]:
    """Draws what the study has data for; the files written, captions.md last."""
    with matplotlib.rc_context(RC):
        results = outcomes(runs)
        data = read_curves(runs, results)
        drawn: dict[str, Figure | None] = {
            "accuracy": accuracy_figure(results),
            "curves": curve_figure(results, data),
            "communication": bytes_figure(results, data),
            "importance": importance_figure(runs),
            "partition": partition_figure(runs, results),
        }
        figures = {name: figure for name, figure in drawn.items() if figure is not None}
        paths = [
            command.write(out / f"{name}.{kind}", render(figure, kind))
            for name, figure in figures.items()
            for kind in formats
        ]
    text = _captions(runs, data)
    lines = [f"# {runs.study}: captions", "", caption(runs, results)]
    lines += [line for name in figures for line in ("", f"**{name}.** {text[name]}")]
    return [*paths, command.write(out / "captions.md", ("\n".join(lines) + "\n").encode())]


def _captions(runs: StudyRuns, data: Curves) -> dict[str, str]:
    names = [str(runs.arms.at[arm, "arm_name"]) for arm in data.searched]
    source = "Mean over the confirmation seeds"
    single = f" One run, the chosen search trial, without a band: {'; '.join(names)}."
    tail = single if names else ""
    return {
        "accuracy": "Test accuracy of the chosen configurations: mean ± sample standard "
        "deviation over the confirmation seeds (small dots: the seeds); — : not confirmed.",
        "curves": f"Validation accuracy against local steps. {source}, band: ± one sample "
        f"standard deviation.{tail}",
        "communication": "Validation accuracy against the bytes sent so far, up and down, summed "
        f"over all clients. {source}.{tail}",
        "importance": f"PED-ANOVA importance of reaching the top {TOP:.0%} of an arm's search "
        "trials. Trials are ranked within their arm and pooled; pruned trials rank by the rounds "
        "they reached, diverged ones last. Chance: the 95th percentile of the same estimate with "
        f"the ranks shuffled within the arms ({SHUFFLES} times); a shorter bar is no evidence.",
        "partition": "Realised partition: training images of each class on each client "
        "(logarithmic colours, white: none).",
    }


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
