"""README and docs/ say what is there: commands, options, files, links, Python.

`study/test_experiments.py` runs the commands of studies and analysis, made small; here each is held
against the parser that would read it, and each file it names must exist.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from pages import (
    FENCE,
    PAGES,
    README,
    ROOT,
    Command,
    commands,
    own_methods,
    python_blocks,
    typed_in_docstrings,
)

from fl_core.study import console, declared, options
from fl_core.study.resolved import resolve
from fl_core.study.study import Study
from studies import load_study

#: What no test can start, by its first words: it needs another machine, a network, or installs.
OF_OTHERS = (
    *("git clone", "cd ", "source .venv/bin/activate", "pip install", "export RAY_AUTH_"),
    *("ray start", "ray up", "ray attach", "srun", "head=$(scontrol", "sleep "),
    *("optuna-dashboard ", "tensorboard "),
)  # fmt: skip
#: Options of programs that are not ours.
THEIR_OPTIONS = {"--torch-backend", "--extra-index-url", "--logdir"}
#: Words that stand for something of the reader's.
PLACEHOLDERS = {"DIR", "FILE", "RUN", "NAME"}
ANALYSIS = {"report", "final_tables", "figures", "explore_data"}


def reads(command: Command) -> Callable[[], object] | None:
    """What reads the options of a command; None for one that is another program's."""
    words = [word for word in command.words if word != "&"]
    if "&" not in command.words and ">" in words:  # into a file
        words = words[: words.index(">")]
    match words:
        case ["python", "my_study.py", *argv] | ["fl-study", "run", "my_study.py", *argv]:
            return lambda: ask(own_study(), argv)
        case ["python", file, *argv] if file.startswith("studies/"):
            assert (ROOT / file).is_file(), command
            return lambda: ask(load_study(Path(file).stem), argv)
        case ["fl-study", "run", name, *argv]:
            return lambda: ask(load_study(name), argv)
        case ["fl-study", name, *argv]:
            assert argv == [], command
            return lambda: (console.COMMANDS | console.OWN)[name]
        case ["python", file, *argv] if file.startswith("analysis/"):
            assert (ROOT / file).is_file(), command
            assert Path(file).stem in ANALYSIS, command
            return lambda: shown(
                import_module(f"fl_analysis.{Path(file).stem}").main, [*argv, "--help"]
            )
        case ["python", file, *_] | ["pytest", file, *_] if file.startswith("tests/"):
            assert (ROOT / file).exists(), command
            return None
        case ["python", "-m", module]:
            return lambda: import_module(module)
        case ["make", target, *variables]:
            return lambda: made(target, variables)
    assert command.line.startswith(OF_OTHERS), f"{command}: what is it?"
    return None


def own_study() -> Study:
    (code,) = [code for code in python_blocks(ROOT / "docs" / "extending.md") if "STUDY =" in code]
    names: dict[str, Any] = {"__name__": "my_study", "__doc__": "A question?"}
    exec(code, names)
    found = names["STUDY"]
    assert isinstance(found, Study)
    return found


def ask(study: Study, argv: Sequence[str]) -> None:
    """What a study's command does first: read its options and refuse what is not possible."""
    if {"--help", "--fields"} & {*argv}:
        return shown(partial(options.parse, study), argv)
    args = options.parse(study, argv)
    if args.weights is not None and str(args.weights) in PLACEHOLDERS:
        args.weights = None
    resolved = resolve(
        study, study.presets[args.preset], options.fixed_values(args), joint=args.search_arms
    )
    resolved.check_confirmation(args.confirm_on)
    options.plan_of(args, resolved)


