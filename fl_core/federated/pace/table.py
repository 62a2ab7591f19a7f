"""The schedules of the clients' work by name, and how a round follows them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.pace.adacomm import ADACOMM
from fl_core.federated.pace.noise_scale import NOISE_SCALE, noise_scale
from fl_core.federated.pace.pace import Memory, Pace
from fl_core.federated.pace.post_local import POST_LOCAL
from fl_core.federated.run import Run
from fl_core.federated.server import named
from fl_core.federated.state import State
from fl_core.federated.update import Measured

#: Values of `schedule.steps` and of `schedule.batch`; None: as the section `local` says.
STEPS: Mapping[str, Pace | None] = {
    "constant": None, "adacomm": ADACOMM, "post_local": POST_LOCAL,
}  # fmt: skip
BATCHES: Mapping[str, Pace | None] = {"constant": None, "noise_scale": NOISE_SCALE}
MEMORY = "schedule/"  # names of what the server remembers for them, float64 () each


def paces(config: TrialConfig) -> dict[str, Pace]:
    """Those that can change anything: of "steps" and "batch"."""
    local, schedule = config.local, config.schedule
    found = {  # a switch at the start is none
        "steps": STEPS[schedule.steps] if local.steps > 1 and schedule.switch else None,
        "batch": BATCHES[schedule.batch] if schedule.batch_most > local.batch_size else None,
    }
    return {name: pace for name, pace in found.items() if pace is not None}


def paced(run: Run, state: State) -> Run:
    """The run with what its clients do in the coming round."""
    memory = _memory(state)
    found = paces(run.config)
    now = {name: pace.now(run.config, memory, state.round) for name, pace in found.items()}
    return run._replace(steps=now.get("steps"), batch=now.get("batch"))


def numbers_told(config: TrialConfig) -> int:
    """How many numbers a client is sent beside the parameters of a round."""
    return sum(pace.told for pace in paces(config).values())


def adapted(run: Run, state: State, measured: Measured) -> State:
    """The state after a round, with what the schedules remember of it."""
    found, memory = paces(run.config), _memory(state)
    if not found or not measured.traffic:
        return state
    told: dict[str, float] = {}
    for pace in found.values():
        told |= pace.after(run.config, memory, state.round, measured)
    kept = {MEMORY + name: torch.tensor(value, dtype=torch.float64) for name, value in told.items()}
    return replace(state, server={**state.server, **kept})


def pace_row(run: Run, state: State) -> dict[str, float]:
    """Metrics of a round, where the work changes: of the run as it was `paced`, the state after."""
    found = paces(run.config)
    now = {"steps": run.local.steps, "batch": run.local.batch_size}
    row: dict[str, float] = {pace.shown: now[name] for name, pace in found.items()}
    scale = noise_scale(_memory(state))
    return {**row, "noise_scale": scale} if "batch" in found and math.isfinite(scale) else row


def _memory(state: State) -> Memory:
    return {name: float(tensor) for name, tensor in named(state.server, MEMORY).items()}
