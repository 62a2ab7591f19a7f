"""The final table of each study in an MLflow store: Markdown on the screen, files in --out.

    python analysis/final_tables.py --study fedavg_noniid

writes results/fedavg_noniid/table.md, table.csv, table.tex and table.html. Beside table.csv stand,
where a study has them, epochs.csv (when runs were best), pairs.csv (paired tests between arms),
finalists.csv (what was confirmed) and front.csv (the Pareto front of several objectives).
--published adds what others published for the same problems, in a block of its own with its
sources.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from fl_analysis.reading import cli as command
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.outcome import outcomes
from fl_analysis.tables.epochs import epochs_csv
from fl_analysis.tables.final import blocks, table_csv
from fl_analysis.tables.finalists import finalists_csv
from fl_analysis.tables.front import front_csv
from fl_analysis.tables.pairs import pairs_csv
from fl_analysis.tables.render import html, latex, markdown

PAGES = {"md": ("table.md", markdown), "latex": ("table.tex", latex), "html": ("table.html", html)}
FORMATS = ("md", "csv", "latex", "html")


def write_tables(
    runs: StudyRuns, out: Path, formats: Sequence[str] = FORMATS, published: bool = False
) -> str:
    """Writes table.md, .csv, .tex and .html into `out`; returns the Markdown."""
    shown = blocks(runs, published)
    for kind, (name, page) in PAGES.items():
        if kind in formats:
            command.write(out / name, page(runs.study, shown).encode())
    if "csv" in formats:
        results = outcomes(runs)
        texts = {
            "table": table_csv(runs),
            "pairs": pairs_csv(results),
            "epochs": epochs_csv(runs, results),
            "finalists": finalists_csv(runs, results),
            "front": front_csv(runs, results),
        }
        for name, content in texts.items():
            if content is not None:
                command.write(out / f"{name}.csv", content.encode())
    return markdown(runs.study, shown)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = command.parser(__doc__)
    parser.add_argument("--format", choices=[*FORMATS, "all"], nargs="+", default=["all"])
    command.add_published(parser)
    args = parser.parse_args(argv)
    chosen = command.formats(args.format, FORMATS)

    def work(runs: StudyRuns, out: Path) -> None:
        print(write_tables(runs, out, chosen, args.published), end="")

    return command.run(args, work)


if __name__ == "__main__":
    sys.exit(main())
