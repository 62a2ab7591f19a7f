"""What is in the data: balance, samples, centres, nearest pairs, spread, outliers, partitions.

    python analysis/explore_data.py                        # the features that ship with the package
    python analysis/explore_data.py --data-dir data        # and the pictures
    python analysis/explore_data.py --study fedavg_noniid  # and the realised partitions

writes results/data/{balance,spread,outliers,...}.{png,pdf}, captions.md, summary.md, classes.csv.
Distances are Euclidean in the feature space of a frozen backbone and, but for near copies across
the parts, of training images alone. What cannot be drawn is named in a line with the reason.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fl_analysis.dataset.captions import captions
from fl_analysis.dataset.features import Features, embedded, read_features
from fl_analysis.dataset.figures import balance_figure, outlier_figure, spread_figure
from fl_analysis.dataset.outliers import Outliers
from fl_analysis.dataset.pictures import montage_figure, outlier_images_figure, pairs_figure
from fl_analysis.dataset.summary import Explored, class_table, explore, most_extreme, summary
from fl_analysis.plots.partition import partition_figure
from fl_analysis.plots.style import FORMATS, RC, render
from fl_analysis.reading import cli as command
from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.images import check_named, find_images, published_files, read_images, where
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.outcome import outcomes
from fl_analysis.tables.escapes import csv
from fl_core.study.arguments import Parser, path, words

PARTITIONS = (
    "they are read from a study's arms in MLflow; run python studies/fedavg_noniid.py, "
    "then add --study fedavg_noniid"
)


def draw(found: Explored, runs: StudyRuns | None) -> dict[str, Figure]:
    """All figures that there is data for, in order."""
    with matplotlib.rc_context(RC):
        drawn: dict[str, Figure | None] = {
            "balance": balance_figure(found.counts),
            "spread": spread_figure(found.classes, found.spread),
            "outliers": _outliers(found, found.outliers),
        }
        if found.colours is not None:
            drawn["colour_outliers"] = _outliers(found, found.colours)
        if found.pixels:
            train = (found.pixels["train"], found.labels["train"])
            test = (found.pixels["test"], found.labels["test"])
            pairs = {
                "one class": (found.pairs["same"], train, train),
                "two classes": (found.pairs["different"], train, train),
                "test | train": (found.pairs["across"], test, train),
            }
            drawn |= {
                "samples": montage_figure(found.classes, train[0], found.samples),
                "extremes": montage_figure(found.classes, train[0], found.extremes, halves=True),
                "nearest_pairs": pairs_figure(found.classes, pairs),
                "outlier_images": _outlier_images(found, found.outliers),
            }
            if found.colours is not None:
                drawn["colour_outlier_images"] = _outlier_images(found, found.colours)
        if runs is not None:
            drawn["partition"] = partition_figure(runs, outcomes(runs))
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _outliers(found: Explored, outliers: Outliers) -> Figure:
    return outlier_figure(found.classes, outliers, found.share_beyond(outliers))


def _outlier_images(found: Explored, outliers: Outliers) -> Figure:
    train = (found.pixels["train"], found.labels["train"])
    return outlier_images_figure(found.classes, train, most_extreme(outliers), outliers.squares)


def _pixels(features: Features, data_dir: Path | None) -> dict[str, np.ndarray]:
    """The images of each part, where they are on disk; a line where they are not."""
    files, folder = published_files(features.data), find_images(features.data, data_dir)
    if files is None:
        print(f"left out the pictures: none known of {features.data}", file=sys.stderr)
        return {}
    if folder is None:
        absent = where(files, data_dir)
        print(f"left out samples, extremes, pairs, outlier images: {absent}", file=sys.stderr)
        return {}
    pixels = {}
    for part, labels in features.labels.items():
        pixels[part], found = read_images(files, folder, part)
        if not (len(found) == len(labels) and (found == labels).all()):
            raise AnalysisError(f"{folder}: other labels of {part} than the features have")
    return pixels


def write(args: argparse.Namespace, out: Path) -> list[Path]:
    """Explores, draws, writes; the files written."""
    command.check_folder(out)
    features = read_features(args.features or embedded())
    check_named([features.data], args.data_dir)  # before any work
    runs = command.read(args.tracking_uri, args.study) if args.study else None
    pixels = _pixels(features, args.data_dir)
    if runs is None:
        print(f"left out the partitions: {PARTITIONS}", file=sys.stderr)
    explored = explore(features, pixels, runs)
    figures = draw(explored, runs)
    text = captions(explored)
    lines = ["# data: captions"]
    lines += [line for name in figures for line in ("", f"**{name}.** {text[name]}")]
    files = {
        f"{name}.{kind}": render(figure, kind)
        for name, figure in figures.items()
        for kind in command.formats(args.format, FORMATS)
    }
    files["captions.md"] = ("\n".join(lines) + "\n").encode()
    files["summary.md"] = summary(explored).encode()
    files["classes.csv"] = csv(class_table(explored)).encode()
    return [command.write(out / name, content) for name, content in files.items()]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit code."""
    line = (__doc__ or "").strip().splitlines()[0]
    parser = Parser(description=line)
    add = parser.add_argument
    add("--data-dir", type=path, help="folder of the images (FL_DATA_DIR, ./data)")
    add("--features", type=path, help="a file of cached features (default: the package's)")
    add("--tracking-uri", type=words, help="MLflow store ($MLFLOW_TRACKING_URI, else ./mlflow.db)")
    add("--study", type=words, help="whose realised partitions to draw")
    add("--format", choices=[*FORMATS, "all"], nargs="+", default=["png", "pdf"])
    add("--out", type=path, default=Path("results/data"), help="folder (default: results/data)")
    args = command.parsed(parser, argv)
    return command.reported(lambda: print(*write(args, args.out), sep="\n"))


if __name__ == "__main__":
    sys.exit(main())
