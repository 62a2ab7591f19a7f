"""The figures: which are drawn, from which runs, and the same bytes each time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import matplotlib
import pytest

from fl_analysis.figures import main, write_figures
from fl_analysis.plots.accuracy import accuracy_figure
from fl_analysis.plots.style import FORMATS
from fl_analysis.reading.store import StudyRuns, read_study
from fl_analysis.results.curves import read_curves
from fl_analysis.results.outcome import outcomes


def test_all_formats_are_the_same_byte_for_byte(golden: StudyRuns, tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    one = write_figures(golden, tmp_path / "one", FORMATS)
    two = write_figures(golden, tmp_path / "two", FORMATS)
    # too few trials: no importance
    names = ("accuracy", "curves", "loss", "search", "communication", "partition")
    assert [p.name for p in one] == [*(f"{n}.{k}" for n in names for k in FORMATS), "captions.md"]
    for first, second in zip(one, two, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name
    assert dict(matplotlib.rcParams) == before


def test_two_axes_make_a_heat_map_with_a_dash_for_the_missing(golden: StudyRuns) -> None:
    figure = accuracy_figure(outcomes(golden))
    assert figure is not None
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert texts == ["70.0 ± 1.0", "58.0 ± —", "42.0 ± 2.8", "—"]
    labels = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert labels == ["iid", "$N_c$=1"]


def test_one_axis_makes_dots(golden: StudyRuns) -> None:
    figure = accuracy_figure(outcomes(golden)[:2])
    assert figure is not None
    assert figure.axes[0].get_xlabel() == "test accuracy [%]"
    assert not figure.axes[0].images


def test_curves_come_from_the_confirmation_else_from_the_chosen_trial(golden: StudyRuns) -> None:
    data = read_curves(golden)
    first = data.frame[data.frame["arm"] == 0].set_index("step")
    assert first.at[200, "mean"] == pytest.approx(0.51)
    assert first.at[400, "runs"] == 3
    assert first.at[400, "std"] == pytest.approx(0.01)
    assert first.at[400, "bytes"] == pytest.approx(2 * 4e5 * 100)
    assert data.searched == ()
    confirmed = golden.trials["phase"] == "confirm"
    blind = golden.trials.assign(val_accuracy=golden.trials["val_accuracy"].mask(confirmed))
    runs = dataclasses.replace(golden, trials=blind)  # as if trained on train+val
    data = read_curves(runs)
    assert data.searched == (0, 1, 2)
    assert data.frame[data.frame["arm"] == 2]["mean"].tolist() == [0.20, 0.45]


def test_a_study_without_runs_gives_captions_only(uri: str, tmp_path: Path) -> None:
    paths = write_figures(read_study(uri, "bare"), tmp_path)
    assert [p.name for p in paths] == ["captions.md"]


def test_command_fails_in_one_line(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--tracking-uri", uri, "--study", "nothing"]) == 2
    file = tmp_path / "file"
    file.touch()
    out = ["--out", str(file / "x"), "--format", "png"]
    assert main(["--tracking-uri", uri, "--study", "golden", *out]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 2
    assert captured.out == ""
