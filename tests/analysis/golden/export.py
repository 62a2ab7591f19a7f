"""Small real studies, committed, and the tables that they must give, byte for byte.

    python tests/analysis/golden/export.py

writes the tables of every committed study again (after a change of the tables that was meant);

    python tests/analysis/golden/export.py --tracking-uri sqlite:////tmp/gold/mlflow.db STUDY [NAME]

exports one study of a store to NAME.json (default: the study's name) and writes its tables. The
file holds tags, parameters and last metrics of its runs: no artifacts, and no paths, addresses or
names of the machine or its user.
"""

from __future__ import annotations

import argparse
import getpass
import json
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[2]), str(HERE.parent)]

from bulk_store import Run, write_bulk  # noqa: E402

from fl_analysis.final_tables import write_tables  # noqa: E402
from fl_analysis.reading.connect import connect, search  # noqa: E402
from fl_analysis.reading.frames import PARENT, started  # noqa: E402
from fl_analysis.reading.store import read_study  # noqa: E402

FORMATS = ("md", "csv", "latex")
#: Tags of the study that describe the machine, not the science.
_PRIVATE = ("versions", "question", "base")
#: Metrics that do the same.
_TIMES = ("seconds_", "images_per_second", "peak_memory_bytes")
_KINDS = ("study", "arm", "trial")
_PLACES = re.compile(r"(?:[A-Za-z][\w+.-]*://|(?<![\w.])/)[^\s'\",\]}]+")


def scrub(text: str) -> str:
    """Without URIs, absolute paths, the host's and the user's name.

    >>> scrub("python x.py --out /home/me/o --tracking-uri sqlite:////home/me/m.db")
    'python x.py --out PATH --tracking-uri PATH'
    """
    text = _PLACES.sub("PATH", text)
    for name in (platform.node(), getpass.getuser()):
        if len(name) > 2:
            text = re.sub(rf"\b{re.escape(name)}\b", "NAME", text)
    return text


def exported(uri: str, study: str) -> dict[str, Any]:
    """A study's runs as plain data; what all trials share stands once."""
    client, _ = connect(uri)
    root = read_study(uri, study).run_id
    experiment = client.get_experiment_by_name(study)
    assert experiment is not None
    runs = search(client, [experiment.experiment_id], "")
    family = {root}
    while len(grown := family | {r.info.run_id for r in runs if r.data.tags.get(PARENT) in family}
              ) > len(family):  # fmt: skip
        family = grown
    mine = [r for r in runs if r.info.run_id in family]
    mine.sort(key=lambda r: (_KINDS.index(r.data.tags["kind"]), *started(r)))  # parents first
    params = [r.data.params for r in mine if r.data.params]
    shared = {k: v for k, v in params[0].items() if all(p.get(k) == v for p in params)}
    seen = sorted({name for run in mine for name in run.data.metrics})
    metrics = [name for name in seen if not name.startswith(_TIMES)]
    ids = {run.info.run_id: place for place, run in enumerate(mine)}
    return {
        "study": study,
        "params": {k: scrub(v) for k, v in sorted(shared.items())},
        "metrics": metrics,
        "runs": [_record(run, ids, shared, metrics) for run in mine],
    }


def _record(
    run: Any, ids: Mapping[str, int], shared: Mapping[str, str], metrics: Sequence[str]
) -> dict[str, Any]:
    tags = {
        k: scrub(v)
        for k, v in sorted(run.data.tags.items())
        if not k.startswith("mlflow.") and k not in _PRIVATE
    }
    own = {k: scrub(v) for k, v in sorted(run.data.params.items()) if k not in shared}
    record = {"tags": tags, "params": own, "shared": bool(run.data.params)}
    if run.data.tags.get(PARENT) in ids:
        record["parent"] = ids[run.data.tags[PARENT]]
    if run.data.metrics:
        record["values"] = [run.data.metrics.get(name) for name in metrics]
    return record


def runs_of(data: Mapping[str, Any]) -> list[Run]:
    """The runs of an exported study, one a second, with ids that count."""
    made = []
    for place, record in enumerate(data["runs"]):
        values = zip(data["metrics"], record.get("values", []), strict=False)
        made.append(
            Run(
                key=str(place),
                parent=str(record["parent"]) if "parent" in record else None,
                start=1_700_000_000_000 + 1000 * place,
                tags=record["tags"],
                params={**(data["params"] if record["shared"] else {}), **record["params"]},
                metrics={name: value for name, value in values if value is not None},
                run_id=f"{place:032x}",
            )
        )
    return made


def load(file: Path, store: Path) -> str:
    """Writes an exported study into the store (a SQLite file, new or not); its name."""
    data = json.loads(file.read_text())
    write_bulk(store, data["study"], runs_of(data))
    return str(data["study"])


def tables(file: Path, out: Path, empty: Path | None = None) -> None:
    """The tables that an exported study gives; `empty`: an MLflow store to copy, which is quick."""
    with tempfile.TemporaryDirectory() as scratch:
        store = Path(scratch) / "mlflow.db"
        if empty is not None:
            shutil.copy(empty, store)
        study = load(file, store)
        write_tables(read_study(f"sqlite:///{store}", study), out, FORMATS)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tracking-uri", help="export from this store first")
    parser.add_argument("study", nargs="?")
    parser.add_argument("name", nargs="?", help="of the exported file (default: the study's)")
    args = parser.parse_args()
    if (args.tracking_uri is None) != (args.study is None):
        parser.error("--tracking-uri and STUDY go together")
    if args.study is not None:
        file = HERE / f"{args.name or args.study}.json"
        data = exported(args.tracking_uri, args.study)
        rows = ",\n".join(json.dumps(r, separators=(",", ":")) for r in data.pop("runs"))
        file.write_text(f'{json.dumps(data)[:-1]},\n"runs": [\n{rows}\n]}}\n')
    for file in sorted(HERE.glob("*.json")):
        shutil.rmtree(HERE / file.stem, ignore_errors=True)
        tables(file, HERE / file.stem)
        print(f"{file.name}, {file.stem}/")


if __name__ == "__main__":
    main()
