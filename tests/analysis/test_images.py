"""CIFAR-100's files: found, checked, and read by an unpickler that can run nothing."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fl_analysis.dataset.features import embedded, read_features
from fl_analysis.dataset.summary import copies
from fl_analysis.reading.classes import classes_of
from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.images import (
    ArraysOnly,
    check_named,
    find_images,
    read_images,
    read_published,
)
from fl_analysis.reading.tasks import task_facts
from fl_core.data.catalogue import DATA_SETS
from fl_core.data.facts.cifar import CIFAR100
from fl_core.data.facts.data_set import Published

FILES = CIFAR100.files
assert FILES is not None
FOLDER, FACTS = FILES.folder, task_facts({"data.name": "cifar100"})
POINTS = np.arange(12, dtype=np.float32).reshape(3, 4)


class Attack:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch attacked",)


def test_a_pickle_cannot_run_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps({"data": Attack()}))
    with pytest.raises(pickle.UnpicklingError, match="system is not allowed"):
        read_published(path, hashlib.md5(path.read_bytes()).hexdigest())
    for thing in (subprocess.run, eval, np.random.default_rng):
        with pytest.raises(pickle.UnpicklingError, match="not allowed"):
            ArraysOnly(io.BytesIO(pickle.dumps(thing))).load()
    assert not (tmp_path / "attacked").exists()


def test_arrays_come_through(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(pickle.dumps({"data": POINTS, "n": [1]}, protocol=4))
    found = read_published(path, hashlib.md5(path.read_bytes()).hexdigest())
    assert (found["data"] == POINTS).all()
    assert found["n"] == [1]


def test_other_bytes_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ArraysOnly, "load", lambda self: pytest.fail("was unpickled"))
    (tmp_path / "test").write_bytes(pickle.dumps({}))
    with pytest.raises(
        AnalysisError, match=f"not the published file .* {FILES.parts['test']['test']}"
    ):
        read_images(FILES, tmp_path, "test")
    with pytest.raises(AnalysisError, match="No such file"):
        read_images(FILES, tmp_path, "train")


def test_where_the_images_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FL_DATA_DIR", raising=False)
    assert find_images("cifar100", None) is None
    (tmp_path / "data" / FOLDER).mkdir(parents=True)
    assert find_images("cifar100", None) == Path("data") / FOLDER
    assert find_images("mine:spectra", None) is None
    monkeypatch.setenv("FL_DATA_DIR", str(tmp_path))
    assert find_images("cifar100", None) is None
    assert find_images("cifar10", tmp_path / "data") is None


def test_a_folder_that_was_named_must_have_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(AnalysisError, match=r"^--data-dir .*CIFAR100.*download=True"):
        check_named(["cifar100"], tmp_path)
    check_named(["mine:spectra"], tmp_path)  # of which there are no pictures anywhere
    (tmp_path / FOLDER).mkdir()
    check_named(["cifar100", "cifar10"], tmp_path)
    with pytest.raises(AnalysisError, match=r"holds no cifar-10-batches-py"):
        check_named(["cifar10"], tmp_path)


@pytest.mark.parametrize("name", ["cifar100", "cifar10"])
def test_the_files_are_those_that_torchvision_knows(name: str) -> None:
    """The sums are read from its source: importing it takes seconds."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).with_name("datasets").joinpath("cifar.py").read_text()
    files = DATA_SETS[name].files
    assert files is not None
    assert f'"{files.folder}"' in source
    for file, md5 in {**files.parts["train"], **files.parts["test"]}.items():
        assert f'["{file}", "{md5}"]' in source
    for file, md5 in files.meta.items():
        assert f'"{file}"' in source
        assert f'"md5": "{md5}"' in source


def test_images_of_several_files(tmp_path: Path) -> None:
    """Rows of channels, file after file, as pixels."""
    sums = {}
    for name, first in (("one", 0), ("two", 12)):
        rows = np.arange(first, first + 12, dtype=np.uint8).reshape(1, 12)
        content = pickle.dumps({"data": rows, "labels": [first]}, protocol=4)
        (tmp_path / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    files = Published("folder", {"train": sums}, {}, "labels", "", (3, 2, 2))
    pixels, labels = read_images(files, tmp_path, "train")
    assert labels.tolist() == [0, 12]
    assert pixels.shape == (2, 2, 2, 3)
    assert pixels[0, 0, 0].tolist() == [0, 4, 8]
    assert pixels[1, 1, 1].tolist() == [15, 19, 23]


@pytest.mark.images
def test_the_published_files(cifar_dir: Path) -> None:
    folder = cifar_dir / FOLDER
    meta, raw = (
        read_published(folder / part, md5)
        for part, md5 in {**FILES.meta, **FILES.parts["test"]}.items()
    )
    assert meta["coarse_label_names"] == list(CIFAR100.superclasses)
    names = classes_of(FACTS, 100)
    assert meta["fine_label_names"] == list(CIFAR100.names)
    assert [names.parents[label] for label in raw["fine_labels"]] == raw["coarse_labels"]
    parts = {part: read_images(FILES, folder, part) for part in ("train", "test")}
    features = read_features(embedded())
    for part, (_, labels) in parts.items():
        assert (labels == features.labels[part]).all()
    pixels = {part: images for part, (images, _) in parts.items()}
    found = copies(pixels, features.labels)
    assert found == {"train": 14, "train_relabelled": 9, "test": 10, "test_relabelled": 6}
