"""On PYTHONPATH of a study under test: every process of it tells what it does, and waits on demand.

Python imports a module of this name at its start, so the driver and Ray's workers run it too, and
nothing in the package has to know that it is watched. One line an event goes into FAULTS_LOG:

    round <digest> <round> <pid>            a round of federated averaging begins
    saving <digest> <records> <pid> <n>     a trial's file is written and not yet renamed; n files
                                            of this trial lie in its folder
    ended <digest> <number> <pid>           the driver hears that a job is done, nobody else has
    held <digest> <number> <pid>            this process waits

A process waits while the file beside the log, `<log>.hold`, names an event and a number of
different events of that name which the log has reached: a fault can be put exactly there.

A study in the process of the tests is watched in the same way (`faults/here`): there `wait` is the
fault, and `undo` ends the watching.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

LOG = os.environ.get("FAULTS_LOG", "")
FIGURES = bool(os.environ.get("FAULTS_FIGURES"))  # draw them
LONGEST = 600.0  # seconds to wait: the tests may have been killed themselves
REPLACED: list[tuple[Any, str, Any]] = []  # what was there before: owner, name, value


def event(kind: str, digest: str, number: int, *more: object) -> None:
    """Note what happens; wait here if this is the moment the test has asked for."""
    _append(kind, digest, number, *more)
    if _is_held(kind):
        _append("held", digest, number)
        wait(kind)


def wait(kind: str) -> None:
    """Until the test lets this process go on."""
    end = time.monotonic() + LONGEST
    while _is_held(kind) and time.monotonic() < end:
        time.sleep(0.01)


def replace(owner: Any, name: str, new: Any) -> None:
    """Put a watched function in the place of a plain one."""
    REPLACED.append((owner, name, getattr(owner, name)))
    setattr(owner, name, new)


def undo() -> None:
    """Everything as it was."""
    while REPLACED:
        setattr(*REPLACED.pop())


def _append(kind: str, digest: str, number: int, *more: object) -> None:
    line = " ".join(map(str, (kind, digest, number, os.getpid(), *more))) + "\n"
    file = os.open(LOG, os.O_APPEND | os.O_CREAT | os.O_WRONLY)  # one write: lines do not mix
    os.write(file, line.encode())
    os.close(file)


def _is_held(kind: str) -> bool:
    try:
        wanted, count = Path(f"{LOG}.hold").read_text().split()
    except OSError:
        return False
    if kind != wanted:
        return False
    events = (line.split() for line in Path(LOG).read_text().splitlines())
    return len({tuple(e[1:3]) for e in events if e[0] == kind}) >= int(count)


def watch_rounds(module: ModuleType) -> None:
    """`client_updates` begins a round; the loop calls it once for each."""
    inner = module.client_updates

    def client_updates(run: Any, state: Any, *rest: Any) -> Any:
        event("round", run.config.digest(), state.round)
        return inner(run, state, *rest)

    replace(module, "client_updates", client_updates)


def watch_files(module: ModuleType) -> None:
    """Between the writing of a trial's file and its renaming most files lie there."""
    inner = module.save_file

    def save_file(tensors: Any, path: Path, metadata: dict[str, str]) -> None:
        inner(tensors, path, metadata=metadata)
        if path.parent.name == "trials":
            digest = path.name.lstrip(".")[:16]
            files = [p for p in path.parent.iterdir() if p.name.lstrip(".").startswith(digest)]
            event("saving", digest, len(json.loads(metadata["meta"])["records"]), len(files))

    replace(module, "save_file", save_file)


def watch_ends(module: ModuleType) -> None:
    """The moment between a job's end and the first note of it (not of one that was cut off)."""
    inner = module.Conductor.end

    def end(self: Any, job: Any, last: Any) -> None:
        if getattr(last, "record", {}).get("finished"):
            event("ended", job.config.digest(), job.number)
        inner(self, job, last)

    replace(module.Conductor, "end", end)


def no_figures(module: ModuleType) -> None:
    """Drawing takes longer than the whole study and has nothing to do with faults."""
    if not FIGURES:
        replace(module, "write_figures", lambda *_, **__: [])


PATCHES: dict[str, Callable[[ModuleType], None]] = {
    "fl_core.federated.rounds": watch_rounds,
    "fl_core.base.cache": watch_files,
    "fl_core.study.workers.dispatch": watch_ends,
    "fl_analysis.figures": no_figures,
}


class Finder:
    """Finds the modules to be watched as Python would, and patches them once they are run."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        patch = PATCHES.get(name)
        spec = importlib.machinery.PathFinder.find_spec(name, path) if patch else None
        if patch is None or spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def run_and_patch(module: ModuleType) -> None:
            run(module)
            patch(module)

        spec.loader.exec_module = run_and_patch  # type: ignore[method-assign]
        return spec


if LOG:
    sys.meta_path.insert(0, Finder)
