"""The data exploration: geometry against scipy and scikit-learn, untrusted files, what is drawn."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file
from scipy.spatial.distance import cdist, mahalanobis
from scipy.stats import chi2
from sklearn.covariance import ledoit_wolf as reference_ledoit_wolf

from fl_analysis.dataset import geometry, outliers, summary
from fl_analysis.dataset.captions import captions
from fl_analysis.dataset.features import embedded, read_features
from fl_analysis.explore_data import draw, main
from fl_analysis.plots.style import render
from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.images import find_images, published_files, read_images

RNG = np.random.default_rng(1)
LABELS = np.repeat(np.arange(4), 60)
POINTS = (RNG.standard_normal((240, 6)) + 4 * LABELS[:, None]).astype(np.float32)


def save(path: Path, labels: np.ndarray = LABELS) -> Path:
    """A features file as fl_core.models.features writes it."""
    scale = np.full(6, 0.2, np.float32)
    tensors = {}
    for part in ("train", "test"):
        tensors[f"{part}_features"] = (POINTS / 0.2).round().astype(np.int8)
        tensors[f"{part}_labels"] = labels.astype(np.uint8)
        tensors[f"{part}_scale"] = scale
    digests = {
        name: f"{hashlib.sha256(t.tobytes()).hexdigest()} dtype shape"
        for name, t in tensors.items()
    }
    meta = {"source": "dots (by hand)", "backbone": "b", "resolution": 8, "storage": "int8"}
    save_file(tensors, path, {"meta": json.dumps(meta), "sha256": json.dumps(digests)})
    return path


# --- geometry -------------------------------------------------------------------------------------


def test_centres_and_order_by_hand() -> None:
    points = np.array([[0.0, 0], [2, 0], [1, 3], [5, 5]])
    labels = np.array([0, 0, 0, 1])
    assert geometry.centroids(points, labels).tolist() == [[1, 1], [5, 5]]
    distances = geometry.centre_distances(points, labels)
    assert distances == pytest.approx([2**0.5, 2**0.5, 2, 0])
    assert geometry.by_distance(distances, labels, 0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("same", [True, False])
def test_nearest_pairs_against_all_pairs(same: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "_CHUNK", 7)  # many blocks
    points, labels = POINTS[::2], np.arange(120) % 3
    square = cdist(points, points)
    square[(labels[:, None] == labels) != same] = np.inf
    square[np.tril_indices(120)] = np.inf
    expected, used = [], set()
    for flat in np.argsort(square, axis=None, kind="stable"):
        i, j = divmod(int(flat), 120)
        if not {i, j} & used:
            expected.append((i, j))
            used |= {i, j}
    found = geometry.nearest_pairs(points, labels, 5, same)
    assert [(p.one, p.other) for p in found] == expected[:5]
    assert [p.distance for p in found] == pytest.approx([square[e] for e in expected[:5]])


def test_equal_examples_across_sets_have_distance_zero() -> None:
    (nearest,) = geometry.nearest_across(POINTS[[200, 17]] + [[0.5], [0]], POINTS, 1)
    assert (nearest.one, nearest.other, nearest.distance) == (1, 17, 0.0)


def test_shrinkage_is_scikit_learns() -> None:
    for n in (12, 60, 240):
        centred = POINTS[:n] - POINTS[:n].mean(axis=0, dtype=float)
        ours, weight = outliers.ledoit_wolf(centred)
        theirs, expected = reference_ledoit_wolf(centred, assume_centered=True)
        assert weight == pytest.approx(expected)
        assert ours == pytest.approx(theirs)


def test_mahalanobis_is_scipys() -> None:
    centred = POINTS[:60] - POINTS[:60].mean(axis=0, dtype=float)
    covariance, _ = outliers.ledoit_wolf(centred)
    inverse = np.linalg.inv(covariance)
    expected = [mahalanobis(x, np.zeros(6), inverse) ** 2 for x in centred]
    assert outliers.mahalanobis(centred, covariance) == pytest.approx(expected)


def test_normal_classes_have_the_expected_outliers() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(10), 2000)
    mixing = rng.standard_normal((5, 5))
    points = rng.standard_normal((20_000, 5)) @ mixing + 9 * rng.standard_normal((10, 5))[labels]
    found = outliers.outliers(points, labels)
    assert found.components == 5
    assert found.threshold == pytest.approx(chi2.ppf(0.975, 5))
    assert found.share == pytest.approx(0.025, abs=0.004)  # 3.6 standard errors
    assert found.reference == pytest.approx(0.025, abs=0.004)
    assert found.kept == pytest.approx(1)
    points[5] += 100 * mixing[0]
    assert np.argmax(outliers.outliers(points, labels).squares) == 5


def test_outliers_by_colour_by_hand() -> None:
    """An image's mean red, green and blue against its own class, as scipy measures it."""
    rng = np.random.default_rng(5)
    pixels = rng.integers(0, 256, (400, 2, 2, 3), np.uint8)
    labels = np.arange(400) % 2
    pixels[7] = 255, 0, 0
    found = outliers.colour_outliers(pixels, labels)
    mine = pixels[labels == 1].mean(axis=(1, 2))
    inverse = np.linalg.inv(np.cov(mine.T))
    expected = [mahalanobis(x, mine.mean(axis=0), inverse) ** 2 for x in mine]
    assert found.squares[labels == 1] == pytest.approx(expected)
    assert found.threshold == pytest.approx(chi2.ppf(0.975, 3))
    assert np.argmax(found.squares) == 7
    assert 0 < found.share < 0.05


