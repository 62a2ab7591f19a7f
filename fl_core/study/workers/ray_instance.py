"""Ray for the time of a study: started here or joined, and watched while jobs run."""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._raylet import Config  # type: ignore[attr-defined]

from fl_core.base.addresses import answers, check_ray_address, split
from fl_core.base.errors import UserError
from fl_core.study import stopping
from fl_core.study.environment import KERNELS
from fl_core.study.workers.dispatch import Conductor
from fl_core.study.workers.scratch import base_of_ray, private_folder

TOKEN = " (a cluster that has a token wants it here, too: RAY_AUTH_MODE=token, RAY_AUTH_TOKEN)"
HALF_STARTED = 15  # seconds that a study which is asked to end waits for Ray to have started
SILENCE = 20  # seconds without an answer, after which a cluster's head is given up


@dataclass(frozen=True)
class Instance:
    """Ray, perhaps still on its way. logs: the folder of a local one's.

    ready: waits until it is there; UserError where it does not start.
    """

    logs: Path | None
    ready: Callable[[], None]


@contextmanager
def ray_session(address: str | None = None, cpus: int | None = None) -> Iterator[Instance]:
    """A local Ray instance for the time of a study (or a connection to a cluster's).

    A local one starts meanwhile, which takes some seconds, most of them in other processes. A
    cluster has answered: it may refuse who comes.
    """
    logs = None
    options: dict[str, Any] = {"address": address or "local", "logging_level": "ERROR"}
    with ExitStack() as stack:
        if address is None:
            folder = stack.enter_context(private_folder(base_of_ray()))
            inside = folder / "r"  # Ray opens its own to all users
            options |= {"num_cpus": cpus, "include_dashboard": False, "_temp_dir": str(inside)}
            logs = inside / "session_latest" / "logs"
        else:
            check_ray_address(address)
            # the cluster's processes inherit nothing from this one
            variables = {name: os.environ.get(name, value) for name, value in KERNELS.items()}
            options["runtime_env"] = {"env_vars": variables}
        # read when Ray was imported, which whoever holds this process (a notebook) may have done
        # before the study's variables were set: whether a token is asked for is one of them
        Config.initialize("")
        # not in the main thread, where it would take SIGTERM for itself, and what a signal raises
        # while a process is forked is lost; the kernel ends Ray's processes with this thread
        start = partial(ray.init, log_to_driver=False, configure_logging=True, **options)
        thread = stack.enter_context(ThreadPoolExecutor(1))
        with nullcontext() if address is None else _without_stderr():
            started = thread.submit(start)
            stack.callback(_end, started)
            instance = Instance(logs, partial(_wait, started, address))
            if address is not None:
                instance.ready()
        yield instance


def _wait(started: Future[Any], address: str | None) -> None:
    try:
        started.result()
    except Exception as error:  # Ray raises bare ones, too, when a busy machine is slow
        what = f"--ray-address {address}{TOKEN}" if address else "Ray does not start"
        raise UserError(f"{what}: {' '.join(str(error).split())[:300]}") from error


def _end(started: Future[Any]) -> None:
    """Also of an instance that has not started yet: what is half there cannot be shut down.

    Who asks a whole group of processes to end has ended parts of Ray, for which its start waits a
    minute and more: then this process ends at once, and with it what is left of Ray's; its folder
    is swept by the next study.
    """
    number = stopping.asked()
    if not wait([started], timeout=HALF_STARTED if number else None).done:
        line = "interrupted; nothing is lost: the same command goes on from here"
        print(f"\n{line}", file=sys.stderr, flush=True)
        os._exit(128 + number)
    ray.shutdown()


@contextmanager
def _without_stderr() -> Iterator[None]:
    """For code below Python: of a cluster's refusal Ray prints twenty lines before it raises."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def watched(conductor: Conductor) -> Iterator[None]:
    """Stop when Ray itself dies, here or at the head of a cluster: Tune would retry its trials to
    death first, and Ray end this process after a minute.
    """
    ours = [child for child in psutil.Process().children() if child.name() == "raylet"]
    head = ray.get_runtime_context().gcs_address
    over = threading.Event()

    def watch() -> None:
        heard = time.monotonic()
        while not over.wait(0.5):
            if answers(*split(head)):
                heard = time.monotonic()
            lost = time.monotonic() - heard > SILENCE
            whole = all(raylet.is_running() and raylet.status() != "zombie" for raylet in ours)
            if whole and not lost:
                continue
            why = "Ray's own process died (killed, or the machine's memory is full)"
            if whole:
                why = f"the Ray cluster's head, {head}, does not answer any more"
            if not (number := stopping.asked()):  # then Ray was asked, too, and it goes to its end
                conductor.aborted = why
                _thread.interrupt_main()
            if not over.wait(20 if number else 10):
                print(f"error: {why}; the same command goes on from here", file=sys.stderr)
                os._exit(128 + number if number else 2)
            return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
