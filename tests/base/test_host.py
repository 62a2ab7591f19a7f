"""Cores and memory, as containers limit them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from fl_core.base import host


def write(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"cpu_DOT_max": "max 100000"}, None),
        ({"cpu_DOT_max": "150000 100000"}, 1.5),
        ({"cpu__cpu.cfs_quota_us": "-1", "cpu__cpu.cfs_period_us": "100000"}, None),
        ({"cpu__cpu.cfs_quota_us": "400000", "cpu__cpu.cfs_period_us": "100000"}, 4.0),
        ({"cpu_DOT_max": "nonsense 0"}, None),
    ],
)
def test_the_quota_of_a_container(tmp_path: Path, files: dict[str, str], cores: float) -> None:
    assert host.core_quota(write(tmp_path, **files)) == cores


def test_memory_is_what_machine_and_container_leave(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 9000 kB\nMemAvailable:    8000 kB\n")
    assert host.available_memory(tmp_path / "none", meminfo) == 8000 * 1024
    group = write(tmp_path / "g", memory_DOT_max="5000000", memory_DOT_current="3000000")
    assert host.available_memory(group, meminfo) == 2_000_000
    write(group, memory_DOT_stat="anon 2000000\ninactive_file 1000000\n")
    assert host.available_memory(group, meminfo) == 3_000_000  # cached files are given back
    write(group, memory_DOT_max="max")
    assert host.available_memory(group, meminfo) == 8000 * 1024
    write(group, memory_DOT_max="10", memory_DOT_current="3000000")
    assert host.available_memory(group, meminfo) == 0


def test_this_machine() -> None:
    assert host.cores() >= 1
    assert host.available_memory() > 0
    assert host.available_memory(meminfo=Path("/nowhere")) > 0
    assert 0 < host.resident_memory() <= host.peak_resident_memory() * 1.05


def test_the_peak_sees_what_was_given_back() -> None:
    before = host.peak_resident_memory()
    beyond = before - host.resident_memory() + 10**8
    held = np.ones(beyond, dtype=np.uint8)
    del held
    assert host.peak_resident_memory() > before + 5e7


def test_sizes_for_people() -> None:
    assert host.readable(5.1 * 2**30) == "5.1 GiB"
    assert host.readable(350 * 2**20) == "350 MiB"


def test_keeping_freed_memory_may_be_asked_for_again() -> None:
    """It changes no result; where the C library cannot do it, nothing happens."""
    host.keep_freed_memory()
    host.keep_freed_memory()
    assert float(torch.ones(1 << 20).sum()) == 1 << 20
