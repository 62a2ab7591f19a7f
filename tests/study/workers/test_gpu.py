"""How many trials share a GPU: the arithmetic, the measuring (on a CPU), the workers' side."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fl_core.base.host import peak_resident_memory
from fl_core.base.machine import Machine
from fl_core.base.rng import stream
from fl_core.config.trial_config import TrialConfig
from fl_core.study.workers import gpu
from fl_core.study.workers.gpu import HEADROOM, MARGIN, Probe, explain, probe, share_of
from fl_core.study.workers.meters import CudaMeter, Reading, ResidentMeter, meter_of
from fl_core.trial import set_up_torch

GIB = 2**30
SMALL = TrialConfig().override({"federation.clients": 20, "local.batch_size": 8})
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

sizes = st.floats(1, 1e12)
cores = st.integers(1, 256)


# --- the arithmetic -------------------------------------------------------------------------------


@given(sizes, sizes, sizes, cores)
def test_a_gpu_is_never_overcommitted(peak: float, total: float, context: float, most: int) -> None:
    n = share_of(peak, total, context, most)
    assert 1 <= n <= most
    need, room = MARGIN * peak + context, (1 - HEADROOM) * total
    assert n == 1 or n * need <= room
    assert n == most or (n + 1) * need > room * (1 - 1e-12)  # and no share is given away


@given(sizes, sizes, sizes, cores, st.floats(1, 10))
def test_shares_are_monotone(
    peak: float, total: float, context: float, most: int, more: float
) -> None:
    n = share_of(peak, total, context, most)
    assert share_of(peak * more, total, context, most) <= n
    assert share_of(peak, total, context * more, most) <= n
    assert share_of(peak, total * more, context, most) >= n
    assert share_of(peak, total, context, most + 1) >= n


def test_shares_by_hand() -> None:
    assert share_of(5.1e9, 80e9, 0.6e9, most=8) == 8
    assert share_of(5.1e9, 80e9, 0.6e9, most=64) == 12  # 76 / (5.61 + 0.6)
    assert share_of(9.5, 100, 0, most=64) == 9
    assert share_of(60e9, 80e9, 0.6e9, most=8) == 1
    assert share_of(100e9, 80e9, 0.6e9, most=8) == 1  # does not even fit once: the user's affair


@pytest.mark.parametrize("peak", [0.0, -1.0, float("nan"), float("inf")])
def test_what_cannot_be_true_shares_nothing(peak: float) -> None:
    assert share_of(peak, 80e9, 0.6e9, most=8) == 1
    assert share_of(1e9, float("nan"), 0.6e9, most=8) == 1


def test_the_explanation() -> None:
    found = Probe(5.1 * GIB, 79 * GIB, 0.6 * GIB, 9.0, label="batch 128, full model")
    assert found.trials(8) == 8
    assert explain(found, 8) == (
        "largest configuration (batch 128, full model): peak 5.1 GiB + 614 MiB context of "
        "79.0 GiB: 12 fit, the cores allow 8: 8 trials at a time, 0.125 GPU each"
    )
    assert explain(found, 12).endswith("12 fit: 12 trials at a time, 0.0833 GPU each")
    failed = replace(found, reason="its process was killed")
    assert failed.trials(8) == 1
    assert explain(failed, 1) == (
        "largest configuration (batch 128, full model): not measured, its process was killed: "
        "1 trial at a time"
    )


# --- the measuring --------------------------------------------------------------------------------


def test_a_short_trial_takes_the_same_memory() -> None:
    full = {"fine_tune.strategy": "sparse_full", "mask.sparsity": 0.5, "mask.source": "union",
            "mask.rounds": 8, "local.unit": "epochs", "rounds": 500}  # fmt: skip
    config = TrialConfig().override(full)  # type: ignore[arg-type]
    short = gpu.shortened(config).to_flat()
    differs = {name for name, value in config.to_flat().items() if short[name] != value}
    assert differs == {"rounds", "eval_every", "local.steps", "local.unit", "mask.rounds",
                       "mask.source"}  # fmt: skip
    assert gpu.shortened(SMALL.override({"local.blend": "fisher"})).rounds == 2


def test_the_whole_way_on_a_cpu(tmp_path: Path) -> None:
    found = probe(SMALL, Machine(cache_dir=tmp_path))
    assert found.reason == ""
    assert 1e6 < found.peak_bytes < 4e9
    assert 5e7 < found.context_bytes < 4e9  # interpreter and libraries
    assert found.total_bytes > found.peak_bytes
    assert found.seconds > 0
    assert found.label == "batch 8, linear head, 2 clients at a time"
    assert found.trials(2) in (1, 2)
    assert list(tmp_path.iterdir()) == []


def script(tmp_path: Path, text: str) -> tuple[str, str]:
    path = tmp_path / "child.py"
    path.write_text(text)
    return sys.executable, str(path)


@pytest.mark.parametrize(
    ("child", "reason"),
    [
        ("import os; os.kill(os.getpid(), 9)", "was killed (signal 9; out of memory?)"),
        ("raise SystemExit('no driver')", "no driver"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("print('hello')", "exit code 0"),
        ("print('{\"peak\": 3}')", "exit code 0"),
        ("import time; time.sleep(60)", "longer than 2 s"),
    ],
)
def test_a_probe_that_fails_is_one_trial(tmp_path: Path, child: str, reason: str) -> None:
    found = probe(SMALL, Machine(), timeout=2, command=script(tmp_path, child))
    assert reason in found.reason
    assert found.trials(8) == 1


def test_a_probe_that_does_not_start(tmp_path: Path) -> None:
    assert "does not start" in probe(SMALL, Machine(), command=[str(tmp_path / "none")]).reason


def test_other_output_does_not_disturb(tmp_path: Path) -> None:
    answer = '{"peak_bytes": 1, "total_bytes": 100, "context_bytes": 2, "seconds": 0}'
    child = f"print('Downloading'); print('{answer}')"
    found = probe(SMALL, Machine(), command=script(tmp_path, child))
    assert (found.peak_bytes, found.total_bytes, found.context_bytes) == (1, 100, 2)


class Fixed:
    """A meter that always reads the same."""

    def start(self) -> None:
        self.started = True

    def read(self) -> Reading:
        assert self.started
        return Reading(10.0, 100.0, 1.0)


def failing(error: Exception) -> Any:
    def trial(config: TrialConfig, machine: Machine, folder: Path) -> Iterator[dict[str, Any]]:
        yield {"done": False}
        raise error

    return trial


def test_memory_that_does_not_suffice_is_a_clear_sentence(tmp_path: Path) -> None:
    machine = Machine(cache_dir=tmp_path)
    found = gpu.measure(SMALL, machine, Fixed(), failing(torch.OutOfMemoryError("CUDA")))
    assert "ran out of memory" in found.reason
    assert found.trials(8) == 1
    found = gpu.measure(SMALL, machine, Fixed(), failing(ValueError("shape\nlong story")))
    assert found.reason == "ValueError: shape"


def test_calibration_is_measured_features_are_not_made_again(tmp_path: Path) -> None:
    names = ["features-1", "head-2", "ridge-3", "mask-4", "fisher-5"]
    for name in names:
        (tmp_path / f"{name}.safetensors").write_text(name)
    seen: list[str] = []

    def trial(config: TrialConfig, machine: Machine, folder: Path) -> Iterator[dict[str, Any]]:
        assert machine.cache_dir != tmp_path
        seen.extend(path.stem for path in machine.cache_dir.iterdir())
        (machine.cache_dir / "mask-6.safetensors").write_text("new")
        yield {}

    found = gpu.measure(SMALL, Machine(cache_dir=tmp_path), Fixed(), trial)
    assert found.reason == ""
    assert (found.peak_bytes, found.total_bytes, found.context_bytes) == (10.0, 100.0, 1.0)
    assert sorted(seen) == sorted(names[:3])
    assert sorted(path.stem for path in tmp_path.iterdir()) == sorted(names)


def test_what_blending_keeps_is_added(tmp_path: Path) -> None:
    config = gpu.shortened(
        SMALL.override({"local.blend": "fisher", "mask.examples": 16, "mask.batch_size": 16})
    )
    found = gpu.measure(config, Machine(cache_dir=tmp_path), Fixed())
    assert found.reason == ""
    assert found.peak_bytes == 10 + 4 * 20 * (192 * 100 + 100)


def test_the_resident_meter() -> None:
    meter = meter_of("cpu")
    assert isinstance(meter, ResidentMeter)
    meter.start()
    beyond = peak_resident_memory() - int(meter.base) + 10**8
    held = torch.ones(beyond, dtype=torch.uint8)
    reading = meter.read()
    assert reading.peak > 0.5 * len(held)
    assert reading.context == meter.base > 0
    assert reading.total > 0


# --- in a worker ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        torch.cuda.OutOfMemoryError(),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to"),
        RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to"),
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
)
def test_errors_of_memory_are_known(error: BaseException) -> None:
    assert gpu.is_out_of_memory(error)
    wrapped = ValueError("the trial failed")
    wrapped.__cause__ = error
    assert gpu.is_out_of_memory(wrapped)


def test_other_errors_are_not() -> None:
    for error in (RuntimeError("CUDA error: an illegal memory access"), KeyError("memory"),
                  ValueError("out of memory"), OSError(errno.ENOSPC, "full")):  # fmt: skip
        assert not gpu.is_out_of_memory(error)
    ring = ValueError("a")
    ring.__cause__ = ring
    assert not gpu.is_out_of_memory(ring)


def test_the_cpus_own_error_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert gpu.is_out_of_memory(caught.value)


def test_nothing_to_limit_or_release_on_a_cpu() -> None:
    gpu.limit_process_memory(0.25, "cpu")
    gpu.release("cpu")
    for fraction in (0.0, 1.5):
        with pytest.raises(ValueError, match="fraction"):
            gpu.limit_process_memory(fraction, "cpu")


@pytest.mark.parametrize(("device", "number"), [("cuda", 0), ("cuda:0", 0), ("cuda:3", 3)])
def test_a_limit_names_its_gpu(device: str, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch refuses a device without a number there, which "cuda" is."""
    seen: list[tuple[float, object]] = []
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *given: seen.append(given)
    )
    gpu.limit_process_memory(0.5, device)
    assert seen == [(0.5, number)]


