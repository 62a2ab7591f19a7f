"""How many trials share a GPU, and what a worker does to keep to its share.

`--gpus-per-trial auto` measures the largest configuration of the study (largest.py) for a few
local steps in a process of its own, whose memory is surely given back, and divides:

    n = floor( (1 - HEADROOM) * total / (MARGIN * peak + context) ),   1 <= n <= cores

peak: what the allocator reserved at most; context: what the CUDA driver and its libraries take for
every process on top. `python -m` this module is that process: JSON in, JSON out; without a GPU
it reports the peak of its resident memory.
"""

from __future__ import annotations

import errno
import gc
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from fl_core.base.cache import load_artefact
from fl_core.base.errors import kind_and_line
from fl_core.base.host import readable
from fl_core.base.locations import is_local
from fl_core.base.machine import Machine
from fl_core.checkpoint import trial_path
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.federated.memory import LIMIT
from fl_core.federated.rules.table import rule_of
from fl_core.head_stage import CLOSED_FORMS
from fl_core.study.environment import KERNELS
from fl_core.study.workers.largest import describe
from fl_core.study.workers.meters import Meter, meter_of
from fl_core.trial import run_trial

MARGIN = 1.1  # other batches, other fragmentation
HEADROOM = 0.05  # of the GPU: what nobody asked for
PROBE_STEPS = 3  # the velocity is there from the second one
PROBE_SECONDS = 600.0
#: Stages that a study's checks made already; masks are not among them: calibrating is measured.
SHARED_STAGES = ("features-*", "head-*", *(f"{name}-*" for name in CLOSED_FORMS))


@dataclass(frozen=True)
class Probe:
    """What the largest configuration needs, in bytes."""

    peak_bytes: float  # without the context
    total_bytes: float  # that all trials together may take
    context_bytes: float  # of each process
    seconds: float
    reason: str = ""  # why it could not be measured; then one trial has the GPU to itself
    label: str = ""  # the configuration, in words

    def trials(self, most: int) -> int:
        """Trials at a time on one GPU, `most` at most (one a core)."""
        if self.reason:
            return 1
        return share_of(self.peak_bytes, self.total_bytes, self.context_bytes, most)


def share_of(peak_bytes: float, total_bytes: float, context_bytes: float, most: int) -> int:
    """The largest n with n * (MARGIN * peak + context) <= (1 - HEADROOM) * total, 1 <= n <= most.

    Each trial then gets the fraction 1/n. What cannot be true (a peak of zero) shares nothing.

    >>> share_of(5.1e9, 80e9, 0.6e9, most=8), share_of(5.1e9, 80e9, 0.6e9, most=64)
    (8, 12)
    """
    need = MARGIN * peak_bytes + max(context_bytes, 0.0)
    room = (1 - HEADROOM) * total_bytes
    if not (peak_bytes > 0 and math.isfinite(need) and math.isfinite(room)):
        return 1
    n = max(1, int(min(room / need, most)))
    return n - 1 if n > 1 and n * need > room else n  # the division was rounded up


def probe(
    config: TrialConfig,
    machine: Machine,
    *,
    timeout: float = PROBE_SECONDS,
    command: Sequence[str] = (sys.executable, "-m", "fl_core.study.workers.gpu"),
) -> Probe:
    """Run a short version of `config` in another process. Never raises: see `Probe.reason`."""
    where = {n: str(v) if isinstance(v, Path) else v for n, v in asdict(machine).items()}
    question = {"config": shortened(config).to_flat(), "machine": where}
    started, label = time.monotonic(), describe(config, machine.device)

    def failed(reason: str) -> Probe:
        return Probe(0.0, 0.0, 0.0, time.monotonic() - started, reason, label)

    try:
        done = subprocess.run(
            command,
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=timeout,
            env={**KERNELS, **os.environ},
        )
    except subprocess.TimeoutExpired:
        return failed(f"it took longer than {timeout:.0f} s")
    except OSError as error:
        return failed(f"its process does not start ({error.strerror})")
    if done.returncode < 0:
        return failed(f"its process was killed (signal {-done.returncode}; out of memory?)")
    try:
        answer = Probe(**json.loads(done.stdout.strip().splitlines()[-1]))
    except (ValueError, TypeError, IndexError):
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        return failed(said[-1][:200])
    return replace(answer, seconds=time.monotonic() - started, label=label)


