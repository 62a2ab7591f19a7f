"""Published numbers as one tidy frame, with the conditions that keep them apart from ours.

The CSV files beside this module are the reports' tables (facts, with their sources in the
comment lines); here each becomes rows of one shape. An accuracy is in [0, 1], sparsity is the
FROZEN fraction (NaN = dense), `local_unit` says what the report's J counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

FOLDER = Path(__file__).with_name("published")
COLUMNS = (
    *("source", "setting", "strategy", "sharding", "classes_per_client"),
    *("local_work", "local_unit", "sparsity", "metric", "accuracy", "comparable", "conditions"),
)
_COMMON = "CIFAR-100, K = 100, C = 0.1"
_PIRILLI = "DINO ViT-S/16 at 64 px, best TEST round reported, one run"
_ALCANI = (
    f"{_COMMON}, DINO ViT-S/16 frozen + linear head, 20 rounds of 4 local epochs, SGD lr 0.01 "
    "momentum 0.9, final test accuracy, one run"
)
_HATEM = (
    "NOT comparable: their sharder gives a client only about 4 / 20 / 40 / 158 images at "
    f"N_c = 1 / 5 / 10 / 50; {_COMMON}, ViT-S/16 at 224 px with supervised ImageNet weights, "
    "full fine-tuning, lr 0.03, one run"
)
_MATCHED = {"classes_per_client": "federation.classes_per_client", "local_work": "local.steps"}
#: Alcani et al.'s dense rows at N_c = 1 and 5 differ between their report and their own CSV.
_ALCANI_CSV = {1: 0.6341, 5: 0.7031}


def published() -> pd.DataFrame:
    """All published accuracies, in a fixed order."""
    rows = [*_alcani(), *_pirilli_federated(), *_pirilli_centralised(), *_hatem()]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.drop_duplicates(ignore_index=True)


def beside(config: Mapping[str, Any], frame: pd.DataFrame | None = None) -> pd.DataFrame:
    """The published test accuracies for an arm's own problem: same data set, K, C, sharding,
    N_c, J (whatever it counts there) and sparsity. Backbone and schedule may differ: that is
    what `conditions` says.
    """
    rows = published() if frame is None else frame
    rows = rows[rows["metric"] == "test_accuracy"]
    if config.get("data.name") != "cifar100":
        return rows.iloc[:0]
    sparsity = config.get("mask.sparsity") or math.nan
    rows = rows[rows["sparsity"].map(lambda v: _close(v, sparsity)).astype(bool)]
    clients, share = config.get("federation.clients"), config.get("federation.participation")
    if clients == 1:
        return rows[rows["setting"] == "centralised"]
    if (clients, share) != (100, 0.1):
        return rows.iloc[:0]
    rows = rows[rows["setting"] == "federated"]
    rows = rows[rows["sharding"] == config.get("federation.sharding")]
    for column, name in _MATCHED.items():
        rows = rows[rows[column].map(lambda v, n=name: _close(v, config.get(n))).astype(bool)]
    return rows


def _close(one: float, other: float | None) -> bool:
    if other is None or math.isnan(other) or math.isnan(one):
        return math.isnan(one) and (other is None or math.isnan(other))
    return math.isclose(one, other)


def _read(name: str) -> list[dict[str, Any]]:
    frame = pd.read_csv(FOLDER / name, comment="#")
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _row(
    source: str,
    strategy: str,
    accuracy: float,
    conditions: str,
    *,
    setting: str = "federated",
    classes: float = math.nan,
    local_work: float = math.nan,
    sparsity: float = math.nan,
    metric: str = "test_accuracy",
    comparable: bool = True,
) -> tuple[Any, ...]:
    """One row in COLUMNS' order; NaN classes means iid, all reports count J in epochs."""
    sharding = "iid" if math.isnan(classes) else "classes"
    unit = "" if math.isnan(local_work) else "epochs"
    head = (source, setting, strategy, sharding, classes, local_work, unit)
    return (*head, sparsity, metric, round(accuracy, 6), comparable, conditions)


def _alcani() -> list[tuple[Any, ...]]:
    source, rows = "Alcani et al. 2025", []
    for row in _read("alcani2025.csv"):
        classes, dense = row["classes_per_client"], row["model"] == "fedavg"
        central = "centralized" in row["model"]
        where = f"{source}, Table I" if dense and classes in _ALCANI_CSV else source
        common = {
            "setting": "centralised" if central else "federated",
            "classes": classes,
            "local_work": math.nan if central else 4.0,
            "sparsity": row["sparsity"],
        }
        name = "sparse head" if "sparse" in row["model"] else "head"
        text = _ALCANI
        if row["model"] == "sparse_fedavg" and math.isnan(classes):
            text += "; 71.70 in their text"
        rows.append(_row(where, name, row["test_accuracy"] / 100, text, **common))
        if dense and classes in _ALCANI_CSV:
            note = f"{_ALCANI}; N_c = 1 and 5 appear swapped between their Table I and their CSV"
            rows[-1] = _row(where, name, row["test_accuracy"] / 100, note, **common)
            own = _ALCANI_CSV[int(classes)]
            rows.append(_row(f"{source}, their CSV", name, own, note, **common))
    return rows


def _pirilli_federated() -> list[tuple[Any, ...]]:
    source, rows = "Pirilli et al. 2025, Table 2", []
    for row in _read("pirilli2025_federated.csv"):
        common = {"classes": row["classes_per_client"], "local_work": float(row["local_epochs"])}
        if not math.isnan(row["head_accuracy"]):  # the dense head stage before the backbone's
            rounds = 50 if row["name"].startswith("Scen2") else 100
            text = f"{_COMMON}, {_PIRILLI}; head stage: {rounds} rounds, lr 3e-3, momentum 0.9"
            rows.append(_row(source, "head", row["head_accuracy"], text, **common))
        full = math.isnan(row["sparsity"])
        text = f"{_COMMON}, {_PIRILLI}; {row['rounds']} rounds, lr 1e-4, momentum 0.9"
        if not full:
            text += f", per-client least-sensitive masks of {row['calibration_rounds']:.0f} rounds"
        name = "full" if full else "head + sparse backbone"
        rows.append(_row(source, name, row["accuracy"], text, sparsity=row["sparsity"], **common))
    return rows


def _pirilli_centralised() -> list[tuple[Any, ...]]:
    rows = []
    for row in _read("pirilli2025_centralized.csv"):
        text = f"CIFAR-100, {_PIRILLI.replace('round', 'epoch')}; {row['epochs']} epochs, "
        text += f"lr {row['lr']:g}, momentum {row['momentum']:g}"
        args = {"setting": "centralised", "sparsity": row["sparsity"]}
        name = str(row["strategy"]).replace("_", " ").replace("+", " + ")
        rows.append(_row("Pirilli et al. 2025, Table 1", name, row["test_accuracy"], text, **args))
    return rows


def _hatem() -> list[tuple[Any, ...]]:
    rows = []
    for row in _read("hatem2025.csv"):
        if not str(row["metric"]).endswith("accuracy"):
            continue  # mask overlaps
        rows.append(
            _row(
                "Kotb Hatem et al. 2025",
                "full",
                row["value"],
                _HATEM,
                setting="centralised" if row["experiment"] == "centralized" else "federated",
                classes=row["classes_per_client"],
                local_work=row["local_epochs"],
                metric=row["metric"],
                comparable=False,
            )
        )
    return rows
