"""CIFAR-100's files: found, checked, and read by an unpickler that can run nothing."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import subprocess
from pathlib import Path

import numpy as np
import pytest

from fl_analysis.dataset.features import embedded, read_features
from fl_analysis.dataset.summary import copies
from fl_analysis.reading.classes import SUPERCLASSES, classes_of
from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.images import (
    FOLDER,
    MD5,
    ArraysOnly,
    find_images,
    read_images,
    read_published,
)

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
    with pytest.raises(AnalysisError, match=f"not the published file .* {MD5['test']}"):
        read_images(tmp_path, "test")
    with pytest.raises(AnalysisError, match="No such file"):
        read_images(tmp_path, "train")


def test_where_the_images_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FL_DATA_DIR", raising=False)
    assert find_images(None) is None
    (tmp_path / "data" / FOLDER).mkdir(parents=True)
    assert find_images(None) == Path("data") / FOLDER
    monkeypatch.setenv("FL_DATA_DIR", str(tmp_path))
    assert find_images(None) is None
    with pytest.raises(AnalysisError, match=r"^--data-dir .*download=True"):
        find_images(tmp_path)


@pytest.mark.images
def test_the_published_files(cifar_dir: Path) -> None:
    folder = cifar_dir / FOLDER
    meta, raw = (read_published(folder / part, MD5[part]) for part in ("meta", "test"))
    assert meta["coarse_label_names"] == list(SUPERCLASSES)
    names = classes_of("cifar100", 100)
    assert [name.replace("_", " ") for name in meta["fine_label_names"]] == list(names.names)
    assert [names.parents[label] for label in raw["fine_labels"]] == raw["coarse_labels"]
    parts = {part: read_images(folder, part) for part in ("train", "test")}
    features = read_features(embedded())
    for part, (_, labels) in parts.items():
        assert (labels == features.labels[part]).all()
    pixels = {part: images for part, (images, _) in parts.items()}
    found = copies(pixels, features.labels)
    assert found == {"train": 14, "train_relabelled": 9, "test": 10, "test_relabelled": 6}
