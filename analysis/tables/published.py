"""Published numbers as one tidy frame, with the conditions that keep them apart from ours.

The CSV files beside this module are the reports' tables (facts, with their sources in the
comment lines); here each becomes rows of one shape. `value` is an accuracy in [0, 1] or an
overlap, sparsity is the FROZEN fraction (NaN = dense), `rule` what the mask keeps trainable,
`local_unit` says what the report's J counts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fl_core.config.vocabulary import known, masked

FOLDER = Path(__file__).with_name("published")
COLUMNS = (
    *("source", "setting", "strategy", "sharding", "classes_per_client"),
    *("local_work", "local_unit", "sparsity", "rule"),
    *("metric", "value", "comparable", "conditions"),
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
#: What the reports trained -> our names for it; one report does not say which sparse part.
_STRATEGIES = {
    "head": {"head"},
    "sparse head": {"head"},
    "full": {"full"},
    "head + sparse backbone": {"head_then_sparse_backbone"},
    "head + sparse full": {"head_then_sparse_full"},
    "head + sparse": {"head_then_sparse_backbone", "head_then_sparse_full"},
}
_LEAST = "least_sensitive"  # the rule of both reports with sparse accuracies
#: Alcani et al.'s dense rows at N_c = 1 and 5 differ between their report and their own CSV.
_ALCANI_CSV = {1: 0.6341, 5: 0.7031}


def published() -> pd.DataFrame:
    """All published accuracies and overlaps, in a fixed order."""
    rows = [*_alcani(), *_pirilli_federated(), *_pirilli_centralised(), *_hatem()]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.drop_duplicates(ignore_index=True)


def beside(
    config: Mapping[str, Any], frame: pd.DataFrame | None = None, by_strategy: bool = False
) -> pd.DataFrame:
    """The published test accuracies for an arm's own problem: same data set, K, C, sharding,
    N_c, J (whatever it counts there) and sparsity; where a mask is in force, or on request, the
    same strategy too. Rule, backbone and schedule may differ: that is what `conditions` says.
    """
    rows = _same_problem(config, published() if frame is None else frame, "test_accuracy")
    sparsity = config.get("mask.sparsity") or math.nan
    rows = _where_close(rows, "sparsity", sparsity)
    strategy = config.get("fine_tune.strategy")
    if known(strategy) and (by_strategy or masked(config)):
        rows = _where(rows, [strategy in _STRATEGIES[name] for name in rows["strategy"]])
    return rows


def beside_overlap(config: Mapping[str, Any], frame: pd.DataFrame | None = None) -> pd.DataFrame:
    """The published overlaps of per-client masks by the same rule, at this sparsity and N_c."""
    rows = _same_problem(config, published() if frame is None else frame, "jaccard")
    if config.get("mask.scope") != "per_client":
        return rows.iloc[:0]
    rows = rows[rows["rule"] == config.get("mask.rule")]
    return _where_close(rows, "sparsity", config.get("mask.sparsity"))


def _same_problem(config: Mapping[str, Any], rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The rows of this metric for the same data set, K, C, sharding, N_c and J."""
    rows = rows[rows["metric"] == metric]
    if config.get("data.name") != "cifar100":
        return rows.iloc[:0]
    clients, share = config.get("federation.clients"), config.get("federation.participation")
    if clients == 1:
        return rows[rows["setting"] == "centralised"]
    if (clients, share) != (100, 0.1):
        return rows.iloc[:0]
    rows = rows[rows["setting"] == "federated"]
    rows = rows[rows["sharding"] == config.get("federation.sharding")]
    for column, name in _MATCHED.items():
        if metric == "jaccard" and column == "local_work":
            continue  # masks are made before any local step
        rows = _where_close(rows, column, config.get(name))
    return rows


def _where_close(rows: pd.DataFrame, column: str, value: float | None) -> pd.DataFrame:
    return _where(rows, [_close(other, value) for other in rows[column]])


def _where(rows: pd.DataFrame, keep: Sequence[bool]) -> pd.DataFrame:
    return rows[np.array(keep, dtype=bool)]  # an array: pandas takes [] for a choice of columns


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
    value: float,
    conditions: str,
    *,
    setting: str = "federated",
    classes: float = math.nan,
    local_work: float = math.nan,
    sparsity: float = math.nan,
    rule: str = "",
    metric: str = "test_accuracy",
    comparable: bool = True,
) -> tuple[Any, ...]:
    """One row in COLUMNS' order; NaN classes means iid, all reports count J in epochs."""
    sharding = "iid" if math.isnan(classes) else "classes"
    unit = "" if math.isnan(local_work) else "epochs"
    head = (source, setting, strategy, sharding, classes, local_work, unit)
    kept = rule if not math.isnan(sparsity) else ""
    return (*head, sparsity, kept, metric, round(value, 6), comparable, conditions)


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
            **{"sparsity": row["sparsity"], "rule": _LEAST},
        }
        name = "sparse head" if "sparse" in row["model"] else "head"
        text = _ALCANI
        if "sparse" in row["model"]:
            text += ", least-sensitive mask made once on one batch"
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
            common |= {"sparsity": row["sparsity"], "rule": _LEAST}
        name = "full" if full else "head + sparse backbone"
        if row["name"].startswith("Scen2"):
            name, text = "head + sparse", f"{text}; which part is sparse is not stated"
        rows.append(_row(source, name, row["accuracy"], text, **common))
    return rows


def _pirilli_centralised() -> list[tuple[Any, ...]]:
    rows = []
    for row in _read("pirilli2025_centralized.csv"):
        text = f"CIFAR-100, {_PIRILLI.replace('round', 'epoch')}; {row['epochs']} epochs, "
        text += f"lr {row['lr']:g}, momentum {row['momentum']:g}"
        if not math.isnan(row["sparsity"]):
            text += f", least-sensitive mask of {row['calibration_rounds']:.0f} rounds"
        args = {"setting": "centralised", "sparsity": row["sparsity"], "rule": _LEAST}
        name = str(row["strategy"]).replace("_", " ").replace("+", " + ")
        rows.append(_row("Pirilli et al. 2025, Table 1", name, row["test_accuracy"], text, **args))
    return rows


def _hatem() -> list[tuple[Any, ...]]:
    rows = []
    for row in _read("hatem2025.csv"):
        overlap = row["metric"] == "jaccard"
        rule = str(row["method"]).replace("-", "_") if overlap else ""
        rows.append(
            _row(
                "Kotb Hatem et al. 2025",
                "full",
                row["value"],
                _HATEM,
                setting="centralised" if row["experiment"] == "centralized" else "federated",
                classes=row["classes_per_client"],
                local_work=row["local_epochs"],
                sparsity=1 - row["sparsity"],  # theirs is the fraction kept
                rule=rule,
                metric=row["metric"],
                comparable=False,
            )
        )
    return rows
