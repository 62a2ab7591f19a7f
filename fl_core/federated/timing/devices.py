"""How fast a client is, how well connected, how often it fails, and when it is there.

By the configuration: speeds are log-normal around `timing.speed` with `timing.speed_spread` as the
standard deviation of their logarithm, bandwidths and failure rate are the same for all. Or by a
table (`timing.table`), CSV with a header and a row a client:

    client,speed,down,up,failure_rate,window
    0,100,750000,250000,0.001,0.5

speed in examples/s, down and up in bytes/s, failure_rate in 1/s, window the share of a day; the
last two columns are optional. A client is there from the time of the day that is its own, drawn
once a run. All is drawn from streams that name the client, so that a client costs O(1), however
many there are.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from fl_core.base.rng import stream
from fl_core.config.fields import refuse
from fl_core.config.trial_config import TrialConfig

COLUMNS = ("client", "speed", "down", "up")
OPTIONAL = ("failure_rate", "window")


class Device(NamedTuple):
    """What a client computes and sends with."""

    speed: float  # examples/s
    down: float  # bytes/s
    up: float  # bytes/s
    failure_rate: float = 0.0  # 1/s
    window: float = 1.0  # share of a day that it is there
    phase: float = 0.0  # share of a day that its window has been open for at time 0

    def opens_in(self, time: float, day: float) -> float:
        """Seconds until it is there; 0 if it is."""
        if self.window == 1:
            return 0.0
        since = (time / day + self.phase) % 1  # share of a day since it came
        return 0.0 if since < self.window else (1 - since) * day

    def closes_in(self, time: float, day: float) -> float:
        """Seconds until it leaves, once it is there."""
        if self.window == 1:
            return math.inf
        since = (time / day + self.phase) % 1
        # rounding may show it as not there yet at the very moment of its coming
        return (self.window - (since if since < self.window else 0.0)) * day


Devices = Callable[[int], Device]


def devices_of(config: TrialConfig) -> Devices:
    """Each client's device. ConfigError for a table that is none, or lacks a client."""
    timing, seed = config.timing, config.seed
    if timing.has_table:
        rows = _table(timing.table, *_version(timing.table), config.federation.clients)
        return lambda client: rows[client]._replace(phase=_phase(seed, client))

    def device(client: int) -> Device:
        speed = timing.speed
        if timing.speed_spread:
            normal = stream(seed, "speeds", client).standard_normal()
            speed *= math.exp(timing.speed_spread * normal)
        phase = _phase(seed, client) if timing.window < 1 else 0.0
        return Device(speed, timing.down, timing.up, timing.failure_rate, timing.window, phase)

    return device


def may_fail(config: TrialConfig) -> bool:
    """Whether an update may not arrive, by the configuration or by its table."""
    if config.timing.fails or not config.timing.has_table:
        return config.timing.fails
    path = config.timing.table
    return _fails(path, *_version(path), config.federation.clients)


def _phase(seed: int, client: int) -> float:
    return float(stream(seed, "phases", client).random())


def _version(path: str) -> tuple[int, int]:
    """What tells that a file has changed since it was read."""
    try:
        found = Path(path).stat()
    except OSError as error:
        raise refuse("timing.table", path, f"cannot be read ({error.strerror})") from error
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4)
def _table(path: str, changed: int, size: int, clients: int) -> Mapping[int, Device]:
    """The rows of a file, by client."""
    rows: dict[int, Device] = {}
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:  # Excel's has a mark
            reader = csv.DictReader(file, strict=True, skipinitialspace=True)
            _check_columns(path, list(reader.fieldnames or ()))
            for line, row in enumerate(reader, start=2):
                client, device = _row(path, line, row)
                if client in rows:
                    raise refuse("timing.table", path, f"line {line}: client {client} again")
                rows[client] = device
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise refuse("timing.table", path, f"is no readable CSV ({error})") from error
    missing = [client for client in range(clients) if client not in rows]
    if missing:
        some = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise refuse("timing.table", path, f"has no row for {len(missing)} clients: {some}")
    return rows


@lru_cache(maxsize=4)
def _fails(path: str, changed: int, size: int, clients: int) -> bool:
    rows = _table(path, changed, size, clients).values()
    return any(row.failure_rate or row.window < 1 for row in rows)


def _check_columns(path: str, names: list[str]) -> None:
    for name in COLUMNS:
        if name not in names:
            raise refuse("timing.table", path, f"has no column {name}")
    for name in names:
        if name not in (*COLUMNS, *OPTIONAL) or names.count(name) > 1:
            allowed = f"must be {', '.join((*COLUMNS, *OPTIONAL))}, once each"
            raise refuse("timing.table", path, f"column {name!r}: {allowed}")


def _row(path: str, line: int, row: Mapping[str | None, str | None]) -> tuple[int, Device]:
    """One line's client and device, all numbers within their bounds."""
    if None in row:
        raise refuse("timing.table", path, f"line {line}: has more values than columns")
    found: dict[str, float] = {}
    for name, value in row.items():
        try:
            found[str(name)] = number = float(value or "")
        except (TypeError, ValueError):
            number = math.nan
        optional = name == "failure_rate" or name == "client"
        if not math.isfinite(number) or number < 0 or (number == 0 and not optional):
            least = "at least 0" if optional else "above 0"
            raise refuse(
                "timing.table", path, f"line {line}: {name}={value!r} must be a number {least}"
            )
    if found["client"] != int(found["client"]):
        raise refuse("timing.table", path, f"line {line}: client={row['client']!r} is no client")
    if found.get("window", 1) > 1:
        raise refuse("timing.table", path, f"line {line}: window={row['window']!r} is above 1")
    return int(found.pop("client")), Device(**found)
