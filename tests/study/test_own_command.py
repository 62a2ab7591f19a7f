"""What the docs show of a reader's own, run as it stands; `test_own` has the method by itself."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pandas as pd
import pytest
from faults.events import Events
from faults.here import run_here
from pages import ROOT, commands, own_methods, own_study

from fl_analysis import final_tables
from fl_core import inputs
from fl_core.config import own
from studies import load_study

#: The least that is a study: a trial and a seed of each arm, a third of the rounds.
LEAST = (
    *("--trials", "1", "--seeds", "1", "--no-neighbours"),
    *("--set", "rounds=15", "--set", "eval_every=15"),
)


@pytest.fixture
def my_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The README's file exactly as it is printed, alone in a folder."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "my_study.py").write_text(own_study())
    own.source_sha256.cache_clear()
    yield tmp_path / "my_study.py"
    sys.modules.pop("my_study", None)
    own.source_sha256.cache_clear()
    inputs.forget_inputs()


def check_tables(folder: Path, least: float) -> None:
    """Both arms are there, have learnt (chance is 0.1), and are in the table of the store alone."""
    table = pd.read_csv(folder / "results" / "my_study" / "table.csv")
    assert list(table["local.rule"]) == ["plain", "my_study:sign"]
    assert (table["test_accuracy_mean"] > least).all()
    store = ("--tracking-uri", f"sqlite:///{folder}/mlflow.db", "--study", "my_study")
    with redirect_stdout(StringIO()):
        final_tables.main([*store, "--out", str(folder / "paper"), "--format", "md"])
    (written,) = (folder / "paper").rglob("table.md")
    text = written.read_text()
    assert "my_study:sign" in text
    assert "on my_study:handwriting" in text


def test_own_data_model_and_rule_in_one_file(my_study: Path) -> None:
    assert len(own_study().splitlines()) <= 40
    folder = my_study.parent
    events = Events(folder / "log")
    run_here(load_study(my_study), ["--serial", *LEAST], folder, events).assert_good()
    check_tables(folder, least=0.4)


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("sign(local)", "sign()", "local.rule='my_study:sign': must be callable with (local)"),
        ("gradient, params, visit:", "gradient:",
         "local.rule='my_study:sign': its correct must be callable with (grad, params, visit)"),
        ("return LocalRule", "LocalRule", "local.rule='my_study:sign': must give a LocalRule"),
        ("nn.ReLU()), 64", "nn.ReLU()), 65",
         "backbone.name='my_study:perceptron': says 65 features, which must be numbers (2, 65) of "
         "images (2, 3, 8, 8), not (2, 64)"),
        ("3 * 8 * 8", "3 * 9 * 9",
         "backbone.name='my_study:perceptron': fails on images (2, 3, 8, 8) (RuntimeError: "),
    ],
)  # fmt: skip
def test_a_mistake_is_a_line_before_any_work(old: str, new: str, why: str, my_study: Path) -> None:
    text = own_study()
    assert text.count(old) == 1
    my_study.write_text(text.replace(old, new))
    folder = my_study.parent
    ended = run_here(load_study(my_study), ["--serial", *LEAST], folder, Events(folder / "log"))
    assert ended.code == 2
    (line,) = ended.errors.strip().splitlines()
    assert line.startswith(f"error: {why}")
    assert not list(folder.glob("results/*/trials/*"))


def run(script: Path, *argv: str) -> None:
    folder = script.parent
    command: Sequence[str] = [sys.executable, script.name, *argv]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.soak
@pytest.mark.parametrize("how", [[], ["--serial"]], ids=["ray", "serial"])
def test_the_study_of_the_readme(how: list[str], my_study: Path) -> None:
    run(my_study, *how)
    check_tables(my_study.parent, least=0.8)


def test_another_arm_or_question_keeps_what_is_finished(
    my_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file that declares the study also holds what its trials compute."""
    monkeypatch.syspath_prepend(my_study.parent)
    before = own.source_of("my_study:sign", "local.rule")
    text = own_study()
    for old, new, same in (
        ("Does the server", "Why", True),
        ('"plain", ', "", True),
        ("main(STUDY)", "main(STUDY, [])", True),
        ("gradient.sign_()", "gradient.neg_()", False),
        ("handwriting = Task", "handwriting  = Task", False),
    ):
        assert old in text
        my_study.write_text(text.replace(old, new, 1))
        own.source_sha256.cache_clear()
        assert (own.source_of("my_study:sign", "local.rule") == before) == same, old


OURS = "from fl_core import Study\n"
READ = {
    "the study": OURS + "S = Study(base={})\nrate = S.base\n",
    "a name of its arguments": OURS + "S = Study(base=(B := {}))\nrate = B\n",
    "the docstring": OURS + "S = Study()\nrate = len(__doc__)\n",
    "an else": OURS + "S = Study()\nif __name__ == '__main__':\n    S\nelse:\n    rate = 1\n",
    "another Study": "from mine import Study\nS = Study()\n",
    "a line of both": OURS + "S = Study(); rate = 1\n",
}


@pytest.mark.parametrize("text", READ.values(), ids=READ)
def test_what_the_rest_of_the_file_reads_is_part_of_it(text: str, tmp_path: Path) -> None:
    """A change of it is never taken for the same."""
    found = own._science(b"'Why?'\n" + text.encode())
    kept = text.removeprefix(OURS).encode()
    assert kept in found


@pytest.mark.soak
@pytest.mark.parametrize("how", [["--serial"], ["--workers", "2"]], ids=["serial", "ray"])
def test_the_command_of_the_docs(how: list[str], tmp_path: Path) -> None:
    """From the folder that holds the file, with and without Ray."""
    (tmp_path / "my_methods.py").write_text(own_methods())
    (words,) = (c.words for c in commands() if "local.rule=my_methods:prox" in c.line)
    _, study, *options = words
    command = [sys.executable, str(ROOT / study), *options, "--preset", "smoke", *how]
    done = subprocess.run([*command, "--out", "out"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out" / "table.csv")
    assert len(table) > 1
    assert table["test_accuracy_mean"].notna().all()
