"""A finished study grows: arms, trials, seeds, finalists, a wider space. Nothing is repeated."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from faults.events import Events
from faults.here import run_here

from fl_core.base.errors import UserError
from fl_core.study import folder
from studies import load_study

STUDY = '''
"""Does participation matter?"""

from fl_core.study.command import main
from fl_core.study.presets import Preset
from fl_core.study.study import Study


def space(trial):
    return {{
        "local.lr": trial.suggest_float("local.lr", {low}, 1.0, log=True),
        "local.batch_size": trial.suggest_categorical("local.batch_size", {sizes}),
    }}


STUDY = Study(
    name="participation", question=__doc__, base={{"federation.clients": 20}},
    arms=[{{"federation.participation": c}} for c in {arms}], space=space,
    presets={{"embedded": Preset("short", budget=16, eval_steps=8, trials=2, seeds=2)}},
)
if __name__ == "__main__":
    main(STUDY)
'''


def run(place: Path, *argv: str, **study: object) -> pd.DataFrame:
    """The table of the study with these arms and this space; everything where it lies by itself."""
    values = {"low": 0.01, "sizes": [32, 64], "arms": [0.1], **study}
    file = place / "participation.py"
    file.write_text(STUDY.format(**values))
    run_here(load_study(file), ["--serial", *argv], place, Events(place / "log")).assert_good()
    return pd.read_csv(place / "results/participation/table.csv")


def written(place: Path) -> dict[str, int]:
    trials = (place / "results/participation/trials").iterdir()
    return {path.name: path.stat().st_mtime_ns for path in trials}


def test_a_finished_study_grows_and_repeats_nothing(tmp_path: Path) -> None:
    first = run(tmp_path)
    assert list(first[["trials", "seeds"]].iloc[0]) == [2, 2]
    kept = written(tmp_path)
    assert len(kept) == 2 + 2
    steps = [
        (["--trials", "3", "--seeds", "3"], {}),
        (["--trials", "3", "--seeds", "3", "--finalists", "2"], {"arms": [0.1, 0.5]}),
        (["--trials", "4", "--seeds", "3", "--finalists", "2"],
         {"arms": [0.1, 0.5], "low": 0.001, "sizes": [32, 64, 128]}),
    ]  # fmt: skip
    for argv, study in steps:
        table = run(tmp_path, *argv, **study)
        now = written(tmp_path)
        assert {name: now[name] for name in kept} == kept  # not even written again
        assert len(now) > len(kept)
        kept = now
        wanted = dict(zip(argv[::2], argv[1::2], strict=True))
        assert set(table["trials"]) == {int(wanted["--trials"])}
        assert set(table["seeds"]) == {int(wanted.get("--seeds", 2))}
        beside = len(study.get("arms", [0.1])) - 1  # --trials counts none of what a neighbour found
        assert set(table["neighbours"]) <= {beside, 2 * beside}  # another winner, another trial
        assert min(table["neighbours"]) >= beside
    assert list(table["federation.participation"]) == [0.1, 0.5]


def test_what_starts_over_is_put_aside(tmp_path: Path) -> None:
    out = tmp_path / "results" / "study"
    for number in (1, 2):
        with folder.locked(out):
            (out / "table.md").write_text(f"the {number}th")
            assert folder.generation(out) == number - 1
            folder.start_over(out)
            assert folder.generation(out) == number
            assert not (out / "table.md").exists()
            assert folder.holder(out) == str(os.getpid())  # it has the lock of the new one
        assert folder.holder(out) == ""
        aside = tmp_path / "results" / f"study.{number}"
        assert (aside / "table.md").read_text() == f"the {number}th"
        assert folder.holder(aside) == ""
    assert sorted(path.name for path in out.parent.iterdir()) == ["study", "study.1", "study.2"]
    for damaged in ("", "two", "\0"):
        (out / "generation").write_text(damaged)
        assert folder.generation(out) == 2


def test_what_is_no_file_or_no_folder_is_told_before_any_work(tmp_path: Path) -> None:
    for name in ("table.csv", "generation", ".lock", ".process", "study.yaml", "optuna.journal"):
        (tmp_path / name).mkdir()
        with (
            pytest.raises(UserError, match=f"{name} is a folder there"),
            folder.locked(tmp_path),
        ):
            pass
        (tmp_path / name).rmdir()
    (tmp_path / "figures").touch()
    with pytest.raises(UserError, match="figures is a file there"), folder.locked(tmp_path):
        pass


def test_only_a_study_s_own_folder_starts_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    folder.check_fresh(out, "mine")  # nothing there, nothing to lose
    with folder.locked(out):
        folder.check_fresh(out, "mine")  # killed before its first file
    (out / "thesis.tex").write_text("years")
    for text in (None, "study: other\npreset: smoke\n", "\0\udcff"):
        if text is not None:
            (out / "study.yaml").write_text(text, errors="surrogateescape")
        with pytest.raises(UserError, match=r"--fresh: .*/out is no folder of study mine|read"):
            folder.check_fresh(out, "mine")
    (out / "study.yaml").write_text("study: mine\npreset: smoke\n")
    folder.check_fresh(out, "mine")
    (out / "below").mkdir()
    for here in (out, out / "below"):
        monkeypatch.chdir(here)
        with pytest.raises(UserError, match=r"--fresh: .*/out holds the working directory"):
            folder.check_fresh(out, "mine")
