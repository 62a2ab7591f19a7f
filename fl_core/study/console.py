"""`fl-study`: what the folders of a checkout hold, as one command of an installed package.

    fl-study list                                    # the studies that come along
    fl-study run fedavg_noniid --preset smoke        # as python studies/fedavg_noniid.py
    fl-study run my_study.py                         # a file of your own
    fl-study report                                  # as python analysis/report.py

Imports the standard library only until a command is known: the doctor starts where no package does.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import importlib
import importlib.util
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from fl_core.base.streams import steady
from fl_core.study.arguments import Parser, fail, told

#: Command -> the module whose `main(argv)` does it, and what it does.
COMMANDS = {
    "report": ("fl_analysis.report", "one HTML page about every study of the store"),
    "tables": ("fl_analysis.final_tables", "the tables of a paper, from the store alone"),
    "figures": ("fl_analysis.figures", "the figures of a paper, from the store alone"),
    "data": ("fl_analysis.explore_data", "classes, spread and outliers of the data set"),
    "doctor": ("fl_core.doctor.__main__", "can a study start here?"),
    "ui": ("fl_core.study.ui", "MLflow's pages, on this machine alone"),
}
HELP = "\n".join(
    [
        "Hyper-parameter studies of federated fine-tuning.",
        "",
        f"  {'run NAME|FILE':15}a study that comes along, or a file of your own",
        f"  {'list':15}the studies that come along",
        *(f"  {name:15}{text}" for name, (_, text) in COMMANDS.items()),
        "",
        "Each explains itself: fl-study run NAME --help, fl-study report --help.",
    ]
)


def main(argv: Sequence[str] | None = None) -> int | None:
    """Run one command; its exit code, None for 0."""
    parser = Parser(
        prog="fl-study",
        usage="fl-study COMMAND [OPTIONS]",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=[*OWN, *COMMANDS], help=argparse.SUPPRESS)
    parser.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    with told():
        args = parser.parse_args(argv or sys.argv[1:] or ["--help"])
    if args.command in OWN:
        OWN[args.command](args.options)
        return None
    sys.argv = [f"fl-study {args.command}", *args.options]  # what it calls itself in its help
    module, _ = COMMANDS[args.command]
    found: int | None = importlib.import_module(module).main(args.options)
    return found


def _run(options: list[str]) -> None:
    """The study's file as `python FILE` runs it: its folder first in the path."""
    if not options or options[0].startswith("-"):
        fail("fl-study run: name a study (fl-study list shows them) or a file")
    file = _file(options[0])
    sys.argv = [str(file), *options[1:]]
    sys.path.insert(0, str(file.parent))
    runpy.run_path(str(file), run_name="__main__")


def _file(name: str) -> Path:
    if name.endswith(".py"):
        if not Path(name).is_file():
            fail(f"fl-study run {name}: there is no such file")
        return Path(name).resolve()
    known = {file.stem: file for file in _studies()}
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        fail(f"fl-study run {name}: no such study; {hint}fl-study list shows them")
    return known[name]


def _studies() -> list[Path]:
    """The files of the studies that come with the package, by name."""
    spec = importlib.util.find_spec("fl_studies")
    if spec is None or spec.origin is None:
        fail("the studies are not installed; install the package, or run python studies/NAME.py")
    return sorted(Path(spec.origin).parent.glob("[!_]*.py"))


@steady()
def _list(options: list[str]) -> None:
    """Each study's name and question; nothing is imported."""
    if options:
        fail(f"fl-study list {options[0]}: takes no options")
    files = _studies()
    width = max(len(file.stem) for file in files)
    for file in files:
        question = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        print(f"{file.stem:{width}}  {question.partition(chr(10))[0]}")
    print(f"\nThe files, to copy and change: {files[0].parent}")


OWN = {"run": _run, "list": _list}

if __name__ == "__main__":
    sys.exit(main())
