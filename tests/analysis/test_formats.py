"""LaTeX that compiles, HTML that is well formed, and files that never differ by a byte."""

from __future__ import annotations

import dataclasses
import html
import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from latex import assert_balanced
from made_study import SEEDS, confirm, search, study
from texts import table_html, table_latex

from fl_analysis import final_tables
from fl_analysis.reading import store
from fl_analysis.reading.store import StudyRuns

HOSTILE = r"a_b & 50% #1 {x} ~y ^z \w $u <b>|*[v] 'q' \"r\" é"
COLUMNS = r"\\begin\{tabular\}\{@\{\}((?:[lr]|p\{\d+pt\})+)@\{\}\}"
#: What booktabs defines, for an installation without it (the tables need no more of it).
STUB = "".join(
    rf"\newcommand\{name}{{\hline}}"
    for name in ("toprule", "midrule", "bottomrule", "addlinespace")
)


@pytest.fixture(scope="module")
def hostile() -> StudyRuns:
    """Names with every character that means something in one of the formats."""
    rows = [search(0, 0.8, 0), search(0, 0.8, 1)]
    rows += [confirm(0, s, 0.7, 0.6 + (s + arm) ** 2 / 100, arm) for s in SEEDS for arm in (0, 1)]
    runs = study(rows, arms=2, device=HOSTILE, preset=HOSTILE)
    names = [HOSTILE, "[" + HOSTILE]
    tags = {**runs.tags, "selection": HOSTILE}
    return dataclasses.replace(runs, tags=tags, arms=runs.arms.assign(arm_name=names))


def tabulars(text: str) -> list[list[str]]:
    """The rows of each table, without its rules."""
    bodies = re.findall(rf"{COLUMNS}(.*?)\\end\{{tabular\}}", text, re.DOTALL)
    plain = [re.sub(r"\\(toprule|midrule|bottomrule|addlinespace)", "", b) for _, b in bodies]
    return [[row for row in body.split(r"\tabularnewline") if row.strip()] for body in plain]


@pytest.mark.parametrize("which", ["golden", "rules", "front", "hostile"])
def test_latex_structure(which: str, request: pytest.FixtureRequest) -> None:
    text = table_latex(request.getfixturevalue(which))
    assert_balanced(text)
    found = tabulars(text)
    widths = [len(re.sub(r"\{\d+pt\}", "", w)) for w, _ in re.findall(rf"{COLUMNS}()", text)]
    for rows, width in zip(found, widths, strict=True):
        assert {len(re.findall(r"(?<!\\)&", row)) + 1 for row in rows} == {width}
        assert not any(row.lstrip().startswith("[") for row in rows)  # an argument of \\
    prose = re.sub(r"(?m)^%.*$|\\(label|begin|end)\{.*|\$[^$\n]*\$|&|~\\ref\{.*?\}", "", text)
    assert not re.findall(r"(?<!\\)[#$%_^~]", prose)
    assert "resizebox" not in text
    assert len(set(re.findall(r"\\label\{(.*?)\}", text))) == len(found)


#: Writes into the log the size of the type of each table, its width and the width of its text.
MEASURE = r"""\makeatletter
\let\tabularwas\tabular \let\endtabularwas\endtabular \newbox\measured
\renewenvironment{tabular}{\xdef\typesize{\f@size}\setbox\measured\hbox\bgroup\tabularwas}
 {\endtabularwas\egroup
  \typeout{TABLE \typesize\space \the\wd\measured\space \the\linewidth}\box\measured}
\makeatother
"""


@pytest.mark.parametrize("columns", ["onecolumn", "twocolumn"])
def test_latex_fits_a_paper(
    columns: str, hostile: StudyRuns, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Nothing is wider than its text, or smaller than eight points of a ten-point class."""
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed; test_latex_structure stands in for it")
    found = subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).stdout
    head = r"\usepackage{booktabs}" if found else STUB
    studies = [request.getfixturevalue(name) for name in ("golden", "rules", "front")]
    body = "\n".join(table_latex(runs, published=True) for runs in (*studies, hostile))
    (tmp_path / "paper.tex").write_text(
        rf"\documentclass[10pt,{columns}]{{article}}{head}{MEASURE}\begin{{document}}"
        f"\n{body}\n" + r"\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False
    )
    assert done.returncode == 0, done.stdout[-2000:]
    log = done.stdout.replace("\n", "")  # TeX breaks its lines after 79 characters
    tables = re.findall(r"TABLE (\d+) ([\d.]+)pt ([\d.]+)pt", log)
    assert len(tables) == body.count(r"\end{tabular}")
    for size, width, room in tables:
        assert int(size) >= 8
        assert float(width) <= float(room)
    assert not re.search(r"Float too large|Overfull \\hbox", log)


class _Page(HTMLParser):
    """Keeps the open elements and the text of the cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.cells: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.cells[-1] += data


@pytest.mark.parametrize("which", ["golden", "rules", "front", "hostile"])
def test_html_is_well_formed_and_escaped(which: str, request: pytest.FixtureRequest) -> None:
    text = table_html(request.getfixturevalue(which))
    page = _Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert not page.tags & {"script", "b", "img", "link"}
    if which == "hostile":
        assert HOSTILE in page.cells
        assert html.escape(HOSTILE) in text
    if which == "golden":
        assert page.cells[:3] == ["iid", "70.0 ± 1.0", "58.0 ± —†"]
        assert page.cells[6:12] == ["iid", "4", "100", "70.0 ± 1.0", "[67.5, 72.5]", "3"]


def test_files_are_the_same_in_two_processes(uri: str, masked_uri: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom analysis import final_tables\n"
        "for uri, out in zip(sys.argv[1::2], sys.argv[2::2]):\n"
        "    assert final_tables.main(['--tracking-uri', uri, '--out', out]) == 0\n"
    )
    root = Path(store.__file__).parents[2]
    other = [uri, str(tmp_path / "2" / "a"), masked_uri, str(tmp_path / "2" / "b")]
    seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"  # an order of sets of its own
    done = subprocess.run(
        [sys.executable, "-c", code, *other],
        cwd=root, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for store_uri, out in ((uri, "a"), (masked_uri, "b")):
        argv = ["--tracking-uri", store_uri, "--out", str(tmp_path / "1" / out)]
        assert final_tables.main(argv) == 0
    files = [p.relative_to(tmp_path / "1") for p in (tmp_path / "1").rglob("*") if p.is_file()]
    assert len(files) > 15
    assert {p.suffix for p in files} == {".md", ".csv", ".tex", ".html"}
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes(), file
