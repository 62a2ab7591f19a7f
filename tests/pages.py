"""README and docs/ as their readers see them: pages, their commands, their Python."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
#: A word that begins a command in the running text.
PROGRAMS = ("python", "make", "fl-study", "pip", "uv", "ray", "git", "mlflow", "optuna-dashboard",
            "tensorboard", "pytest", "ruff", "mypy")  # fmt: skip


class Command(NamedTuple):
    """A line of a page that is to be typed."""

    page: str
    line: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line)


def page(name: str) -> str:
    """A page of docs/."""
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def python_blocks(path: Path) -> list[str]:
    return [code for kind, code in FENCE.findall(path.read_text("utf-8")) if kind == "python"]


def own_methods() -> str:
    """The file of the method of one's own."""
    (text,) = re.findall(r"```python\n(# my_methods\.py\n.*?)```", page("extending"), re.S)
    return str(text)


def own_study() -> str:
    """The README's file with a task, a model, a rule and a study of one's own."""
    (text,) = python_blocks(README)
    return text


def commands() -> list[Command]:
    """Every command of every page, once: of shell blocks, indented lines and the running text."""
    found = [Command(path.stem, line) for path in PAGES for line in _lines(path)]
    return list({command.line: command for command in found}.values())


def typed_in_docstrings() -> list[Command]:
    """The commands that studies and the programs of analysis and `fl-study` show of themselves."""
    files = [*ROOT.glob("studies/[!_]*.py"), *ROOT.glob("analysis/[!_]*.py")]
    found = []
    for path in (*sorted(files), ROOT / "fl_core/study/console.py"):
        text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        lines = re.findall(r"^ {4}((?:python|fl-study) .+)$", text, re.M)
        found += [Command(path.stem, re.sub(r"\s+#.*", "", line)) for line in lines]
    return found


def _lines(path: Path) -> list[str]:
    text = path.read_text("utf-8")
    shell = [code for kind, code in FENCE.findall(text) if kind in ("bash", "sh", "console")]
    rest = FENCE.sub("", text)
    indented = re.findall(r"^ {4}(\S.*)$", rest, re.M)
    spans = [span for span in re.findall(r"`([^`\n]+)`", rest) if _is_command(span)]
    joined = [*"\n".join(shell).replace("\\\n", " ").splitlines(), *indented, *spans]
    lines = [re.sub(r"(^|\s+)#.*", "", line).strip() for line in joined]
    typed = [part.strip() for line in lines for part in line.split("&&")]
    return [line for line in typed if line]


def _is_command(span: str) -> bool:
    return span.partition(" ")[0] in PROGRAMS and " " in span
