"""Real runs, committed, give the committed tables byte for byte.

After a change of the tables that was meant: `python tests/analysis/golden/export.py`, then read the
difference that git shows.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from fl_analysis.reading.store import read_study
from fl_analysis.results.outcome import outcomes

GOLDEN = Path(__file__).with_name("golden")
STUDIES = sorted(file.stem for file in GOLDEN.glob("*.json"))


@pytest.fixture(scope="session")
def export() -> ModuleType:
    """golden/export.py, which is a script."""
    spec = importlib.util.spec_from_file_location("golden_export", GOLDEN / "export.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("study", STUDIES)
def test_tables_are_the_committed_ones(
    study: str, export: ModuleType, folder: Path, tmp_path: Path
) -> None:
    export.tables(GOLDEN / f"{study}.json", tmp_path, folder / "empty.db")
    names = sorted(p.name for p in (GOLDEN / study).iterdir())
    assert {"table.md", "table.csv", "table.tex"} <= set(names)
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_text() == (GOLDEN / study / name).read_text(), name


@pytest.mark.parametrize("study", STUDIES)
def test_an_export_of_what_was_loaded_is_the_same(
    study: str, export: ModuleType, folder: Path, tmp_path: Path
) -> None:
    store = tmp_path / "mlflow.db"
    shutil.copy(folder / "empty.db", store)
    name = export.load(GOLDEN / f"{study}.json", store)
    again = export.exported(f"sqlite:///{store}", name)
    assert again == json.loads((GOLDEN / f"{study}.json").read_text())


def test_the_winner_of_several_finalists_is_chosen_on_validation(
    export: ModuleType, folder: Path, tmp_path: Path
) -> None:
    """What the table must say, worked out from the file by other means."""
    file = GOLDEN / "finalists.json"
    data = json.loads(file.read_text())
    store = tmp_path / "mlflow.db"
    shutil.copy(folder / "empty.db", store)
    runs = read_study(f"sqlite:///{store}", export.load(file, store))
    place = {name: i for i, name in enumerate(data["metrics"])}
    for outcome in outcomes(runs):
        means: dict[str, list[float]] = {}
        for record in data["runs"]:
            tags = record["tags"]
            if tags.get("arm_name") == outcome.name and tags.get("phase") == "confirm":
                value = record["values"][place["score"]]
                means.setdefault(tags["chosen"], []).append(value)
        best = max(means, key=lambda chosen: sum(means[chosen]) / len(means[chosen]))
        assert outcome.best is not None
        assert json.loads(best)["local.lr"] == outcome.best["local.lr"]
        assert {len(values) for values in means.values()} == {3}


def test_nothing_of_the_machine_is_committed(export: ModuleType) -> None:
    files = [p for p in GOLDEN.rglob("*") if p.suffix in (".json", ".md", ".csv", ".tex")]
    assert sum(p.stat().st_size for p in files) < 300_000
    for file in files:
        if file.suffix == ".json":
            text = file.read_text()
            assert not re.search(r"://|/tmp|/home|/root|/work|/Users|@", text), file.name
    assert export.scrub("at /home/me/x, file:///tmp/y") == "at PATH, PATH"
    assert export.scrub("a/b 1/2 studies/x.py") == "a/b 1/2 studies/x.py"
