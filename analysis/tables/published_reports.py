"""One report's CSV, one function: its rows in the shape of `published.COLUMNS`, with conditions.

Conditions of a row are those of its own setting: a centralised number has no K, C or rounds.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd

from fl_analysis.tables.sources import SOURCES
from fl_core.data.catalogue import data_title

FOLDER = Path(__file__).with_name("published")
NAN = math.nan
Row = dict[str, Any]
_LEAST = "least_sensitive"  # the rule of the reports that give none for a row
#: Alcani et al.'s dense rows at N_c = 1 and 5 differ between their report and their own CSV.
_ALCANI_CSV = {1: 0.6341, 5: 0.7031}


def _read(name: str) -> list[dict[str, Any]]:
    frame = pd.read_csv(FOLDER / f"{name}.csv", comment="#")
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _federated(row: Row) -> str:
    """The federation of all reports, on the data set of a row."""
    return f"{data_title(row['data'])}, K = 100, C = 0.1"


def _row(
    key: str,
    strategy: str,
    value: float,
    conditions: str,
    *,
    data: str,
    where: str = "",
    setting: str = "federated",
    classes: float = NAN,
    work: float = NAN,
    unit: str = "epochs",
    sparsity: float = NAN,
    rule: str = "",
    mask_rounds: float = NAN,
    gamma: float = NAN,
    metric: str = "test_accuracy",
    comparable: bool = True,
) -> Row:
    """One row; NaN classes means iid, NaN sparsity dense, NaN gamma that clients were drawn
    uniformly. A dense row has no rule.
    """
    sparse = not math.isnan(sparsity)
    return {
        "key": key,
        "source": SOURCES[key].name + where,
        "data": data,
        "setting": setting,
        "strategy": strategy,
        "sharding": "iid" if math.isnan(classes) else "classes",
        "classes_per_client": classes,
        "local_work": work,
        "local_unit": "" if math.isnan(work) else unit,
        "sparsity": sparsity,
        "rule": rule if sparse else "",
        "mask_rounds": mask_rounds if sparse else NAN,
        "gamma": gamma,
        "metric": metric,
        "value": round(value, 6),
        "comparable": comparable,
        "conditions": conditions,
    }


def del_vecchio() -> list[Row]:
    """The same brief: a frozen head, then the backbone; J counts steps, T x J is constant."""
    rows = []
    for row in _read("aml_project2_2026"):
        data = data_title(row["data"])
        model = "DINO ViT-S/16 at 224 px, head trained first and then frozen, SGDM lr 1e-4"
        args: Row = {"data": row["data"], "unit": "steps"}
        if row["experiment"] == "centralized":
            text = f"{data}, {model}, schedule {row['schedule']}, last epoch, one run"
            args["setting"] = "centralised"
        else:
            last = "last" if row["experiment"] == "fedavg" else "best TEST"
            budget = f"T x J = {row['rounds'] * row['local_steps']:.0f} steps"
            text = f"{_federated(row)}, {model}, {budget}, {last} round, one run"
            args |= {"classes": row["classes_per_client"], "work": row["local_steps"]}
        if not math.isnan(row["classes_per_client"]):
            text += "; their shards overlap: at N_c = 1 about 63 of 100 classes have a client"
        sparse = row["sparsity"] > 0
        if sparse:
            text += "; one shared mask, made on iid clients"
            args |= {"sparsity": row["sparsity"], "rule": row["rule"]}
            args["mask_rounds"] = row["calibration_rounds"]
        name = "head + sparse backbone" if sparse else "head + backbone"
        rows.append(_row("delvecchio2026", name, row["test_accuracy"] / 100, text, **args))
    return rows


def pirilli_federated() -> list[Row]:
    """Their Table 2: a dense head stage, then the backbone or everything."""
    rows = []
    for row in _read("pirilli2025_federated"):
        common = f"{_federated(row)}, DINO ViT-S/16 at 64 px, best TEST round reported, one run"
        args: Row = {
            "data": row["data"],
            "where": ", Table 2",
            "classes": row["classes_per_client"],
            "work": float(row["local_epochs"]),
        }
        if not math.isnan(row["head_accuracy"]):  # the dense head stage before the backbone's
            rounds = 50 if row["name"].startswith("Scen2") else 100
            text = f"{common}; head stage: {rounds} rounds, lr 3e-3, momentum 0.9"
            rows.append(_row("pirilli2025", "head", row["head_accuracy"], text, **args))
        full = math.isnan(row["sparsity"])
        text = f"{common}; {row['rounds']} rounds, lr 1e-4, momentum 0.9"
        if not full:
            text += ", a mask of each client's own"
            args |= {"sparsity": row["sparsity"], "rule": _LEAST}
            args["mask_rounds"] = row["calibration_rounds"]
        name = "full" if full else "head + sparse backbone"
        if row["name"].startswith("Scen2"):
            name, text = "head + sparse", f"{text}; which part is sparse is not stated"
        rows.append(_row("pirilli2025", name, row["accuracy"], text, **args))
    return rows


def pirilli_centralised() -> list[Row]:
    """Their Table 1."""
    return [
        _row(
            "pirilli2025",
            str(row["strategy"]).replace("_", " ").replace("+", " + "),
            row["test_accuracy"],
            f"{data_title(row['data'])}, DINO ViT-S/16 at 64 px, best TEST epoch reported, one "
            f"run; {row['epochs']} epochs, lr {row['lr']:g}, momentum {row['momentum']:g}",
            data=row["data"],
            where=", Table 1",
            setting="centralised",
            sparsity=row["sparsity"],
            rule=_LEAST,
            mask_rounds=row["calibration_rounds"],
        )
        for row in _read("pirilli2025_centralized")
    ]


def track_b() -> list[Row]:
    """The sister brief: LeNet-5 from scratch, and its skewed selection of clients."""
    rows = []
    for row in _read("aml_trackb_2025"):
        model = "LeNet-5 at 32 px, crop and flip"
        text = f"{data_title(row['data'])}, {model}, 200 epochs, cosine, lr 0.01, one run"
        args: Row = {"data": row["data"], "setting": "centralised", "unit": "steps"}
        if row["experiment"] != "centralized":
            args = {"data": row["data"], "unit": "steps", "gamma": row["gamma"]}
            text = f"{_federated(row)}, {model}, T x J = 8000 steps, last round, one run"
            args |= {"classes": row["classes_per_client"], "work": row["local_steps"]}
        if row["experiment"] == "selection":
            text += f"; clients drawn with probabilities from Dirichlet({row['gamma']:g})"
        rows.append(_row("dadone2025", "LeNet", row["test_accuracy"] / 100, text, **args))
    return rows


def hatem() -> list[Row]:
    """Full fine-tuning and mask overlaps; their sparsity is the fraction kept."""
    rows = []
    model = "ViT-S/16 at 224 px with supervised ImageNet weights, full fine-tuning, lr 0.03"
    for row in _read("hatem2025"):
        central = row["experiment"] == "centralized"
        text = (
            f"NOT comparable: validation accuracy; {data_title(row['data'])}, {model}"
            if central
            else "NOT comparable: their sharder gives a client only about 4 / 20 / 40 / 158 images "
            f"at N_c = 1 / 5 / 10 / 50; {_federated(row)}, {model}, one run"
        )
        overlap = row["metric"] == "jaccard"
        rows.append(
            _row(
                "hatem2025",
                "full",
                row["value"],
                text,
                data=row["data"],
                setting="centralised" if central else "federated",
                classes=row["classes_per_client"],
                work=row["local_epochs"],
                sparsity=1 - row["sparsity"],
                rule=str(row["method"]).replace("-", "_") if overlap else "",
                metric=row["metric"],
                comparable=False,
            )
        )
    return rows


def alcani() -> list[Row]:
    """Their Table I, and where it differs their own CSV too."""
    rows = []
    model = "DINO ViT-S/16 frozen + linear head"
    for row in _read("alcani2025"):
        classes, central = row["classes_per_client"], "centralized" in row["model"]
        sparse, swapped = "sparse" in row["model"], row["model"] == "fedavg"
        swapped = swapped and classes in _ALCANI_CSV
        text = (
            f"{data_title(row['data'])}, {model}, centralised, SGD, one run; epochs and schedule "
            "not stated"
            if central
            else f"{_federated(row)}, {model}, 20 rounds of 4 local epochs, SGD lr 0.01 momentum "
            "0.9, final test accuracy, one run"
        )
        text += "; mask made once on one batch" if sparse else ""
        text += "; 71.70 in their text" if sparse and not central and math.isnan(classes) else ""
        text += "; N_c = 1 and 5 swapped between their Table I and their CSV" if swapped else ""
        args: Row = {
            "data": row["data"],
            "setting": "centralised" if central else "federated",
            "classes": classes,
            "work": NAN if central else 4.0,
            **{"sparsity": row["sparsity"], "rule": _LEAST, "mask_rounds": 1.0},
        }
        name = "sparse head" if sparse else "head"
        first = {**args, "where": ", Table I" if swapped else ""}
        rows.append(_row("alcani2025", name, row["test_accuracy"] / 100, text, **first))
        if swapped:
            own = {**args, "where": ", their CSV"}
            rows.append(_row("alcani2025", name, _ALCANI_CSV[int(classes)], text, **own))
    return rows