def shown(main: Callable[[Sequence[str]], object], argv: Sequence[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(argv)
    assert done.value.code == 0


def made(target: str, variables: Sequence[str]) -> None:
    """A target of the Makefile, and variables that it reads."""
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(rf"^{target}:", makefile, re.M), target
    for name in (variable.partition("=")[0] for variable in variables):
        assert re.search(rf"\$\({name}\)|\(or \$\({name}\)", makefile), name


@pytest.fixture
def my_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The method of one's own where its command would find it."""
    (tmp_path / "my_methods.py").write_text(own_methods())
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_methods", None)


@pytest.fixture(scope="module")
def each_study_checked_once() -> Iterator[None]:
    """A study is the same for each of its commands: a hundred checks took most of the time here."""
    checked = set()

    def check(study: Study) -> None:
        if study.name not in checked:
            before(study)
        checked.add(study.name)

    before = declared.check
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(declared, "check", check)
        yield


@pytest.mark.usefixtures("my_methods", "each_study_checked_once")
@pytest.mark.parametrize(
    "command",
    [*commands(), *typed_in_docstrings()],
    ids=lambda command: f"{command.page}: {command.line[:60]}",
)
def test_a_command_can_be_typed(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Study, target, option and value exist; whatever is printed for --help is not looked at."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    read = reads(command)
    if read is not None:
        read()


def test_options_in_the_text_exist(capsys: pytest.CaptureFixture[str]) -> None:
    parsers: list[Callable[[list[str]], object]] = [
        *(import_module(f"fl_analysis.{name}").main for name in sorted(ANALYSIS)),
        import_module("fl_core.doctor.__main__").main,
        import_module("fl_core.study.ui").main,
        lambda argv: options.parse(load_study("fedavg_noniid"), argv),
    ]
    for parse in parsers:
        with pytest.raises(SystemExit):
            parse(["--help"])
    known = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) | THEIR_OPTIONS
    ours = (line for path in PAGES for line in _without_others(path.read_text("utf-8")))
    said = {option for line in ours for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", line)}
    assert said - known == set()


def _without_others(text: str) -> Iterator[str]:
    for line in text.splitlines():
        if not line.strip().startswith(("srun", "ray ", "#SBATCH")):
            yield re.sub(r"ray start [^`&]*", "", line)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    """To files of this project and to headings of its pages."""
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if target.startswith(("http://", "https://")):
            continue
        file, _, heading = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert not heading or heading in _anchors(there), target


def _anchors(path: Path) -> set[str]:
    """As GitHub makes them: lower case, without punctuation, hyphens for spaces."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_files_that_are_named_exist(path: Path) -> None:
    for span in re.findall(r"`([\w./-]+\.(?:py|md|txt|toml|ipynb|cff))`", path.read_text("utf-8")):
        if "/" in span and not span.startswith("results/"):
            assert (ROOT / span).is_file(), span


def test_every_page_is_linked_from_readme_which_is_short() -> None:
    text = README.read_text("utf-8")
    words = FENCE.sub("", text).split()  # without the file that is folded away
    assert len(words) <= 1500
    assert all(f"(docs/{path.name})" in text for path in PAGES if path.parent == ROOT / "docs")
    assert {f"studies/{f.name}" for f in (ROOT / "studies").glob("[!_]*.py")} <= set(
        re.findall(r"`(studies/\w+\.py)`", text)
    )


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_python_uses_public_names_alone(path: Path) -> None:
    """Nobody has to write a deep path."""
    assert not any("from fl_core." in code for code in python_blocks(path))


def _blocks() -> list[Any]:
    """Every block but the study, which is a command, and the method, which test_own has."""
    found = {f"{path.stem}{n}": c for path in PAGES for n, c in enumerate(python_blocks(path))}
    left = {n: c for n, c in found.items() if "STUDY =" not in c and "my_methods" not in c}
    long = {n: (pytest.mark.soak,) for n, c in left.items() if "run_trial(" in c or "main(" in c}
    return [pytest.param(c, marks=long.get(n, ()), id=n) for n, c in left.items()]


@pytest.mark.parametrize("code", _blocks())
def test_python_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = code.replace('"federation.clients": 10', '"federation.clients": 10, "rounds": 1')
    exec(small, {"__name__": "block"})
