"""The final table of each study in an MLflow store: Markdown on the screen, files in --out.

    python analysis/final_tables.py --study fedavg_noniid

writes results/fedavg_noniid/table.md, table.csv and table.tex; the Pareto front of a study with
several objectives is front.csv.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from analysis import command
from analysis.outcome import outcomes
from analysis.pareto import front_csv
from analysis.store import StudyRuns
from analysis.tables import table_csv, table_latex, table_markdown

FORMATS = ("md", "csv", "latex")


def write_tables(runs: StudyRuns, out: Path, formats: Sequence[str] = FORMATS) -> str:
    """Writes table.md, table.csv and table.tex into `out`; returns the Markdown."""
    text = table_markdown(runs)
    if "md" in formats:
        command.write(out / "table.md", text.encode())
    if "csv" in formats:
        command.write(out / "table.csv", table_csv(runs).encode())
        if (front := front_csv(runs, outcomes(runs))) is not None:
            command.write(out / "front.csv", front.encode())
    if "latex" in formats:
        command.write(out / "table.tex", table_latex(runs).encode())
    return text


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = command.parser(__doc__)
    parser.add_argument("--format", choices=[*FORMATS, "all"], nargs="+", default=["all"])
    args = parser.parse_args(argv)
    chosen = command.formats(args.format, FORMATS)
    return command.run(args, lambda runs, out: print(write_tables(runs, out, chosen), end=""))


if __name__ == "__main__":
    sys.exit(main())
