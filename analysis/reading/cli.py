"""What the commands of this package share: their arguments, their errors, whole files."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fl_analysis.reading.connect import AnalysisError
from fl_analysis.reading.store import StudyRuns, list_studies, read_study
from fl_core.base.files import replacing


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The arguments of every command; the caller adds its own."""
    line = (doc or "").strip().splitlines()[0] if doc else None
    args = argparse.ArgumentParser(description=line)
    args.add_argument(
        "--tracking-uri", help="MLflow store (default: $MLFLOW_TRACKING_URI, else ./mlflow.db)"
    )
    args.add_argument("--study", nargs="+", default=[], help="names (default: all in the store)")
    args.add_argument("--run", help="id of one study run (default: each study's newest)")
    args.add_argument("--out", type=Path, help="folder (default: results/<study>)")
    return args


def add_published(args: argparse.ArgumentParser) -> None:
    """The option for numbers that are not ours."""
    text = "show published numbers for the same problems too, with their sources"
    args.add_argument("--published", action="store_true", help=text)


def run(args: argparse.Namespace, work: Callable[[StudyRuns, Path], None]) -> int:
    """`work` on each study that the arguments name; the exit code. An error is one line."""

    def studies() -> None:
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
            runs = read_study(args.tracking_uri, name, args.run)
            base = args.out or Path("results") / runs.study
            work(runs, base / runs.study if args.out and len(names) > 1 else base)

    return reported(studies)


def reported(task: Callable[[], object]) -> int:
    """Do it; the exit code. An error is one line."""
    try:
        task()
    except AnalysisError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename or ''}: {error.strerror or error}", file=sys.stderr)
        return 2
    return 0


def write(path: Path, content: bytes) -> Path:
    """A whole file or none."""
    with replacing(path) as part:
        part.write_bytes(content)
    return path


def formats(text: Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """`all` or some of `allowed`, in the order of `allowed`."""
    return tuple(f for f in allowed if f in text or "all" in text)
