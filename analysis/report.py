"""One page about all studies of an MLflow store: tables, interactive plots, figures, every trial.

    python analysis/report.py

writes results/report.html, a single file that needs no network: open it, mail it, print it.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from fl_analysis.page.section import Section, packed, section
from fl_analysis.reading import cli as command
from fl_analysis.reading.store import StudyRuns
from fl_analysis.tables.render import html_sources, right_aligned

TEMPLATES = Path(__file__).parent / "page" / "templates"
SCRIPTS = ("theme.js", "axes.js", "plots.js", "trials.js")


def page(sections: Sequence[Section]) -> str:
    """The whole page; the same studies give the same text."""
    script = "\n" + "".join((TEMPLATES / name).read_text() for name in SCRIPTS)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # names and questions come from the store: text, never markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["packed"] = packed
    environment.filters["numeric"] = right_aligned
    environment.filters["sources"] = html_sources
    return environment.get_template("report.html").render(
        sections=sections,
        style=(TEMPLATES / "report.css").read_text(),
        script=script,
        hashes=f"'sha256-{_digest(script)}'",
    )


def _digest(script: str) -> str:
    """What the page's security policy knows a script by: no other script runs in it."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    default = command.RESULTS / "report.html"
    parser = command.parser(__doc__, out=f"file (default: {default})")
    command.add_published(parser)
    args = command.parsed(parser, argv)
    file: Path = args.out or default
    sections: list[Section] = []

    def work(runs: StudyRuns, _: Path) -> None:
        sections.append(section(runs, args.published))

    code = command.run(args, work, lambda: command.check_file(file))
    if code != 0:
        return code
    return command.reported(lambda: print(command.write(file, page(sections).encode())))


if __name__ == "__main__":
    sys.exit(main())