def shortened(config: TrialConfig) -> TrialConfig:
    """The same memory in a few seconds: one round of few steps, one round of calibration."""
    rounds = 2 if _clients_keep(config) else 1  # what clients keep is there in the second
    short: dict[str, Value] = {
        "rounds": rounds,
        "eval_every": rounds,
        "local.steps": PROBE_STEPS,
        "local.unit": "steps",
        "mask.rounds": 1,
        "mask.source": "server",
    }
    return config.override(short)


def _clients_keep(config: TrialConfig) -> bool:
    """Whether clients carry tensors of their own from round to round."""
    return rule_of(config.local).finish is not None


def measure(
    config: TrialConfig,
    machine: Machine,
    meter: Meter,
    trial: Callable[[TrialConfig, Machine, Path], Iterator[Any]] = run_trial,
) -> Probe:
    """Run the trial in this process under the meter, on a cache of its own."""
    started, reason, kept = time.monotonic(), "", 0.0
    with tempfile.TemporaryDirectory(prefix="fl-probe-") as scratch:
        own = replace(machine, cache_dir=Path(scratch))
        for pattern in SHARED_STAGES if is_local(machine.cache_dir) else ():
            for path in machine.cache_dir.resolve().glob(f"{pattern}.safetensors"):
                (own.cache_dir / path.name).symlink_to(path)
        meter.start()
        try:
            for _ in trial(config, own, own.cache_dir):
                pass
            if _clients_keep(config):  # in time all of them, as far as memory is given to it
                params = load_artefact(trial_path(own.cache_dir, config), "params")[0]["params"]
                kept = min(4.0 * config.federation.clients * params.numel(), LIMIT)
        except Exception as error:  # the study runs all the same, one trial a GPU
            reason = kind_and_line(error)
            if is_out_of_memory(error):
                reason = "it ran out of memory although it had the device to itself"
        peak, total, context = meter.read()
    return Probe(peak + kept, total, context, time.monotonic() - started, reason)


def explain(found: Probe, n: int) -> str:
    """Why n trials share a GPU, for the user."""
    share = "1 trial at a time" if n == 1 else f"{n} trials at a time, {1 / n:.3g} GPU each"
    if found.reason:
        return f"largest configuration ({found.label}): not measured, {found.reason}: {share}"
    peak, context = readable(found.peak_bytes), readable(found.context_bytes)
    fit = found.trials(sys.maxsize)
    text = f"largest configuration ({found.label}): peak {peak} + {context} context"
    text += f" of {readable(found.total_bytes)}: {fit} fit"
    return f"{text}, the cores allow {n}: {share}" if n < fit else f"{text}: {share}"


# --- in a worker ----------------------------------------------------------------------------------


def limit_process_memory(fraction: float, device: str) -> None:
    """Let this process' allocator take no more than `fraction` of the GPU; nothing on a CPU.

    Beyond it torch raises OutOfMemoryError HERE, rather than in whichever trial asks next.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction {fraction} of a GPU: must be in (0, 1]")
    if device.startswith("cuda"):
        index = torch.device(device).index or 0  # torch wants a number here, "cuda" has none
        torch.cuda.set_per_process_memory_fraction(fraction, index)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this error, or one that caused it, says that memory was short."""
    words = (
        "out of memory",
        "alloc_failed",
        "not enough memory",
        "can't allocate memory",
        "cannot allocate memory",
    )
    seen: BaseException | None = error
    for _ in range(10):  # a chain may be a ring
        if seen is None:
            return False
        if isinstance(seen, (MemoryError, torch.OutOfMemoryError)):
            return True
        if isinstance(seen, OSError) and seen.errno == errno.ENOMEM:
            return True
        if isinstance(seen, RuntimeError) and any(w in str(seen).lower() for w in words):
            return True
        seen = seen.__cause__
    return False


def release(device: str) -> None:
    """Give memory that nothing refers to any more back to the GPU.

    On a CPU it went back when the last reference did, and looking for cycles among all that torch
    and Ray have imported takes 0.25 s: a fifth of a short trial.
    """
    if device.startswith("cuda"):
        gc.collect()
        torch.cuda.empty_cache()


def main() -> None:
    """Answer one question from stdin; the answer is the last line of stdout."""
    question = json.load(sys.stdin)
    config = TrialConfig.from_flat(question["config"])
    folders = ("data_dir", "cache_dir", "weights_file")
    where = question["machine"]
    machine = Machine(**{**where, **{n: where[n] and Path(where[n]) for n in folders}})
    print(json.dumps(asdict(measure(config, machine, meter_of(machine.device)))))


if __name__ == "__main__":
    main()
