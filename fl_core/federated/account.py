"""What a trial has cost so far: bytes by stage, seconds by purpose, steps, images, memory."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Mapping

import torch

from fl_core.config.trial_config import TrialConfig
from fl_core.federated.cost import Cost
from fl_core.federated.state import State
from fl_core.federated.timing.devices import may_fail


def account(config: TrialConfig, state: State, before: Mapping[str, Cost]) -> dict[str, float]:
    """Rounds, local steps, bytes, messages, seconds and memory so far.

    before: what the stages before the main one have cost, which the bytes in all include.
    """
    totals = dict(state.totals)
    if not may_fail(config):
        totals = {name: total for name, total in totals.items() if not name.endswith("_lost")}
    images, steps = totals.pop("images"), int(totals.pop("steps"))
    bytes_up = sum(cost.up for cost in before.values()) + totals["bytes_up_main"]
    bytes_down = sum(cost.down for cost in before.values()) + totals["bytes_down_main"]
    return {
        "round": state.round,
        "local_steps": steps,  # epochs where local.unit says so
        "local_steps_head": before.get("head", Cost()).steps,
        **{
            f"local_steps_{stage}": before[stage].steps
            for stage in ("superclients",)
            if stage in before
        },
        "bytes_up": bytes_up,
        "bytes_down": bytes_down,
        **{f"bytes_up_{stage}": cost.up for stage, cost in before.items()},
        **{f"bytes_down_{stage}": cost.down for stage, cost in before.items()},
        **totals,
        "images_per_second": images / max(totals["seconds_train"], 1e-9),
        "peak_memory_bytes": peak_memory_bytes(state.params.device),
    }


def steps_done(config: TrialConfig, state: State) -> int:
    """Local steps of a client that took part in every round so far, one after the other.

    A checkpoint that was written before they were summed lacks the sum: J was constant then.
    """
    return int(state.totals.get("steps", state.round * config.local.steps))


def peak_memory_bytes(device: torch.device) -> int:
    """Highest memory use of this process so far: on the GPU if one is used, else resident."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Clock:
    """Wall seconds by purpose, going on from a checkpoint's totals."""

    def __init__(self, totals: dict[str, float]) -> None:
        self.totals = dict(totals)
        self._last = time.perf_counter()

    def charge(self, purpose: str) -> None:
        """Book the time since the last call on `purpose`."""
        now = time.perf_counter()
        self.totals[purpose] += now - self._last
        self._last = now
