"""Features of the user's own files: what is read, named and refused; a study's trial on them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from toy import machine_of, plain

from fl_core.base.errors import ConfigError
from fl_core.base.rng import stream
from fl_core.config.fields import shown
from fl_core.config.sections import DataConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.data.tasks import check_parts, load_examples, task_of
from fl_core.trial import Trial, run_trial

Arrays = dict[str, Any]
COUNTS = {"train": 120, "test": 30}


def part(name: str, **values: Any) -> Arrays:
    """Three classes that a line tells apart, of four owners."""
    count = COUNTS[name]
    labels = np.arange(count) % 3
    noise = stream(0, "features", count).standard_normal((count, 4))
    found = {"features": 3 * np.eye(3, 4)[labels] + 0.3 * noise, "labels": labels,
             "owners": np.arange(count) // 2 % 4}  # fmt: skip
    return {**found, **values}


def both(**values: Any) -> Arrays:
    """The arrays of one file; None leaves one out."""
    arrays = {f"{one}_{n}": value for one in COUNTS for n, value in part(one).items()}
    return {name: value for name, value in {**arrays, **values}.items() if value is not None}


def data_of(path: Path, **arrays: Any) -> DataConfig:
    np.savez(path, **arrays)
    return DataConfig(name="features", path=str(path))


def shapes(data: DataConfig, where: Path) -> list[Any]:
    return [
        [tuple(one.shape) for one in load_examples(data, machine_of(where), train=train) if
         one is not None] for train in (True, False)
    ]  # fmt: skip


def test_every_layout_gives_the_same(tmp_path: Path) -> None:
    tensors = {name: torch.from_numpy(value) for name, value in both().items()}
    save_file(tensors, tmp_path / "one.safetensors")
    folder = tmp_path / "two"
    folder.mkdir()
    np.savez(folder / "train.npz", **part("train"))
    save_file({n: torch.from_numpy(v) for n, v in part("test").items()},
              folder / "test.safetensors")  # fmt: skip
    layouts = [data_of(tmp_path / "three.npz", **both()),
               *(DataConfig(name="features", path=str(tmp_path / n)) for n in
                 ("one.safetensors", "two"))]  # fmt: skip
    machine = machine_of(tmp_path)
    wanted = part("train")
    for data in layouts:
        assert task_of(data).classes == 3
        found = load_examples(data, machine, train=True)
        assert found.inputs.numpy() == pytest.approx(wanted["features"])
        assert found.labels.tolist() == wanted["labels"].tolist()
        assert found.owners is not None
        assert found.owners.tolist() == wanted["owners"].tolist()
        assert shapes(data, tmp_path)[1] == [(30, 4), (30,), (30,)]
    assert len(list((tmp_path / "cache").glob("data-*"))) == 3  # named by their content


def test_without_a_test_part_a_fifth_of_every_class_is_it(tmp_path: Path) -> None:
    data = data_of(tmp_path / "one.npz", **part("train"))
    assert shapes(data, tmp_path) == [[(96, 4), (96,), (96,)], [(24, 4), (24,), (24,)]]
    test = load_examples(data, machine_of(tmp_path), train=False)
    assert torch.bincount(test.labels).tolist() == [8, 8, 8]


def test_names_become_numbers(tmp_path: Path) -> None:
    names = np.array(["b", "c", "a"])
    values = {"train_labels": names[np.arange(120) % 3], "test_labels": names[np.arange(30) % 3],
              "train_owners": np.array(["z", "y"])[np.arange(120) % 2],
              "test_owners": np.array(["x"] * 30)}  # fmt: skip
    data = data_of(tmp_path / "one.npz", **both(**values))
    assert task_of(data).names == ("a", "b", "c")
    train, test = (load_examples(data, machine_of(tmp_path), train=one) for one in (True, False))
    assert train.labels[:4].tolist() == [1, 2, 0, 1]
    assert train.owners is not None
    assert test.owners is not None
    assert (train.owners[:2].tolist(), test.owners[:2].tolist()) == ([2, 1], [0, 0])


HALVES = np.arange(120) / 2
NAN = np.where(np.arange(480).reshape(120, 4) == 9, np.nan, 1.0)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"train_labels": None}, "has no train_labels: needs train_features, train_labels, test_"),
        ({"test_features": None}, "has no test_features: needs train_features"),
        ({"train_features": NAN}, "its features must be finite numbers: example 2 has others"),
        ({"test_features": np.full((30, 4), np.inf)}, "its test part's features must be finite"),
        ({"train_features": np.ones((120, 2, 2))}, "its inputs must be float (N, D), not float32"),
        ({"test_features": np.ones((30, 5))}, "its training part has 4 features, its test part 5"),
        ({"train_labels": HALVES}, "its labels must be whole numbers"),
        ({"train_labels": np.arange(120) - 1}, "its labels must be 0, 1, ... and not -1"),
        ({"train_labels": np.arange(120) + 1}, "its labels must be 0, 1, ... without a gap: up to"),
        ({"train_labels": np.arange(119) % 3}, "its examples have 120 inputs and labels of shape"),
        ({"test_labels": np.arange(30)}, "its test part's labels must be in [0, 2], not 0 to 29"),
        ({"train_owners": np.arange(7)}, "its examples have 120 inputs and owners of shape (7,)"),
        ({"train_labels": np.arange(0), "train_features": np.ones((0, 4))}, "has no examples"),
        ({"train_labels": np.array([{}] * 120)}, "one.npz cannot be read (Object arrays cannot be"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(values: Arrays, why: str, tmp_path: Path) -> None:
    data = data_of(tmp_path / "one.npz", **both(**values))
    with pytest.raises(ConfigError) as caught:
        check_parts(data, machine_of(tmp_path))
    assert str(caught.value).startswith(f"data.path={shown(data.path)}: {why}")
    assert "\n" not in str(caught.value)


def test_what_is_no_such_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_text("no archive")
    (tmp_path / "bad.safetensors").write_text("nothing")
    (tmp_path / "table.csv").write_text("1, 2")
    (tmp_path / "folder").mkdir()
    np.savez(tmp_path / "folder/train.npz", **part("train"))
    for name, why in (
        ("bad.npz", "bad.npz cannot be read ("),
        ("bad.safetensors", "bad.safetensors cannot be read ("),
        ("table.csv", "must be a .npz or .safetensors file, or a folder with train and test"),
        ("folder", "has no test.npz or .safetensors"),
        ("nowhere.npz", "cannot be read (No such file"),
    ):
        data = DataConfig(name="features", path=str(tmp_path / name))
        with pytest.raises(ConfigError) as caught:
            task_of(data)
        said = str(caught.value)
        wholes = f"data.path={shown(data.path)}: {why}", f"data.path={data.path!r}: {why}"
        assert said.startswith(wholes), name


def test_its_owners_are_the_clients_of_a_trial(tmp_path: Path) -> None:
    data = data_of(tmp_path / "one.npz", **both())
    values = {"data.name": "features", "data.path": data.path, "federation.sharding": "natural",
              "federation.clients": 4, "federation.participation": 0.5, "rounds": 4,
              "eval_every": 4, "local.batch_size": 8}  # fmt: skip
    cfg, machine = TrialConfig().override(values), machine_of(tmp_path)
    trial = Trial(cfg, machine, tmp_path / "trials")
    records = list(trial.records())
    assert records[-1]["val_accuracy"] == 1
    assert trial.test_metrics()[0]["test_accuracy"] == 1
    assert plain(list(run_trial(cfg, machine))) == plain(records)
    for name, value, why in (
        ("federation.clients", 5, "must be in [1, 4], the number of owners"),
        ("data.val_fraction", 0.001, "is 0 of 120 training examples: must be 1 to 117 of them"),
    ):
        with pytest.raises(ConfigError) as caught:
            list(run_trial(cfg.override({name: value}), machine))
        assert str(caught.value).startswith(f"{name}={value}: {why}")
