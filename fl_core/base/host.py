"""What this process may use of the machine: cores and memory (standard library alone).

Containers and batch systems give a process less than the machine has: the affinity mask and the
control group are asked before the hardware.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # as malloc.h has them


def cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def core_quota(cgroup: Path = CGROUP) -> float | None:
    """Cores' worth of time that a container may spend, None for no limit."""
    words = _words(cgroup / "cpu.max")  # version 2: "<quota> <period>" or "max <period>"
    if len(words) != 2:
        words = _words(cgroup / "cpu/cpu.cfs_quota_us") + _words(cgroup / "cpu/cpu.cfs_period_us")
    with suppress(ValueError, ZeroDivisionError):  # "max", or no such files
        quota, period = map(float, words)
        return quota / period if quota > 0 else None
    return None


def available_memory(cgroup: Path = CGROUP, meminfo: Path = Path("/proc/meminfo")) -> int:
    """Bytes of RAM that processes can still take, here and within the container's limit."""
    free = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError, StopIteration):  # not Linux: all there is
        lines = meminfo.read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        free = int(line.split()[1]) * 1024
    for limit, used, stat, cache in (
        ("memory.max", "memory.current", "memory.stat", "inactive_file"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat",
         "total_inactive_file"),
    ):  # fmt: skip
        with suppress(ValueError, IndexError):  # "max", or no such files
            words = _words(cgroup / stat)
            pairs = dict(zip(words[::2], words[1::2], strict=False))
            # the kernel gives back cached files before it kills
            busy = int(_words(cgroup / used)[0]) - int(pairs.get(cache, "0"))
            free = min(free, max(0, int(_words(cgroup / limit)[0]) - busy))
    return free


def resident_memory() -> int:
    """Bytes of RAM that this process holds now (on Linux), else its peak."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return peak_resident_memory()


def peak_resident_memory() -> int:
    """Highest RAM use of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def readable(size: float) -> str:
    """A byte count for people: 5.1 GiB, 350 MiB."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _words(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text().split()
    return []


def keep_freed_memory() -> None:
    """Let glibc keep up to 64 MB that this process frees, instead of giving it back every round.

    What is given back comes again page by page, filled with zeros: a fifth of a linear head's round
    (tests/benchmarks/head_round.py). Blocks above 32 MB are given back as before. Nothing on other
    C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 32 << 20)  # setting the other one would freeze it at 128 kB
        mallopt(_TRIM_THRESHOLD, 64 << 20)
