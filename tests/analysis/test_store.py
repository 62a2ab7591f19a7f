"""Reading a store: what is found, what is refused, and in how few calls."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from fl_analysis.reading import store
from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.fetch import curves, partition
from fl_analysis.reading.frames import json_tag, parse_value
from fl_analysis.reading.store import StudyRuns, list_studies, read_study


def test_studies_are_experiments_with_a_study_run(uri: str, empty_uri: str) -> None:
    assert list_studies(uri) == ["bare", "golden"]
    assert list_studies(empty_uri) == []


def test_the_newest_study_run_is_read_and_an_older_one_on_request(
    uri: str, old_run: str, golden: StudyRuns
) -> None:
    assert golden.run_id != old_run
    assert golden.others == (old_run,)
    assert (len(golden.arms), len(golden.trials)) == (4, 18)
    old = read_study(uri, "golden", old_run)
    assert (len(old.arms), len(old.trials)) == (1, 1)
    assert read_study(uri, None, old_run).study == "golden"


def test_arms_and_trials_hold_typed_values(golden: StudyRuns) -> None:
    assert list(golden.arms["arm_name"][:3]) == ["iid, J=4", "iid, J=8", "N_c=1, J=4"]
    assert golden.arms.at[3, "run_id"] is None
    assert golden.arms.at[3, "data.name"] == "cifar100"  # what all the other arms agree on
    row = golden.trials.set_index("digest").loc["d3"]
    assert (row["arm"], row["phase"], row["local.momentum"]) == (2, "search", 0.3)
    assert row["federation.alpha"] is None
    assert row["val_accuracy"] == 0.45
    assert golden.seeds == (0, 1, 2)
    assert golden.budget == 3


def test_test_metrics_of_search_runs_never_get_in(golden: StudyRuns) -> None:
    search = golden.trials[golden.trials["phase"] == "search"]
    assert search["test_accuracy"].isna().all()
    assert any("not blind" in note for note in golden.notes)


def test_nan_metrics_stay_nan(golden: StudyRuns) -> None:
    last = golden.trials.set_index("digest")["val_accuracy"]
    assert last.isna()["d2"]


def test_few_calls_however_many_runs(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    calls: list[str] = []
    plain = mlflow.MlflowClient.search_runs
    monkeypatch.setattr("fl_analysis.reading.connect._PAGE", 4)
    monkeypatch.setattr(
        "fl_analysis.reading.sqlite_runs.readable", lambda uri: False
    )  # as on a server

    def counted(self: object, *args: object, **kwargs: object) -> object:
        calls.append("search")
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(mlflow.MlflowClient, "search_runs", counted)
    monkeypatch.setattr(mlflow.MlflowClient, "get_run", None)
    runs = read_study(uri, "golden")
    assert len(runs.trials) == 18  # over several pages
    assert len(calls) <= 1 + 1 + 5 + 2


def test_curves_are_long_and_sorted(golden: StudyRuns) -> None:
    rows = golden.trials.set_index("digest")
    run_id = str(rows.at["d2", "run_id"])
    frame = curves(golden, [run_id], ["val_accuracy", "test_accuracy"])
    assert list(frame.columns) == ["run_id", "metric", "step", "value"]
    assert list(frame["step"]) == [200, 400]
    assert frame["value"][0] == 0.2
    assert math.isnan(frame["value"][1])
    assert curves(golden, [], ["val_accuracy"]).empty


def test_partition_with_and_without_artifact(golden: StudyRuns) -> None:
    part = partition(golden, 2)
    assert part is not None
    assert part.to_numpy().tolist() == [[7, 0, 0], [0, 7, 0], [0, 0, 7]]
    assert partition(golden, 1) is None
    assert partition(golden, 3) is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("None", None), ("True", True), ("False", False), ("4", 4), ("-3", -3), ("0.5", 0.5)],
        *[("1e-05", 1e-05), ("dino", "dino"), ("sha256:1e5", "sha256:1e5"), ("1e", "1e")],
    ],
)
def test_parameters_come_back_in_their_type(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)


def test_errors_are_one_clear_line(uri: str, empty_uri: str, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello, this is not a database at all" * 50)
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE t (x)")
    cases = [
        (f"sqlite:///{tmp_path / 'none.db'}", "golden", "no such file"),
        (f"sqlite:///{text}", "golden", "not a readable sqlite file"),
        (f"sqlite:///{other}", "golden", "not an MLflow store"),
        (str(other), "golden", "write it as sqlite:///"),
        ("http://127.0.0.1:9", "golden", "no tracking server answers"),
        ("mlruns", "golden", "mlruns"),
        (uri, "nothing", "studies there: bare, golden"),
        (uri, "foreign", "studies there: bare, golden"),
        (empty_uri, "golden", "studies there: none"),
    ]
    for address, study, message in cases:
        with pytest.raises(AnalysisError, match=message) as caught:
            read_study(address, study)
        assert "\n" not in str(caught.value), address
    assert not (tmp_path / "none.db").exists()
    with sqlite3.connect(other) as db:  # MLflow would have made its tables there
        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (1,)


def test_a_run_of_another_kind_or_study_is_refused(uri: str, golden: StudyRuns) -> None:
    with pytest.raises(AnalysisError, match="kind arm"):
        read_study(uri, "golden", str(golden.arms.at[0, "run_id"]))
    with pytest.raises(AnalysisError, match="belongs to study golden"):
        read_study(uri, "bare", golden.run_id)
    with pytest.raises(AnalysisError, match="unknown"):
        read_study(uri, "golden", "unknown")


def test_damaged_tags_are_named() -> None:
    with pytest.raises(AnalysisError, match="tag arms="):
        json_tag({"arms": "[{"}, "arms", [])
    with pytest.raises(AnalysisError, match="must be a list"):
        json_tag({"arms": "{}"}, "arms", [])


def test_the_package_never_imports_torch_ray_or_the_core(uri: str, tmp_path: Path) -> None:
    """Nor what stands on them; of fl_core only what needs the standard library alone."""
    code = (
        "import sys, pkgutil, importlib, fl_analysis\n"
        "names = [m.name for m in pkgutil.walk_packages(fl_analysis.__path__, 'fl_analysis.')]\n"
        "assert len(names) > 50, names\n"
        "for name in names:\n"
        "    importlib.import_module(name)\n"
        "from fl_analysis import figures\n"
        f"assert figures.main(['--tracking-uri', {uri!r}, '--study', 'golden',\n"
        f"                     '--out', {str(tmp_path)!r}, '--format', 'svg']) == 0\n"
        "loaded = [m for m in sys.modules if m.split('.')[0] in ('torch', 'ray', 'timm')]\n"
        "assert not loaded, loaded\n"
    )
    root = Path(store.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("note: golden: the newest of its 2 searches")
    assert done.stderr.count("\n") == 1
