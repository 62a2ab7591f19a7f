"""All figures of a study that there is data for, with their captions."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fl_analysis.plots.accuracy import accuracy_figure
from fl_analysis.plots.captions import captions, model_captions
from fl_analysis.plots.confusion import confusion_figure, errors_figure, pairs_figure
from fl_analysis.plots.curves import (
    active_share_figure,
    bytes_figure,
    curve_figure,
    curve_on_test_figure,
    time_figure,
)
from fl_analysis.plots.drift import drift_figure
from fl_analysis.plots.expected import expected_figure
from fl_analysis.plots.importance import importance_figure
from fl_analysis.plots.loss import loss_figure, loss_on_test_figure
from fl_analysis.plots.mask_layers import active_figure, overlap_figure, read_layers
from fl_analysis.plots.overlap import depth_figure, heterogeneity_figure
from fl_analysis.plots.pace import pace_figures
from fl_analysis.plots.pareto import pareto_figure
from fl_analysis.plots.participation import participation_figure
from fl_analysis.plots.partition import partition_figure
from fl_analysis.plots.predictions import (
    calibration_error_figure,
    calibration_figure,
    class_accuracy_figure,
    clients_figure,
    examples_figure,
)
from fl_analysis.plots.searching import search_figure
from fl_analysis.plots.style import RC
from fl_analysis.plots.traffic import traffic_figure
from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.images import find_images, published_files, read_images
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.curves import peaks, read_curves
from fl_analysis.results.equal import timed
from fl_analysis.results.expected import read_expected
from fl_analysis.results.outcome import Outcome, outcomes
from fl_analysis.results.participation import read_participation
from fl_analysis.results.predictions import Predicted, chosen, read_clients, read_predictions
from fl_analysis.results.probes import probe_values, read_probes
from fl_analysis.results.searching import courses
from fl_analysis.results.traffic import read_traffic


def draw_figures(
    runs: StudyRuns, data_dir: Path | None = None
) -> tuple[dict[str, Figure], dict[str, str]]:
    """What the study has data for, in order: name -> figure, name -> caption.

    `data_dir`: where the test images are looked for (default: FL_DATA_DIR, then ./data).
    """
    with matplotlib.rc_context(RC):
        results = outcomes(runs)
        data, layers = read_curves(runs), read_layers(runs, results)
        probes = read_probes(runs)
        marked, kept = peaks(results, data), any(o.config.get("keep") == "best" for o in results)
        drawn: dict[str, Figure | None] = {
            "accuracy": accuracy_figure(results),
            "curves": curve_figure(results, data, marked if kept else None),
            "loss": loss_figure(results, data, marked),
            "test_curves": curve_on_test_figure(results, data),
            "test_loss": loss_on_test_figure(results, data),
            "search": search_figure(results, courses(runs)),
            "expected": expected_figure(read_expected(runs, results)),
            "virtual_time": time_figure(results, data) if timed(runs, results) else None,
            "communication": bytes_figure(results, data),
            "traffic": traffic_figure(results, read_traffic(runs, results)),
            "pareto": pareto_figure(runs, results),
            "drift": drift_figure(results, probes),
            "drift_own": drift_figure(results, data.drift) if probes.empty else None,
            "active_share": active_share_figure(results, data),
            **pace_figures(results, data),
            "mask_active": active_figure(results, layers),
            "overlap_layers": overlap_figure(results, layers),
            "overlap_depth": depth_figure(results, layers),
            "overlap_sharding": heterogeneity_figure(results),
            "importance": importance_figure(runs),
            "partition": partition_figure(runs, results),
            "selections": participation_figure(read_participation(runs, results)),
        }
        text = captions(results, data.searched, probe_values(runs))
        if found := read_predictions(runs, results):
            drawn |= _model_figures(runs, results, found, data_dir)
            text |= model_captions(found, chosen(found))
    figures = {name: figure for name, figure in drawn.items() if figure is not None}
    return figures, {name: text[name] for name in figures}


def _model_figures(
    runs: StudyRuns, results: Sequence[Outcome], found: Sequence[Predicted], data_dir: Path | None
) -> dict[str, Figure | None]:
    """Figures of what the confirmed models predict; most of one arm, a few of all."""
    arm = chosen(found)
    pixels = _test_pixels(arm, data_dir)
    return {
        "confusion": confusion_figure(arm),
        "confused_pairs": pairs_figure(arm),
        "class_accuracy": class_accuracy_figure(arm),
        "errors": errors_figure(found),
        "client_accuracy": clients_figure(read_clients(runs, found), results),
        "calibration": calibration_figure(arm),
        "calibration_error": calibration_error_figure(found),
        "predictions": None if pixels is None else examples_figure(arm, pixels),
    }


def _test_pixels(arm: Predicted, data_dir: Path | None) -> np.ndarray | None:
    """The images that were predicted, where they are on disk; damaged ones are left out aloud."""
    data = arm.outcome.task.data
    files, folder = published_files(data), find_images(data, data_dir)
    if files is None or folder is None:
        return None
    try:
        return read_images(files, folder, "test")[0]
    except AnalysisError as error:
        print(f"warning: no pictures of predictions: {error}", file=sys.stderr)
        return None
