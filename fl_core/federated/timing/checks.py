"""What can be said of a clock before the first round: a table that fits, a round that can end."""

from __future__ import annotations

import math

from fl_core.config.fields import refuse
from fl_core.config.timing_combinations import check_failing
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.aggregates.table import upload_of
from fl_core.federated.messages import HEADER, length_of
from fl_core.federated.run import Run
from fl_core.federated.state import Federation
from fl_core.federated.timing.devices import devices_of, may_fail
from fl_core.federated.timing.fates import Errand
from fl_core.federated.turns import examples_of


def check_devices(config: TrialConfig) -> None:
    """ConfigError for a table that cannot be read, lacks a client, or lets clients fail where they
    must not.
    """
    if config.timing.has_table and may_fail(config) and not config.timing.fails:
        check_failing(config, "timing.table")
    if config.timing.has_table and config.timing.mode == "buffered":
        devices = devices_of(config)
        if any(devices(client).window < 1 for client in range(config.federation.clients)):
            why = "has windows, in which a round waits: not with timing.mode=buffered"
            raise refuse("timing.table", config.timing.table, why)


def check_reachable(config: TrialConfig, fed: Federation) -> None:
    """ConfigError where no client has the time for a turn, before the deadline or its leaving.

    A turn's least: its examples, the model in full at the first download, and an upload; under a
    mask, of which nothing is known here, messages of nothing.
    """
    if config.timing.deadline is None and not may_fail(config):
        return
    run, devices = Run.of(config, fed), devices_of(config)
    size = fed.model.layout.size - (0 if run.part is None else int(run.part.sum()))
    down = up = HEADER
    if not config.mask.in_force:
        down, encoded = length_of(size, 0, "dense"), upload_of(config)
        up = down if encoded is None else encoded(size)
    deadline = config.timing.limit
    least = math.inf
    for client in range(config.federation.clients):
        device = devices(client)
        seconds = Errand(down, examples_of(run, client), up).seconds(device)
        stays = math.inf if device.window == 1 else device.window * config.timing.day
        if seconds <= min(deadline, stays):
            return
        least = min(least, seconds)
    named = ("deadline", "window") if least > deadline else ("window", "deadline")
    name = next(n for n in named if n == "window" or config.timing.deadline is not None)
    why = f"nobody has the time: a round of the fastest client takes {least:.4g} s or more"
    raise refuse(f"timing.{name}", getattr(config.timing, name), why)
