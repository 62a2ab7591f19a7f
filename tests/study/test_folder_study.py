"""A user's study on a folder of images of five classes, from its file to its tables."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from faults.place import Place
from image_folder import COLOURS, image_folder

from fl_analysis import final_tables
from fl_core.base.errors import ConfigError
from fl_core.base.machine import Machine
from fl_core.config.trial_config import TrialConfig
from fl_core.models.features import extract_features
from fl_core.trial import Trial

STUDY = '''
"""Does it matter on my pictures whether every client has all colours?"""

from fl_core import Preset, Study, main


def space(trial):
    return {"local.lr": trial.suggest_float("local.lr", 0.02, 0.1, log=True)}


STUDY = Study(
    name="pictures", question=__doc__, space=space,
    base={
        "data.name": "folder", "data.path": "images", "data.image_size": 16, "data.crop": 1,
        "backbone.name": "cnn", "backbone.weights": "random", "backbone.image_size": 8,
        "fine_tune.strategy": "full", "federation.clients": 5, "federation.participation": 1.0,
        "local.batch_size": 16, "local.steps": 4, "local.momentum": 0.9,
    },
    arms=[
        {"federation.sharding": "iid"},
        {"federation.sharding": "classes", "federation.classes_per_client": 4},
    ],
    presets={"embedded": Preset("short", budget=80, eval_steps=40, trials=1, seeds=1)},
)
if __name__ == "__main__":
    main(STUDY)
'''


@pytest.mark.soak
def test_from_a_folder_to_its_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    image_folder(tmp_path / "images", train=40, test=8)
    (tmp_path / "study.py").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    place = replace(Place.at(tmp_path), file=tmp_path / "study.py", options=())
    place.run_here()
    table = place.frame()
    assert (table["test_accuracy_mean"] > 0.7).all()
    capsys.readouterr()
    tables = ["--tracking-uri", place.uri, "--study", "pictures", "--out", str(tmp_path / "o")]
    assert final_tables.main([*tables, "--format", "csv"]) == 0
    assert "a folder of images" in capsys.readouterr().out
    (file,) = (tmp_path / "o").rglob("table.csv")
    again = pd.read_csv(file)
    assert again["test_accuracy_mean"].tolist() == table["test_accuracy_mean"].tolist()


HEAD: dict[str, Any] = {
    "data.name": "folder", "backbone.name": "cnn", "backbone.weights": "random",
    "backbone.image_size": 16, "federation.clients": 4, "federation.participation": 1.0,
    "head.method": "ridge", "local.batch_size": 16, "rounds": 0,
}  # fmt: skip


def test_a_head_on_the_features_of_a_folder(tmp_path: Path) -> None:
    """Features are of the images in their size, computed once."""
    root, machine = image_folder(tmp_path / "images", train=20), Machine(cache_dir=tmp_path / "c")
    config = TrialConfig().override({**HEAD, "data.path": str(root), "data.image_size": 16})
    trial = Trial(config, machine, tmp_path / "trials")
    assert list(trial.records())[-1]["val_accuracy"] > 0.6
    metrics, _ = trial.test_metrics()
    assert metrics["test_accuracy"] > 0.6
    assert len(list(machine.cache_dir.glob("features-*"))) == 1
    small = extract_features(config.override({"data.image_size": 8}), machine)
    assert not small.features.equal(extract_features(config, machine).features)
    assert len(small.labels) == 16 * len(COLOURS)
    assert len(list(machine.cache_dir.glob("features-*"))) == 2


def test_the_size_is_that_of_a_folder_alone() -> None:
    with pytest.raises(ConfigError, match=r"data\.image_size=32: only for data\.name=folder"):
        TrialConfig().override({"data.image_size": 32})
