"""One trial: a generator of per-round results that knows no Ray and no MLflow.

    for record in run_trial(TrialConfig().override({"local.lr": 0.05}), Machine()):
        print(record["round"], record["val_accuracy"])

With a `folder` the trial is idempotent: after every evaluation its state and its curve so far go
into `<folder>/<digest>.safetensors`; run again, after a kill at any moment, it yields the
recorded curve first and goes on from there, to the same bits as without interruption.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from fl_core import stages
from fl_core.base.cache import DamagedArtefact, load_artefact, save_artefact
from fl_core.base.machine import Machine
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.evaluate import evaluate
from fl_core.federated.rounds import RoundResult, fedavg, spread
from fl_core.federated.work import ServerState, participants
from fl_core.masks.calibration import SERVER, Calibration
from fl_core.masks.overlap import overlap_table
from fl_core.masks.select import pack

Record = dict[str, Any]  # one evaluation: metric names to numbers, plus "done" and "diverged"


def run_trial(
    config: TrialConfig, machine: Machine, folder: Path | None = None
) -> Iterator[Record]:
    """Yield one record per evaluation, the last with `done=True`.

    Raises UserError for what the user can mend. A diverged run ends with `diverged=True` and
    without validation metrics; it is a result.
    """
    set_up_torch(machine)
    path = None if folder is None else trial_path(folder, config)
    records, state = _resume(path, machine.device)
    yield from records
    if records and records[-1]["done"]:
        return
    fed, start = stages.prepare(config, machine)
    for result in fedavg(config, fed, state or start):
        records.append({**result.metrics, "done": result.done, "diverged": result.diverged})
        if path is not None:
            _save(path, config, records, result)
        yield records[-1]


def test_metrics(
    config: TrialConfig, machine: Machine, folder: Path
) -> tuple[dict[str, float], dict[str, str]]:
    """Accuracy and loss of a finished trial on the TEST set, and its spread over clients; and
    every prediction, as a table (file name -> CSV) in the order of the test set.

    Only the jobs of `fl_core.study.search.confirm.confirm` may call this (contract 5).
    """
    _, state = _resume(trial_path(folder, config), machine.device)
    if state is None:
        raise ValueError(f"trial {config.digest()} has no stored parameters")
    params = state.params if state.best is None else state.best  # no best: no validation set
    model, source = stages.test_model(config, machine, params)
    result = evaluate(model, source, config.compute.precision, keep=True)
    fed, _ = stages.prepare(config, machine)
    clients = spread(result.client_accuracies(fed.class_counts))
    metrics = {"test_accuracy": result.accuracy, "test_loss": result.loss, **clients}
    return metrics, {"predictions.csv": result.predictions_csv()}


def mask_report(config: TrialConfig, machine: Machine) -> tuple[dict[str, float], dict[str, str]]:
    """What a trial's masks look like: metrics, and a table by layer (file name -> CSV).

    Nothing for dense trials. Of per-client masks those of the clients that took part.
    """
    if not config.mask.in_force:
        return {}, {}
    fed, _ = stages.prepare(config, machine)
    calibration = cast("Calibration", fed.masks)
    own = config.mask.scope == "per_client"
    parties = participants(config, config.rounds) if own else [SERVER]
    masks = [pack(calibration.mask(party)) for party in parties]
    rows = overlap_table(masks, fed.model.layout, calibration.allowed)
    overall = rows[-1]
    metrics = {
        "mask_active": float(overall["active_share"]) * float(overall["size"]),
        "mask_active_share": float(overall["active_share"]),
        "mask_added": sum(map(calibration.added, parties)) / len(parties),
    }
    if len(parties) > 1:
        names = ("jaccard", "expected", "excess", "expected_given_layers")
        metrics |= {f"mask_{name}": float(overall[name]) for name in names}
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return metrics, {"masks.csv": text.getvalue()}


def trial_path(folder: Path, config: TrialConfig) -> Path:
    """The file that holds a trial's curve and state."""
    return folder / f"{config.digest()}.safetensors"


def recorded_curve(folder: Path, config: TrialConfig) -> list[Record]:
    """The records of an earlier run of this trial, empty if there are none."""
    try:
        records: list[Record] = load_artefact(trial_path(folder, config), "none")[1]["records"]
    except DamagedArtefact:
        return []
    return records


def forget_state(path: Path) -> None:
    """Drop the parameters of a finished trial, keep its curve: disk use stays small."""
    _, meta = load_artefact(path, "none")
    save_artefact(path, {}, meta)


def set_up_torch(machine: Machine) -> None:
    """Thread count, and deterministic kernels on a GPU (contract 2)."""
    if machine.threads is not None:
        torch.set_num_threads(machine.threads)
    if machine.device.startswith("cuda"):
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def _save(path: Path, config: TrialConfig, records: list[Record], result: RoundResult) -> None:
    state = result.state
    optional = {"velocity": state.velocity, "best": state.best}
    tensors: dict[str, Tensor] = {"params": state.params}
    tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
    tensors |= {f"local/{client}": tensor for client, tensor in state.locals.items()}
    scalars = {
        "round": state.round,
        "best_accuracy": state.best_accuracy,
        "evaluations_since_best": state.evaluations_since_best,
        "totals": state.totals,
    }
    save_artefact(path, tensors, {"config": config.to_flat(), "records": records, "state": scalars})


def _resume(path: Path | None, device: str) -> tuple[list[Record], ServerState | None]:
    """The recorded curve and the state to go on from; nothing if there is none or it is damaged."""
    if path is None or not path.exists():
        return [], None
    try:
        tensors, meta = load_artefact(path)
    except DamagedArtefact:
        path.unlink()  # noticed, and computed again
        return [], None
    records: list[Record] = meta["records"]
    if "params" not in tensors:  # a curve without its state: useful if it is the whole curve
        return (records if records[-1]["done"] else []), None
    on_device = {name: tensor.to(device) for name, tensor in tensors.items()}
    own = [name for name in on_device if name.startswith("local/")]
    locals = {int(name.removeprefix("local/")): on_device.pop(name) for name in own}
    return records, ServerState(**on_device, locals=locals, **meta["state"])  # type: ignore[arg-type]
