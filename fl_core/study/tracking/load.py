"""The load of the study's machine while it runs, as MLflow system metrics.

MLflow's monitors sample; how often, and what becomes of it, is ours: the loop that MLflow puts
around them reads the run again for every sample, ends at the first error and writes past our queue.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

INTERVAL = 10.0  # seconds between samples
POINTS = 200  # then each point averages twice as many samples as before


class MachineLoad:
    """Samples in a daemon thread; `publish` gets the mean of each metric and the seconds since
    `start` (of the study's first run, in seconds since the epoch), so that a resumed study goes on.
    """

    def __init__(
        self,
        publish: Callable[[Mapping[str, float], int], object],
        start: float,
        interval: float = INTERVAL,
    ) -> None:
        self._publish, self._start, self._interval = publish, start, interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="machine-load", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more samples."""
        self._stopped.set()

    def _watch(self) -> None:
        parts, points, samples = _monitors(), 0, 1
        while parts:
            for _ in range(samples):
                parts = [part for part in parts if _works(part.collect_metrics)]
                if self._stopped.wait(self._interval):
                    return
            means = {
                f"system/{n}": float(v) for p in parts for n, v in p.aggregate_metrics().items()
            }
            for part in parts:
                part.clear_metrics()
            self._publish(means, int(time.time() - self._start))
            points += 1
            if points % POINTS == 0:
                samples *= 2


def _works(sample: Callable[[], object]) -> bool:
    """Whether a sample was taken: a driver that fails ends its curves, and nothing else."""
    try:
        sample()
    except Exception:  # psutil, NVML and ROCm each raise their own
        return False
    return True


def _monitors() -> list[Any]:
    """CPU and memory; each GPU's load, memory and power, where there are any."""
    from importlib import import_module

    found = []
    for kind in ("CPU", "GPU", "ROCM"):
        # psutil, pynvml or the hardware may be missing: then there is no such curve
        with suppress(Exception):
            module = import_module(f"mlflow.system_metrics.metrics.{kind.lower()}_monitor")
            found.append(getattr(module, f"{kind}Monitor")())
    return found