@cuda
def test_a_limit_holds_and_memory_is_given_back() -> None:
    total = torch.cuda.mem_get_info()[1]
    before = torch.cuda.memory_allocated("cuda")
    gpu.limit_process_memory(0.1, "cuda")
    try:
        with pytest.raises(torch.OutOfMemoryError) as caught:
            torch.empty(int(0.2 * total), dtype=torch.uint8, device="cuda")
        assert gpu.is_out_of_memory(caught.value)
        held = torch.empty(2**28, dtype=torch.uint8, device="cuda")
        assert torch.cuda.memory_allocated("cuda") >= before + 2**28
        del held
        gpu.release("cuda")
        assert torch.cuda.memory_allocated("cuda") == before
    finally:
        gpu.limit_process_memory(1.0, "cuda")


@cuda
def test_the_cuda_meter() -> None:
    meter = meter_of("cuda")
    assert isinstance(meter, CudaMeter)
    meter.start()
    held = torch.empty(2**30, dtype=torch.uint8, device="cuda")
    del held
    reading = meter.read()
    assert reading.peak >= 2**30
    assert 2**26 < reading.context < 4 * 2**30
    assert reading.total <= torch.cuda.mem_get_info()[1]


@cuda
def test_the_whole_way_on_a_gpu(tmp_path: Path) -> None:
    found = probe(SMALL, Machine("cuda", cache_dir=tmp_path))
    assert found.reason == ""
    assert found.trials(64) > 1


def test_deterministic_kernels_are_demanded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for with `warn_only`, attention of many tokens takes one that adds in any order."""
    seen: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        torch, "use_deterministic_algorithms", lambda *given, **more: seen.append((*given, more))
    )
    set_up_torch(Machine("cuda"))
    assert seen == [(True, {})]


@cuda
def test_attention_of_many_tokens_gives_the_same_bits_again() -> None:
    set_up_torch(Machine("cuda"))
    rows = torch.from_numpy(stream(0, "attention").standard_normal((3, 16, 3, 197, 64), "float32"))
    query, key, value = rows.cuda().requires_grad_()
    found = []
    for _ in range(2):
        out = torch.nn.functional.scaled_dot_product_attention(query, key, value)
        found.append(torch.autograd.grad(out.square().sum(), (query, key, value)))
    assert all(torch.equal(one, again) for one, again in zip(*found, strict=True))
