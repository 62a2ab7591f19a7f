"""`python -m fl_core.doctor`: can the next study start, and if not, what to do.

Every check runs in a process of its own under a time limit, so that nothing that is broken, not
even a package that crashes or hangs when it is imported, ends the report. Exit code 0: the default
study (on the embedded features) can start; 1: it cannot; 2: a wrong option.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field

from fl_core.base.errors import UserError, kind_and_line
from fl_core.base.streams import steady
from fl_core.doctor import places as check_places
from fl_core.doctor import software as checks
from fl_core.doctor.software import Finding, Where
from fl_core.study.arguments import Parser, device, path, told, words
from fl_core.study.stopping import exit_code, stoppable

AT_ONCE = 3
COLOURS = {"ok": "32", "warning": "33", "problem": "31"}


@dataclass(frozen=True)
class Check:
    """One process of the report."""

    name: str  # the function
    title: str  # of what goes wrong
    level: str = "problem"  # what it is if the check fails
    seconds: float = 120.0

    def run(self, where: Where) -> Iterator[Finding]:
        """Here and now; whatever happens is a finding."""
        module = checks if hasattr(checks, self.name) else check_places
        try:
            yield from getattr(module, self.name)(where)
        except UserError as error:
            yield self.failed(where, str(error))
        except Exception as error:  # a report has no tracebacks
            yield self.failed(where, kind_and_line(error))

    def failed(self, where: Where, text: str) -> Finding:
        """A study refuses weights that were named and are no good: then they are needed."""
        named = self.name == "check_weights" and where.weights is not None
        return Finding("problem" if named else self.level, self.title, text)


#: In the order of the report.
CHECKS = (
    Check("check_versions", "packages", seconds=30),
    Check("check_machine", "machine", "warning", seconds=30),
    Check("check_device", "torch"),
    Check("check_features", "features"),
    Check("check_folders", "folders", seconds=60),
    Check("check_lock", "lock", seconds=30),
    Check("check_store", "MLflow"),
    Check("check_ray", "Ray"),
    Check("check_tables", "tables"),
    Check("check_torchvision", "images", "warning"),  # the default study reads features
    Check("check_data", "data", "warning"),
    Check("check_weights", "weights", "warning"),
)


@dataclass
class Runner:
    """Runs checks as processes; `stop` ends those that are running."""

    where: Where
    running: set[subprocess.Popen[bytes]] = field(default_factory=set)

    def findings(self, check: Check) -> list[Finding]:
        """What a check's process says, and how it ended if it did not end well."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            command = [sys.executable, "-m", "fl_core.doctor", "--check", check.name]
            options = [json.dumps(asdict(self.where))]
            # files, not pipes: a daemon left behind would hold a pipe open
            process = subprocess.Popen(
                command + options,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            self.running.add(process)
            try:
                trouble = _ending(process.wait(check.seconds))
            except subprocess.TimeoutExpired:
                end(process)
                trouble = f"no answer within {check.seconds:.0f} s"
            self.running.discard(process)
            out.seek(0)
            err.seek(0)
            found = [Finding(**fields) for fields in map(json.loads, _lines(out.read()))]
            if trouble:
                last = _lines(err.read())[-1:]
                text = ": ".join([trouble, *(line[:200] for line in last)])
                found.append(check.failed(self.where, text))
        return found

    def stop(self) -> None:
        """End every process that is running."""
        for process in list(self.running):
            end(process)


def _ending(code: int) -> str:
    if code < 0:
        return f"crashed ({signal.Signals(-code).name})"
    return f"ended with code {code}" if code else ""


def _lines(output: bytes) -> list[str]:
    return [line for line in output.decode(errors="replace").splitlines() if line.strip()]


def end(process: subprocess.Popen[bytes]) -> None:
    """The process and what it started: first asked, then killed."""
    for number, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        with suppress(ProcessLookupError, PermissionError):  # it is gone already
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def child(name: str, options: str) -> None:
    """One check, its findings as lines of JSON; what packages print goes elsewhere."""
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # tidy up when the time is over
    check = next(check for check in CHECKS if check.name == name)
    for finding in check.run(Where(**json.loads(options))):
        print(json.dumps(asdict(finding)), file=lines, flush=True)


def show(finding: Finding) -> None:
    """One aligned line; in a terminal coloured, and wrapped to its width."""
    head = f"{finding.level:8} {finding.what:10} "
    text = " ".join(finding.text.split())
    if sys.stdout.isatty():
        width = max(40, shutil.get_terminal_size().columns - len(head))
        text = textwrap.fill(text, width).replace("\n", "\n" + " " * len(head))
        if not os.environ.get("NO_COLOR"):
            head = f"\033[{COLOURS[finding.level]}m{head[:8]}\033[0m{head[8:]}"
    print(head + text, flush=True)


def parse(argv: list[str] | None = None) -> Where:
    """The options; UserError for a mistake."""
    parser = Parser(
        prog="python -m fl_core.doctor",
        description=__doc__,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="don't start Ray, don't make a store")
    add("--out", type=place, default=Where.out, metavar="DIR", help="the study's folder (results)")
    cache = "artefacts (FL_CACHE_DIR, ./results/artefacts)"
    add("--cache-dir", type=place, metavar="DIR", help=cache)
    add("--data-dir", type=place, metavar="DIR", help="folder of images (FL_DATA_DIR, ./data)")
    add("--weights", type=place, metavar="FILE", help="local weights file of the backbone")
    store = "MLflow store (MLFLOW_TRACKING_URI, ./mlflow.db)"
    add("--tracking-uri", type=words, metavar="URI", help=store)
    add("--ray-address", type=words, metavar="ADDR", help="a running Ray cluster")
    add("--device", type=device, default=Where.device, help="auto, cpu or cuda (auto)")
    return Where(**vars(parser.parse_args(argv)))


def place(text: str) -> str:
    """A path, as a study reads it."""
    return str(path(text))


@steady()
def main(argv: list[str] | None = None) -> int:
    """Print the report; the exit code."""
    with told():
        runner = Runner(parse(argv))
    levels = []
    with ThreadPoolExecutor(AT_ONCE) as pool, stoppable():
        pending = [pool.submit(runner.findings, check) for check in CHECKS]
        try:
            for found in pending:
                for finding in found.result():
                    show(finding)
                    levels.append(finding.level)
        except KeyboardInterrupt as stop:  # the checks are processes of their own sessions
            pool.shutdown(wait=False, cancel_futures=True)
            runner.stop()
            return exit_code(stop)
    count = levels.count("problem")
    if count:
        print(f"\nno study can start here: {count} problem{'s'[: count > 1]} to solve")
        return 1
    warnings = levels.count("warning")
    print("\nready: studies can start here" + (f" ({warnings} warnings)" if warnings else ""))
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        child(*sys.argv[2:4])
    else:
        sys.exit(main())
