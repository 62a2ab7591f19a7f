"""Measuring the memory of this process: on a GPU, or resident."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch

from fl_core.base.host import available_memory, peak_resident_memory, resident_memory

CONTEXT_LIMIT = 2**30  # no context is larger: what is used beyond it belongs to other processes


class Reading(NamedTuple):
    """Bytes since the start of a meter."""

    peak: float
    total: float  # that processes like this one may take together
    context: float  # what each takes before it computes anything


class Meter(Protocol):
    """Measures the memory of this process."""

    def start(self) -> None:
        """Everything is imported, nothing of the trial is there yet."""

    def read(self) -> Reading:
        """What was taken since then."""
        ...


def meter_of(device: str) -> Meter:
    """The one for this device."""
    return CudaMeter(device) if device.startswith("cuda") else ResidentMeter()


class CudaMeter:
    """What the caching allocator reserved at most, and what the CUDA context takes on top.

    The driver tells what all processes use together. Of what is used when the context is made, up
    to CONTEXT_LIMIT counts as the context; it grows as kernels are loaded.
    """

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def start(self) -> None:
        """Make the context."""
        torch.zeros(1, device=self.device)
        self.free, self.all = torch.cuda.mem_get_info(self.device)
        torch.cuda.reset_peak_memory_stats(self.device)

    def read(self) -> Reading:
        """`total`: what was free at the start, without this process' own context."""
        torch.cuda.synchronize(self.device)
        free, _ = torch.cuda.mem_get_info(self.device)
        grown = self.free - free - torch.cuda.memory_reserved(self.device)
        context = min(self.all - self.free, CONTEXT_LIMIT) + max(0, grown)
        return Reading(torch.cuda.max_memory_reserved(self.device), self.free, context)


class ResidentMeter:
    """RAM: the same path without a GPU."""

    def start(self) -> None:
        """Interpreter and libraries are the context."""
        self.base = resident_memory()
        self.free = available_memory()

    def read(self) -> Reading:
        """The peak of the whole life of this process: nothing before `start` may exceed it."""
        peak = max(0, peak_resident_memory() - self.base)
        return Reading(peak, self.free, self.base)
