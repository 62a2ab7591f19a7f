"""The command of every study: checks before any work, search, confirmation, tables."""

from __future__ import annotations

import argparse
import errno
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from fl_core.base import streams
from fl_core.base.errors import Differs, UserError
from fl_core.base.files import sweep, working_directory
from fl_core.base.locations import is_local
from fl_core.base.machine import Machine
from fl_core.config.own import make_importable
from fl_core.study import arguments, environment, options, resources, stopping
from fl_core.study.folder import locked, start_over
from fl_core.study.jobs import Arm, Workers
from fl_core.study.request import Request, request_of
from fl_core.study.screen import Doing, say
from fl_core.study.session import Executor, Session
from fl_core.study.study import Study

if TYPE_CHECKING:
    from fl_core.config.trial_config import TrialConfig
    from fl_core.study.found import Found
    from fl_core.study.result import Result
    from fl_core.study.tracking.tracker import Tracker
    from fl_core.study.workers.ray_instance import Instance


def main(study: Study, argv: Sequence[str] | None = None) -> Result | None:
    """Run a study: the last line of its file, or a call in a notebook.

    `main(STUDY)` in a program reads the program's command line, and ends it as `command_line` says.
    `main(STUDY, ["--preset", "smoke"])`, and at a prompt or in a notebook `main(STUDY)` too, is a
    call like any other: it returns what the study found and raises UserError for a user's mistake,
    KeyboardInterrupt where it is interrupted. After --help and --replay there is nothing to return.
    """
    if argv is not None or _at_a_prompt():
        try:
            args = options.parse(study, argv or [])
        except SystemExit:  # --help
            return None
        return _called(study, args)
    return command_line(study, sys.argv[1:])


def command_line(study: Study, argv: Sequence[str]) -> Result | None:
    """A study as a program: a user's mistake is one line on stderr and exit code 2, Ctrl-C 130,
    a --replay that differs 1.
    """
    with streams.steady(streams.UNREAD), arguments.told():
        try:
            return _called(study, options.parse(study, argv))
        except Differs as found:
            print(found)
            raise SystemExit(1) from None
        except KeyboardInterrupt as stop:
            line = "interrupted; nothing is lost: the same command goes on from here"
            print(f"\n{line}", file=sys.stderr)
            raise SystemExit(stopping.exit_code(stop)) from None


def _at_a_prompt() -> bool:
    """Whether a person types at a prompt or in a notebook: no file is run there, and the words
    after the program's name are the notebook's.
    """
    return not hasattr(sys.modules["__main__"], "__file__") and sys.argv[:1] != ["-c"]


def _called(study: Study, args: argparse.Namespace) -> Result | None:
    try:
        # the study's own folder is already: it is the script's
        make_importable(working_directory())
        if args.replay:
            from fl_core.study.replay import replay

            replay(study.name, args)
            return None
        with stopping.stoppable():
            return run(study, args)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT):
            raise
        where = f"{error.filename}: " if error.filename else ""
        again = "make room, then the same command goes on from here"
        raise UserError(f"{where}{error.strerror}; {again}") from error


def run(study: Study, args: argparse.Namespace) -> Result:
    """All that can be refused is refused before anything is written (`request_of`)."""
    started = time.monotonic()
    question = study.question.strip().partition("\n")[0]
    say(f"{study.name} (preset {args.preset}): {question}")
    with Doing() as doing:
        doing("loading torch and checking what is asked")
        asked = request_of(study, args)
    resolved, machine, out = asked.study, asked.machine, asked.out
    say(_size(asked))
    with locked(out), ThreadPoolExecutor(1) as pool, Doing() as doing:
        from fl_core.study.search import journal
        from fl_core.study.workers import shares

        doing("preparing the data: features, heads, who holds what")
        found = check_inputs(resolved.arms, machine)
        workers = shares.workers_of(args, machine, resolved.arms, resolved.space)
        machine = shares.shared(machine, workers)
        doing("opening the store" if args.serial else f"starting {workers.slots} workers")
        # while Ray starts, which is waiting for the most part
        opening = pool.submit(_open_tracker, asked.uri, study.name, machine.cache_dir)
        with _executor(args, workers) as execute:
            tracker = opening.result()
            if args.fresh:
                start_over(out)
            journal.prepare(out / journal.JOURNAL)
            places = resources.places_of(args, study.name, out)
            if is_local(places.own):
                sweep(places.own)
            session = Session(
                resolved, args, machine, places, asked.plan, out, tracker, execute, doing
            )
            result = session.run(found)
    say(f"done in {time.monotonic() - started:.0f} s")
    return result


def _size(asked: Request) -> str:
    """How much there is to do, in a line."""
    arms, trials = len(asked.study.arms), asked.plan.trials
    many = f"{arms} arm{'s' * (arms > 1)}, {trials} trial{'s' * (trials > 1)}{' each' * (arms > 1)}"
    more = " and what won in neighbouring arms" if arms > 1 and asked.plan.neighbours else ""
    return f"{many}{more}, then fresh seeds for the best; results in {asked.out}"


@contextmanager
def _executor(args: argparse.Namespace, workers: Workers) -> Iterator[Executor]:
    """What runs the jobs: Ray Tune's workers, or this process."""
    if args.serial:
        from fl_core.study.workers.dispatch import run_serial

        yield run_serial
        return
    environment.before_ray(cluster=args.ray_address is not None)
    # Not in the main thread: what a signal raises there inside an import may leave Python's own
    # lock behind, for which every other thread that imports waits for ever.
    with ThreadPoolExecutor(1) as loader:
        ray_session = loader.submit(_load_ray).result()
        with ray_session(args.ray_address, workers.slots) as instance:
            run_on_ray = loader.submit(_load_tune).result()  # while Ray starts
            instance.ready()
            yield partial(run_on_ray, workers=workers, logs=instance.logs)


def _load_ray() -> Callable[[str | None, int], AbstractContextManager[Instance]]:
    from fl_core.study.workers.ray_instance import ray_session

    return ray_session


def _load_tune() -> Callable[..., None]:
    from fl_core.study.workers.ray_tune import run_on_ray

    return run_on_ray


def check_inputs(arms: list[Arm], machine: Machine) -> dict[str, Found]:
    """Load (download, compute) what the trials need, once; what was found, by the arms' names.

    Arms that agree in INPUT_READS need the same: only the first of them is prepared, and those
    that are refused by what is found in their inputs, if they are.
    """
    from fl_core import inputs, stages
    from fl_core.data.tasks import check_parts
    from fl_core.study import found

    for data in dict.fromkeys(arm.config.data for arm in arms):
        check_parts(data, machine)
    all_found: dict[str, Found] = {}
    seen: dict[TrialConfig, Found] = {}
    looked: set[TrialConfig] = set()
    for arm in arms:
        key = arm.config.only(stages.INPUT_READS)
        checked = arm.config.only(stages.check_reads(arm.config))
        if checked not in looked:
            looked.add(checked)
            seen.setdefault(key, found.found_in(arm.config, machine))
        all_found[arm.name] = seen[key]
    inputs.forget_inputs()  # the workers load their own
    return all_found


def _open_tracker(uri: str, experiment: str, cache: Path) -> Tracker:
    environment.before_mlflow()
    from fl_core.study.tracking.tracker import Tracker

    return Tracker(uri, experiment, cache if is_local(cache) else None)