def test_cifar_has_nearly_five_percent_outliers_by_colour(cifar_dir: Path) -> None:
    """As an independent count of the same definition has it: 4.6 %."""
    files, folder = published_files("cifar100"), find_images("cifar100", cifar_dir)
    assert files is not None
    assert folder is not None
    found = outliers.colour_outliers(*read_images(files, folder, "train"))
    assert found.share == pytest.approx(0.0462, abs=1e-4)
    assert found.reference == pytest.approx(0.025, abs=0.002)


def test_heavy_tails_have_more() -> None:
    rng = np.random.default_rng(4)
    points = rng.standard_t(3, (4000, 5))
    found = outliers.outliers(points, np.repeat([0, 1], 2000))
    assert found.share > 0.04 > found.reference


# --- what is drawn --------------------------------------------------------------------------------


def test_damaged_features_are_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "f.safetensors")
    read_features(path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(AnalysisError, match="wrong digest of"):
        read_features(path)
    path.write_bytes(b"x")
    with pytest.raises(AnalysisError, match="no features of this suite"):
        read_features(path)


def test_copies_by_hand() -> None:
    a, b, c = (np.full((2, 2, 3), value, np.uint8) for value in (1, 2, 3))
    pixels = {"train": np.stack([a, a, a, b]), "test": np.stack([a, b, c])}
    labels = {"train": np.array([0, 0, 1, 2]), "test": np.array([1, 0, 0])}
    found = summary.copies(pixels, labels)
    assert found == {"train": 2, "train_relabelled": 1, "test": 2, "test_relabelled": 1}


def test_without_images_the_rest_is_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FL_DATA_DIR", raising=False)
    features = str(save(tmp_path / "f.safetensors"))
    for out in ("one", "two"):
        assert main(["--features", features, "--out", out, "--format", "svg"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert lines[0] == "left out the pictures: none known of dots"
    assert "studies/fedavg_noniid.py" in lines[1]
    names = sorted(path.name for path in Path("one").iterdir())
    assert names == sorted(
        ["balance.svg", "spread.svg", "outliers.svg", "captions.md", "summary.md", "classes.csv"]
    )
    for name in names:
        assert (Path("one") / name).read_bytes() == (Path("two") / name).read_bytes(), name
    table = Path("one/classes.csv").read_text().splitlines()
    assert table[0] == "class,train,test,mean_distance,outlier_share,most_central,most_remote"
    assert len(table) == 5


def test_bad_arguments_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data-dir", str(tmp_path)]) == 2
    assert main(["--features", str(tmp_path / "none")]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in errors if "left out" not in line] == ["error"] * 2


def test_partitions_of_a_study(golden: object, uri: str, tmp_path: Path) -> None:
    features = save(tmp_path / "f.safetensors")
    call = ["--features", str(features), "--tracking-uri", uri, "--study", "golden"]
    assert main([*call, "--out", str(tmp_path / "out"), "--format", "svg"]) == 0
    assert (tmp_path / "out" / "partition.svg").is_file()


def test_pictures(tmp_path: Path) -> None:
    features = read_features(save(tmp_path / "f.safetensors"))
    rng = np.random.default_rng(0)
    pixels = {p: rng.integers(0, 256, (240, 4, 4, 3), np.uint8) for p in ("train", "test")}
    pixels["test"][3] = pixels["train"][9]
    found = summary.explore(features, pixels, None)
    figures = draw(found, None)
    pictures = ["samples", "extremes", "nearest_pairs", "outlier_images", "colour_outlier_images"]
    assert list(figures) == ["balance", "spread", "outliers", "colour_outliers", *pictures]
    assert set(figures) <= set(captions(found))
    again = draw(dataclasses.replace(found), None)
    for name in pictures:
        assert render(figures[name], "svg") == render(again[name], "svg"), name
    distances = found.distances[LABELS == 2]
    near, _, far, _ = found.extremes[2]
    assert found.distances[near] == distances.min()
    assert found.distances[far] == distances.max()
    assert "| test images equal to a training image " in summary.summary(found)


def test_the_embedded_features() -> None:
    features = read_features(embedded())
    assert features.data == "cifar100"
    assert features.values["train"].shape == (50_000, 192)
    assert np.bincount(features.labels["test"]).tolist() == [100] * 100


def test_no_torch_is_imported() -> None:
    names = "fl_analysis.explore_data, fl_analysis.figures"
    code = f"import sys, {names}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
