"""The final table of each study in an MLflow store: Markdown on the screen, files in --out.

    python analysis/final_tables.py --study fedavg_noniid

writes results/fedavg_noniid/table.md and table.html (the answer as a grid, then every arm and all
that was tested), table.csv (every arm at full precision), and for a paper table.tex (the grid) and
appendix.tex (the rest). Beside table.csv stand, where a study has them, epochs.csv (when runs were
best), expected.csv (what n random trials are expected to find), pairs.csv (paired tests between
arms), finalists.csv (what was confirmed) and front.csv (the Pareto front of several objectives).
A study about time has equal_time.csv and equal_bytes.csv (accuracy after the same virtual time, the
same bytes: --at-seconds, --at-bytes) and target.csv (what an accuracy costs: --target 0.6, or with
--target-of ARM that share of an arm's); these options ask it of any study.
--published adds what others published for the same problems,
in a block of its own with its sources, and references.bib for the paper.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fl_analysis.reading import cli as command
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.equal import BYTES, NOTHING, SECONDS, SHARE, Wanted
from fl_analysis.results.expected import read_expected
from fl_analysis.results.outcome import outcomes
from fl_analysis.tables.bibliography import bibliography
from fl_analysis.tables.epochs import epochs_csv
from fl_analysis.tables.equal import equal_csvs
from fl_analysis.tables.expected import expected_csv
from fl_analysis.tables.final import answer_first, blocks, table_csv
from fl_analysis.tables.finalists import finalists_csv
from fl_analysis.tables.front import front_csv
from fl_analysis.tables.latex import paper_appendix, paper_table
from fl_analysis.tables.pairs import pairs_csv
from fl_analysis.tables.pivot import pivot_block
from fl_analysis.tables.render import html, markdown
from fl_core.study.arguments import amount, share, words

FORMATS = ("md", "csv", "latex", "html")


def write_tables(
    runs: StudyRuns,
    out: Path,
    formats: Sequence[str] = FORMATS,
    published: bool = False,
    wanted: Wanted = NOTHING,
) -> str:
    """Writes the files of these formats into `out`; returns the Markdown."""
    results = outcomes(runs)
    details = blocks(runs, published, wanted)
    shown = answer_first(results, details)
    texts: dict[str, str | None] = {}
    if "md" in formats:
        texts["table.md"] = markdown(runs.study, shown)
    if "html" in formats:
        texts["table.html"] = html(runs.study, shown)
    if "latex" in formats:
        arms = replace(details[0], label="arms")
        grid = pivot_block(results, arms.warnings)
        texts["table.tex"] = paper_table(runs.study, grid, arms.label)
        texts["appendix.tex"] = paper_appendix(runs.study, [arms, *details[1:]])
        texts["references.bib"] = bibliography(details)
    if "csv" in formats:
        texts |= {
            "table.csv": table_csv(runs),
            "pairs.csv": pairs_csv(results),
            "epochs.csv": epochs_csv(runs, results),
            **equal_csvs(runs, results, wanted),
            "expected.csv": expected_csv(read_expected(runs, results)),
            "finalists.csv": finalists_csv(runs, results),
            "front.csv": front_csv(runs, results),
        }
    command.check_files(out / name for name in texts)
    for name, text in texts.items():
        if text is not None:
            command.write(out / name, text.encode())
    return markdown(runs.study, shown)


def _add_wanted(parser: ArgumentParser) -> None:
    """What may be asked of equal costs."""
    text = "accuracy after so many virtual seconds (default: as many as all arms have)"
    parser.add_argument("--at-seconds", type=amount, help=text)
    text = "accuracy after so many bytes, up + down (default: as many as all arms have)"
    parser.add_argument("--at-bytes", type=amount, help=text)
    text = f"test accuracy whose costs are told (default: {SHARE} of the plain arm's)"
    parser.add_argument("--target", type=share, help=text)
    text = "name of the arm of whose test accuracy --target is a share"
    parser.add_argument("--target-of", type=words, help=text)


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    parser = command.parser(__doc__)
    parser.add_argument("--format", choices=[*FORMATS, "all"], nargs="+", default=["all"])
    command.add_published(parser)
    _add_wanted(parser)
    args = command.parsed(parser, argv)
    chosen = command.formats(args.format, FORMATS)
    at = {SECONDS: args.at_seconds, BYTES: args.at_bytes}
    wanted = Wanted({name: x for name, x in at.items() if x}, args.target, args.target_of)

    def work(runs: StudyRuns, out: Path) -> None:
        print(write_tables(runs, out, chosen, args.published, wanted), end="", flush=True)

    return command.run(args, work)


if __name__ == "__main__":
    sys.exit(main())
