"""What a hostile store, a mistake on the command line or a full pipe must not do."""

from __future__ import annotations

import dataclasses
import errno
import io
import sys
from pathlib import Path

import pandas as pd
import pytest
from made_study import SEEDS, confirm, search, study
from texts import table_latex, table_markdown

from fl_analysis import explore_data, figures, final_tables, report
from fl_analysis.reading import cli
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.intervals import mean_interval, paired
from fl_analysis.tables.final import table_csv
from fl_core.config.trial_config import TrialConfig
from fl_core.study.jobs import Arm
from fl_core.study.result import result_of

EVIL = "../../x\n\\input{/etc/passwd}<img src=x>[a](http://b)"
COMMANDS = (final_tables, figures, report, explore_data)


def evil() -> StudyRuns:
    """Names from a store that others write to."""
    rows = [search(0, 0.8, a) for a in (0, 1)]
    rows += [confirm(0, s, 0.7, 0.6 + s / 100, a) for s in SEEDS for a in (0, 1)]
    runs = study(rows, arms=2, preset=EVIL)
    arms = runs.arms.assign(arm_name=[EVIL, "=HYPERLINK(1)"])
    settings = tuple({**s, "local.rule": f"=cmd|{i}"} for i, s in enumerate(runs.settings))
    return dataclasses.replace(runs, study=EVIL, arms=arms, settings=settings)


def test_intervals_end_where_accuracies_do() -> None:
    assert mean_interval([0.98, 1.0]) == (pytest.approx(0.862938), 1.0)
    assert mean_interval([0.0, 0.1])[0] == 0.0
    gaps = paired([0.9, 0.1], [0.1, 0.2])
    assert (gaps.low, gaps.high) == (-1.0, 1.0)


@pytest.mark.parametrize(
    "name", ["../../x", "/abs", "..", ".", "a/b", "a\\b", "x\ny", "\0", "~", "", "n" * 300, "-x"]
)
def test_a_study_s_folder_stays_below_results(name: str) -> None:
    folder = cli.folder_of(name)
    assert Path(folder).name == folder != ""
    assert folder not in (".", "..")
    assert len(folder.encode()) < 200
    assert folder[0] not in ".-~"
    assert not set(folder) & set("/\\\0\n")


def test_folders_of_other_names_are_other_folders() -> None:
    assert cli.folder_of("fedavg_noniid") == "fedavg_noniid"
    assert cli.folder_of("Ölüberg 2.1") == "Ölüberg 2.1"
    names = ["a/b", "a\\b", "a_b", "a b", "../a", "n" * 300, "n" * 301]
    assert len({cli.folder_of(name) for name in names}) == len(names)


def test_names_stay_text_in_every_format() -> None:
    runs = evil()
    for line in table_latex(runs).splitlines():
        assert not line.lstrip().startswith("\\input")
        assert line.startswith("%") or "\\input{/" not in line
    lines = table_markdown(runs).splitlines()
    assert not any(line.startswith("\\input") for line in lines)
    assert not any("<img" in line.replace("\\<img", "") or "](http" in line for line in lines)
    assert lines[0].startswith("# ../../x \\\\input")


def test_captions_of_figures_are_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(figures, "draw_figures", lambda *_: ({}, {}))
    (file,) = figures.write_figures(evil(), tmp_path)
    lines = file.read_text().splitlines()
    assert lines[0].endswith("captions")
    assert not any(line.startswith("\\input") or "]](http" in line for line in lines)
    assert "preset ../../x \\\\input{/etc/passwd}\\<img src=x>[a]\\(http" in lines[2]


def test_a_spreadsheet_finds_no_formula() -> None:
    text = table_csv(evil())
    back = pd.read_csv(io.StringIO(text), dtype=str).fillna("")
    texts = back.select_dtypes("object").to_numpy().ravel().tolist()
    assert "'=cmd|0" in texts
    numbers = [t for t in texts if t.startswith(("=", "+", "-", "@"))]
    assert all(float(t) < 0 for t in numbers)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_is_one_line(command: object, capsys: pytest.CaptureFixture[str]) -> None:
    for args in (["--nothing"], ["--format", "docx"], ["--out", ""], ["--tracking-uri", ""],
                 ["--study", ""], ["--study"]):  # fmt: skip
        if command is report and args[0] == "--format":
            continue
        with pytest.raises(SystemExit) as left:
            command.main(args)  # type: ignore[attr-defined]
        assert left.value.code == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("error: ")
        assert said.err.count("\n") == 1
        assert args[0] in said.err


@pytest.mark.parametrize(
    "uri", ["sqlite://", "sqlite:///:memory:", "sqlite:///{}", "{}/none", "{}"]
)
def test_no_store_is_made(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "empty"
    folder.mkdir()
    assert final_tables.main(["--tracking-uri", uri.format(folder), "--study", "x"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [folder]
    assert list(folder.iterdir()) == []


def test_what_stands_in_the_way_is_named_before_the_work(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at = ["--tracking-uri", uri, "--study", "golden", "--out"]
    (tmp_path / "o" / "table.csv").mkdir(parents=True)
    assert final_tables.main([*at, str(tmp_path / "o")]) == 2
    said = capsys.readouterr().err
    assert said.endswith(f"\nerror: {tmp_path}/o/table.csv: is a folder, not a file\n")
    file = tmp_path / "file"
    file.write_text("mine")
    for command in (final_tables, figures):
        assert command.main([*at, str(file)]) == 2
        assert capsys.readouterr().err == f"error: --out {file}: is a file, not a folder\n"
        assert command.main([*at, str(file / "below")]) == 2
        assert capsys.readouterr().err == f"error: --out {file}/below: {file} is a file\n"
    assert report.main([*at, str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"error: --out {tmp_path}: is a folder, not a file\n"
    assert file.read_text() == "mine"


def test_a_reader_that_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Closed(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError(errno.EPIPE, "nobody reads it")

    monkeypatch.setattr(sys, "stdout", Closed())
    done: list[int] = []

    def task() -> None:
        for number in (1, 2):
            print("a line", flush=True)
            done.append(number)

    assert cli.reported(task) == 0
    assert done == [1, 2]  # the files of the next study are written, too


def test_a_result_has_no_password(tmp_path: Path) -> None:
    """It is shown in notebooks, which are mailed and published."""
    runs = study([search(0, 0.8), *(confirm(0, s, 0.7, 0.6) for s in SEEDS)])
    address = "postgresql://me:secret@db/runs"
    found = result_of(runs, [Arm("iid", {}, TrialConfig())], tmp_path, address)
    assert found.tracking_uri == "postgresql://me:***@db/runs"
    assert "secret" not in repr(found) + found.html


def test_classes_that_no_client_holds_are_a_warning() -> None:
    names = ("federation.clients", "federation.sharding", "federation.classes_per_client")
    held = [dict(zip(names, (10, "classes", n), strict=True)) for n in (5, 10)]
    rows = [search(0, 0.8, arm, **held[arm]) for arm in (0, 1)]
    rows += [confirm(0, s, 0.7, 0.6, arm, **held[arm]) for s in SEEDS for arm in (0, 1)]
    text = table_markdown(study(rows, arms=2))
    line = (
        "- in 1 of 2 arms clients hold at most K x N_c = 10 x 5 = 50 of the 100 classes that are "
        "tested: no model of these arms has seen the others\n"
    )
    assert line in text
