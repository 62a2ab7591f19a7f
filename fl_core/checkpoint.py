"""A trial's file: its curve so far, and the state to go on from.

`<folder>/<digest>.safetensors`, and beside it, in a folder of the same name, what its clients keep.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fl_core.base.cache import DamagedArtefact, load_artefact, save_artefact
from fl_core.config.record import Record
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.memory import ClientMemory
from fl_core.federated.selections.uniform import uniform_sample
from fl_core.federated.state import State


def trial_path(folder: Path, config: TrialConfig) -> Path:
    """The file that holds a trial's curve and state."""
    return folder / f"{config.digest()}.safetensors"


def clients_path(path: Path) -> Path:
    """The folder beside a trial's file that holds what its clients keep."""
    return path.with_suffix(".clients")


def save_trial(
    path: Path,
    config: TrialConfig,
    records: list[Record],
    state: State,
    test_curve: list[list[float]],
) -> None:
    """After an evaluation: all records so far, the state, a `tested` trial's test curve."""
    tensors, values = state.to_tensors()
    meta = {"config": config.to_flat(), "records": records, "state": values}
    save_artefact(path, tensors, {**meta, **({"test_curve": test_curve} if test_curve else {})})
    state.clients.forget_older()


def resume_trial(path: Path | None, device: str) -> tuple[list[Record], State | None]:
    """The recorded curve and the state to go on from; nothing if there is none or it is damaged."""
    if path is None or not path.exists():
        return [], None
    try:
        tensors, meta = load_artefact(path)
        records: list[Record] = meta["records"]
        if "params" not in tensors:  # a curve without its state: useful if it is the whole curve
            return (records if records[-1]["done"] else []), None
        # no round comes any more: what clients keep is needed only where they judge
        judges = meta["config"].get("personal.rule", "none") != "none"
        clients = clients_path(path) if judges or not records[-1]["done"] else None
        return records, State.from_tensors(tensors, _counted(meta), clients, device)
    except DamagedArtefact:
        drop_trial(path)  # noticed, and computed again
        return [], None


def _counted(meta: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a state. A checkpoint that was written before there was a virtual clock lacks
    the time to go on from. One that was written before selections were counted lacks the counts: a
    uniform selection is drawn again, another is not known.
    """
    values: dict[str, Any] = meta["state"]
    if "virtual_seconds" not in values["totals"] and not meta["records"][-1]["done"]:
        raise DamagedArtefact("it does not say how much virtual time has passed")
    if "selected" in values:
        return values
    config = TrialConfig.from_flat(meta["config"])
    if config.select.rule != "uniform":
        raise DamagedArtefact("it does not say how often each client was selected")
    rounds = (uniform_sample(config, round) for round in range(values["round"]))
    counts = Counter(client for chosen in rounds for client in chosen.tolist())
    return {**values, "selected": list(counts.items())}


def recorded_curve(folder: Path, config: TrialConfig) -> list[Record]:
    """The records of an earlier run of this trial, empty if there are none."""
    try:
        records: list[Record] = load_artefact(trial_path(folder, config), "none")[1]["records"]
    except DamagedArtefact:
        return []
    return records


def stored_test_curve(path: Path | None) -> list[list[float]]:
    """The rows of the test curve so far, empty if there are none."""
    if path is None or not path.exists():
        return []
    curve: list[list[float]] = load_artefact(path, "none")[1].get("test_curve", [])
    return curve


def forget_state(path: Path) -> None:
    """Drop the parameters of a finished trial, keep its curve: disk use stays small."""
    _, meta = load_artefact(path, "none")
    save_artefact(path, {}, meta)
    forget_clients(path)


def forget_clients(path: Path) -> None:
    """Drop what a trial's clients keep."""
    ClientMemory.remove(clients_path(path))


def drop_trial(path: Path) -> None:
    """Drop a trial's curve and state."""
    path.unlink(missing_ok=True)
    forget_clients(path)
