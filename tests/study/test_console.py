"""`fl-study`: the commands of an installed package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from fl_core.study import arguments, console

ROOT = Path(__file__).parents[2]


def test_the_list_has_every_study_and_its_question(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.main(["list"]) is None
    shown = capsys.readouterr().out
    for file in (ROOT / "studies").glob("[!_]*.py"):
        assert f"\n{file.stem} " in f"\n{shown}"
    assert (
        "  How much does heterogeneity cost FedAvg, and does working longer locally help?" in shown
    )


def test_a_reader_of_the_list_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `fl-study list | head -1` does."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert console.main(["list"]) is None


def test_a_study_takes_its_own_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["fl-study", "run", "fedavg_iid", "--help"]
    monkeypatch.setattr(sys, "orig_argv", ["python", *command])
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(SystemExit) as end:
        console.main()
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: fl-study run fedavg_iid ")


def test_a_file_of_ones_own_is_run_as_python_runs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "beside_it.py").write_text("ANSWER = 42\n")
    file = tmp_path / "mine.py"
    file.write_text(
        "import sys\nfrom beside_it import ANSWER\n"
        "if __name__ == '__main__':\n    print(ANSWER, sys.argv[1:])\n"
    )
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "argv", [])
    console.main(["run", str(file), "--preset", "smoke"])
    assert capsys.readouterr().out == "42 ['--preset', 'smoke']\n"


@pytest.mark.parametrize("command", console.COMMANDS)
def test_every_command_explains_itself(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(SystemExit) as end:
        console.main([command, "--help"])
    assert end.value.code == 0
    assert "usage: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["run"], "name a study"),
        (["run", "--preset"], "name a study"),
        (["run", "fedavg"], "no such study; did you mean fedavg_iid?"),
        (["run", "qqq"], "no such study; fl-study list shows them"),
        (["run", "no.py"], "there is no such file"),
        (["list", "x"], "takes no options"),
        (["repot"], "invalid choice: 'repot'"),
        (["--nope"], "are required"),
    ],
)
def test_a_mistake_is_one_line(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        console.main(argv)
    assert end.value.code == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("orig", "argv", "program"),
    [
        (["python", "/bin/fl-study", "run", "iid", "-x"], ["/a/iid.py", "-x"], "fl-study run iid"),
        (["python", "studies/iid.py"], ["studies/iid.py"], "python studies/iid.py"),
        (["python", "my/own.py"], ["my/own.py"], "python my/own.py"),
        (["python", "-m", "pytest"], ["/pytest/__main__.py"], "python studies/iid.py"),
        (["python"], [""], "python studies/iid.py"),
        (["python"], ["/x/ipykernel_launcher.py", "-f", "x"], "python studies/iid.py"),
    ],
)
def test_how_a_study_was_started(
    orig: list[str], argv: list[str], program: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", orig)
    monkeypatch.setattr(sys, "argv", argv)
    assert arguments.started_as("iid") == program
