"""`python -m fl_core.study.ui`: the MLflow UI of this folder's store, on 127.0.0.1."""

from __future__ import annotations

import errno
import os
import socket
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path

from fl_core.study.arguments import Parser, fail, path, port, told
from fl_core.study.tracking.views import ARMS, TAG, link


def main(argv: Sequence[str] | None = None) -> None:
    """Check port and store, then become `mlflow ui`."""
    parser = Parser(prog="python -m fl_core.study.ui", description=__doc__)
    parser.add_argument("--port", type=port, default=5000)
    parser.add_argument("--store", type=path, default=Path("mlflow.db"), help="SQLite file")
    with told():
        args = parser.parse_args(argv)
    if not args.store.exists():
        fail(f"{args.store}: no runs here yet; run a study first (make study)")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", args.port))
        except OSError as error:
            busy = error.errno == errno.EADDRINUSE
            why = "is in use" if busy else f"cannot be used ({error.strerror})"
            other = min(max(args.port + 1, 1024), 2**16 - 1)  # those below are the system's
            fail(f"port {args.port} {why}; choose another: make ui PORT={other}")
    print(f"MLflow UI: http://127.0.0.1:{args.port} (ready in a few seconds, Ctrl-C ends it)")
    for study, experiment in studies(args.store):
        name = "".join(filter(str.isprintable, study))  # a store may be anybody's
        print(f"  {name}: http://127.0.0.1:{args.port}/{link(experiment)}", flush=True)
    os.environ.setdefault("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", "false")  # two processes, not eight
    store = f"sqlite:///{args.store.resolve()}"
    options = ["--host", "127.0.0.1", "--port", str(args.port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", store, *options]
    os.execv(sys.executable, command)


def studies(store: Path) -> list[tuple[str, str]]:
    """Name and experiment of each study in a store; none of an unreadable one, MLflow says why."""
    query = """
        SELECT e.name, e.experiment_id FROM experiments AS e JOIN experiment_tags AS t
        ON t.experiment_id = e.experiment_id AND t.key = ?
        WHERE e.lifecycle_stage = 'active' ORDER BY e.name
    """
    with suppress(sqlite3.Error), closing(sqlite3.connect(store)) as db:
        return [(name, str(number)) for name, number in db.execute(query, (TAG + ARMS.key,))]
    return []


if __name__ == "__main__":
    main()
