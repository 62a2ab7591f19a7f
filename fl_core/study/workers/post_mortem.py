"""Why a worker died, from what Ray and the worker itself have left behind."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from fl_core.study.reports import Failed, OutOfMemory, Report

#: Ray's words where its own watch over the machine's memory killed the worker.
OVER = "running low on memory"
#: Ray's words where the process was gone, whatever ended it.
GONE = "connection error code 2"
FATAL = "Fatal Python error: "  # faulthandler's, with the line that ran, on a deadly signal


def post_mortem(error_file: Path, logs: Path | None) -> Report:
    """How a job ended whose worker died again and again; the last line says it.

    error_file: Ray's account of every death. logs: the folder of what workers print, if it is here.
    """
    ray = ""
    with suppress(OSError):
        ray = error_file.read_text(errors="replace").strip()
    last = ray.rpartition("Failure # ")[2]
    if OVER in last:
        return OutOfMemory()
    said = _last_words(logs, re.findall(r"pid[:=] ?(\d+)", last))
    fatal = [line.removeprefix(FATAL) for line in said.splitlines() if line.startswith(FATAL)]
    if fatal:
        cause = fatal[-1]
    elif GONE in last or not ray:
        cause = (
            "killed (SIGKILL: by the kernel where memory ends, or by hand), or ended by os._exit; "
            "it has left no word"
        )
    else:  # a worker that could not start: the last line of its traceback
        cause = last.splitlines()[-1].strip()
    return Failed("\n\n".join(filter(None, [ray, said, f"its worker died: {cause}"])))


def _last_words(logs: Path | None, pids: list[str]) -> str:
    """What the process printed on stderr at its end."""
    if logs is None or not pids:
        return ""
    with suppress(OSError):
        for path in logs.glob(f"worker-*-{pids[-1]}.err"):
            return "\n".join(path.read_text(errors="replace").splitlines()[-30:])
    return ""
