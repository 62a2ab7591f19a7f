"""What the commands of this package share: their arguments, their errors, whole files."""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.store import StudyRuns, list_studies, read_study
from fl_core.base.errors import UserError, hidden
from fl_core.base.files import replacing
from fl_core.base.streams import steady
from fl_core.study.arguments import Parser, path, told, words

RESULTS = Path("results")
_MOST = 100  # characters of a folder's name
_SHOWN = 5  # ids of other runs


def parser(doc: str | None, *, out: str = "folder (default: results/<study>)") -> Parser:
    """The arguments of every command; the caller adds its own."""
    line = (doc or "").strip().splitlines()[0] if doc else None
    args = Parser(description=line)
    text = "MLflow store (default: $MLFLOW_TRACKING_URI, else ./mlflow.db)"
    args.add_argument("--tracking-uri", type=words, help=text)
    text = "names (default: all in the store)"
    args.add_argument("--study", type=words, nargs="+", default=[], help=text)
    text = "id of one study run (default: each study's newest)"
    args.add_argument("--run", type=words, help=text)
    args.add_argument("--out", type=path, help=out)
    return args


def parsed(args: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The values of the arguments; a mistake ends the program with one line."""
    with steady(), told():
        return args.parse_args(argv)


def add_published(args: argparse.ArgumentParser) -> None:
    """The option for numbers that are not ours."""
    text = "show published numbers for the same problems too, with their sources"
    args.add_argument("--published", action="store_true", help=text)


def run(
    args: argparse.Namespace,
    work: Callable[[StudyRuns, Path], None],
    check: Callable[[], None] | None = None,
) -> int:
    """`work` on each study that the arguments name; the exit code. An error is one line. `check`:
    what comes before all work, without one whether --out can be a folder.
    """

    def studies() -> None:
        if check is None:
            check_folder(args.out or RESULTS)
        else:
            check()
        if args.run is not None and len(args.study) > 1:
            raise AnalysisError("--run: names one study run, so at most one --study")
        names: list[str | None] = list(dict.fromkeys(args.study))
        if args.run is not None:
            names = names or [None]
        elif not names:
            names = list(list_studies(args.tracking_uri))
        if not names:
            raise AnalysisError("the store holds no study; run one first, or pass --tracking-uri")
        for name in names:
            runs = read(args.tracking_uri, name, args.run)
            own = folder_of(runs.study)
            base = args.out or RESULTS / own
            work(runs, base / own if args.out and len(names) > 1 else base)

    return reported(studies)


def read(tracking_uri: str | None, study: str | None, run_id: str | None = None) -> StudyRuns:
    """`read_study`; where the store has several runs of the study, a line says which one it is."""
    runs = read_study(tracking_uri, study, run_id)
    if runs.others:
        shown = ", ".join(runs.others[:_SHOWN]) + (", …" if len(runs.others) > _SHOWN else "")
        which = f"the newest of its {1 + len(runs.others)} searches in this store"
        line = f"{runs.study}: {which}, {runs.run_id}; others: --run {shown}"
        print(f"note: {line}", file=sys.stderr)
    return runs


def folder_of(study: str) -> str:
    """The name of a study's folder: its own name, or where that is no plain name of a file (a
    store is written by others: ../x) what is left of it and a digest that tells it from others.
    """
    plain = re.sub(r"[^\w .+,=@()-]", "-", study).lstrip(" .-").rstrip(" .")[:_MOST]
    if plain and plain == study and len(plain.encode()) <= 2 * _MOST:
        return study
    shown = plain.encode()[:_MOST].decode(errors="ignore")
    digest = hashlib.sha256(study.encode(errors="surrogatepass")).hexdigest()[:8]
    return f"{shown}-{digest}".lstrip("-")


def reported(task: Callable[[], object]) -> int:
    """Do it; the exit code. An error is one line; a reader that has left (`| head`) is none: the
    files are still written.
    """
    try:
        with steady():
            task()
    except UserError as error:
        print(f"error: {hidden(' '.join(str(error).split()))}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def check_file(out: Path) -> None:
    """Told before the work: AnalysisError where no file can be written."""
    if out.is_dir():
        raise AnalysisError(f"--out {out}: is a folder, not a file")
    _check_place(out, out.parent)


def check_folder(out: Path) -> None:
    """Told before the work: AnalysisError where no folder can be written."""
    if out.is_file():
        raise AnalysisError(f"--out {out}: is a file, not a folder")
    _check_place(out, out)


def _check_place(out: Path, folder: Path) -> None:
    there = next((place for place in (folder, *folder.parents) if place.exists()), Path())
    if not there.is_dir():
        raise AnalysisError(f"--out {out}: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise AnalysisError(f"--out {out}: {there} cannot be written to")


def check_files(paths: Iterable[Path]) -> None:
    """AnalysisError where a folder stands in the place of a file."""
    for file in paths:
        if file.is_dir():
            raise AnalysisError(f"{file}: is a folder, not a file")


def write(path: Path, content: bytes) -> Path:
    """A whole file or none."""
    with replacing(path) as part:
        part.write_bytes(content)
    return path


def formats(text: Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """`all` or some of `allowed`, in the order of `allowed`."""
    return tuple(f for f in allowed if f in text or "all" in text)
