"""What `the doctor` checks: inputs, folders, store, Ray (see doctor.software)."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from fl_core.base import addresses, host
from fl_core.base.errors import UserError, kind_and_line
from fl_core.base.stores import sqlite_file
from fl_core.config.trial_config import TrialConfig
from fl_core.data.catalogue import DATA_SETS, DEFAULT
from fl_core.doctor.software import Finding, Where, imported
from fl_core.study import environment
from fl_core.study.folder import LOCK, MIN_FREE_BYTES, holder
from fl_core.study.workers.scratch import base_of_ray

IMAGES = "only studies on images need it"
LITTLE = 2e9  # bytes of disk: enough to start, perhaps not to end
SHARED_MEMORY = 1e9  # of Ray's object store
FULL = 0.95  # share of its disk beyond which Ray stores no more objects

# --- inputs ---------------------------------------------------------------------------------------


def check_features(where: Where) -> Iterator[Finding]:
    """The embedded features, every byte of them: all that the default study reads."""
    features, cache = imported("fl_core.models.features"), imported("fl_core.base.cache")
    path = features.features_path(TrialConfig(), Path("nowhere"))
    if path.parent != features.EMBEDDED:
        raise UserError(f"{path.name} is not in {features.EMBEDDED}; install the package again")
    try:
        tensors, _ = cache.load_artefact(path)
    except cache.DamagedArtefact as damage:
        raise UserError(f"{damage}; install the package again") from damage
    count = sum(len(tensor) for name, tensor in tensors.items() if name.endswith("_labels"))
    yield Finding("ok", "features", f"embedded, of {count} images, digests right")


def check_data(where: Where) -> Iterator[Finding]:
    """The default data set's images as they are published, by their md5 sums."""
    known = DATA_SETS[DEFAULT]
    files = known.files
    if files is None:
        return
    folder = where.machine.data_dir
    if not (folder / files.folder).is_dir():
        named = where.data_dir or os.environ.get("FL_DATA_DIR")
        text = f"{known.title} is not in {folder}: {IMAGES}; it is downloaded then"
        yield Finding("warning" if named else "ok", "data", text)
        return
    for name, md5 in {**files.parts["train"], **files.parts["test"], **files.meta}.items():
        path = folder / files.folder / name
        try:
            right = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == md5
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; {IMAGES}") from error
        if not right:
            raise UserError(f"{path}: wrong md5; delete the file; {IMAGES}")
    yield Finding("ok", "data", f"{known.title} in {folder}, md5 right")


def check_weights(where: Where) -> Iterator[Finding]:
    """A file named with --weights, else what timm has downloaded."""
    path = where.machine.weights_file
    if path is None:
        yield from _downloaded_weights()
        return
    weights, features = imported("fl_core.models.weights"), imported("fl_core.models.features")
    name = features.known_weights(path)
    weights.stored_names(path)
    kind = "those of the embedded features" if name == "pretrained" else f"{name[:15]}…"
    yield Finding("ok", "weights", f"{path}: {kind}")


def _downloaded_weights() -> Iterator[Finding]:
    hub = imported("huggingface_hub")
    for title, name in (
        ("ViT-Ti/16", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"),
        ("DINO ViT-S/16", "vit_small_patch16_224.dino"),
    ):
        found = hub.try_to_load_from_cache(f"timm/{name}", "model.safetensors")
        there = isinstance(found, str) and Path(found).exists()
        text = "in timm's cache" if there else f"not here: {IMAGES}; downloaded then, or --weights"
        yield Finding("ok", "weights", f"{title} {text}")


# --- folders --------------------------------------------------------------------------------------


def check_folders(where: Where) -> Iterator[Finding]:
    """Everything a study writes to: can it, and is there room?"""
    yield _room("study", Path(where.out).resolve(), "--out")
    yield _room("cache", where.machine.cache_dir, "--cache-dir")
    scratch = base_of_ray()
    found = _room("temporary", scratch, "TMPDIR")
    usage = shutil.disk_usage(_existing(scratch))
    if found.level == "ok" and usage.used > FULL * usage.total:
        text = f"{scratch}: its disk is more than {FULL:.0%} full, where Ray stops storing objects"
        found = Finding("warning", "temporary", f"{text}; make room or name another in RAY_TMPDIR")
    yield found
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        text = f"{shared}: {host.readable(free)} free for Ray's object store"
        if free < SHARED_MEMORY:
            text += f", which then lies in {scratch} (docker run --shm-size=2g)"
        yield Finding("warning" if free < SHARED_MEMORY else "ok", "shared", text)


def _existing(path: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(p for p in (path, *path.parents) if p.exists())


def _room(what: str, folder: Path, option: str) -> Finding:
    """Write into the folder, or where it would be made, and see how much room there is."""
    base = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=base) as file:
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(base).free
    except OSError as error:
        text = f"{folder}: cannot be written ({error.strerror}); choose another with {option}"
        return Finding("problem", what, text)
    text = f"{folder}: {host.readable(free)} free"
    if free < MIN_FREE_BYTES:
        return Finding("problem", what, f"{text}, {MIN_FREE_BYTES / 1e6:.0f} MB needed; make room")
    if free < LITTLE:
        return Finding("warning", what, f"{text}: a long study may fill it")
    return Finding("ok", what, text)


def check_lock(where: Where) -> Iterator[Finding]:
    """Whether another process is running a study there."""
    out = Path(where.out).resolve()
    held = {lock.parent: holder(lock.parent) for lock in [*out.glob(LOCK), *out.glob(f"*/{LOCK}")]}
    busy = {folder: process for folder, process in held.items() if process}
    for folder, process in busy.items():
        text = f"process {process} is running a study in {folder}: wait for it, or another --out"
        yield Finding("problem" if folder == out else "warning", "lock", text)
    if not busy:
        yield Finding("ok", "lock", f"no study is running in {out}")


# --- store and Ray --------------------------------------------------------------------------------


def check_store(where: Where) -> Iterator[Finding]:
    """MLflow's store: opened and locked for writing, or a new one made next to it and removed."""
    os.environ |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
    uri = imported("fl_core.study.options").tracking_uri(
        argparse.Namespace(tracking_uri=where.tracking_uri)
    )
    environment.before_mlflow()
    imported("fl_core.study.tracking.tracker")
    mlflow = imported("mlflow")
    file = sqlite_file(uri)
    if file is not None:
        if not file.exists() or not file.stat().st_size:
            yield _new_store(file, mlflow.MlflowClient, where.quick)
            return
        _lock_for_writing(file)
        if imported("fl_core.study.tracking.sqlite_store").half_made(file):
            text = f"{file}: was left half made and holds no runs; the next study makes it again"
            yield Finding("ok", "MLflow", text)
            return
    try:
        mlflow.MlflowClient(uri).search_experiments(max_results=1)
    except Exception as error:  # MLflow, SQLAlchemy and requests each raise their own
        raise UserError(f"{uri}: cannot be used ({kind_and_line(error)})") from error
    verb = "answers" if file is None else "opens, can be written"
    yield Finding("ok", "MLflow", f"{uri} {verb} (mlflow {mlflow.__version__})")


def _lock_for_writing(file: Path) -> None:
    """SQLite's own lock, taken and given back."""
    try:
        with closing(sqlite3.connect(file, timeout=5, isolation_level=None)) as store:
            store.execute("BEGIN IMMEDIATE")
            store.execute("ROLLBACK")
    except sqlite3.Error as error:
        hint = "end what uses it" if "locked" in str(error) else "move it away, or --tracking-uri"
        raise UserError(f"{file}: no store that can be written ({error}); {hint}") from error


def _new_store(file: Path, client: Callable[[str], Any], quick: bool) -> Finding:
    """Whether one could be made there: on some shared disks SQLite's locks don't work."""
    if not file.parent.is_dir():
        raise UserError(f"--tracking-uri: the folder {file.parent} does not exist; create it")
    if quick:
        found = _room("MLflow", file.parent, "--tracking-uri")
        return found if found.level == "problem" else Finding("ok", "MLflow", f"{file}: new")
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".doctor-") as scratch:
        try:
            client(f"sqlite:///{Path(scratch).resolve() / 'new.db'}").create_experiment("doctor")
        except Exception as error:  # as above
            raise UserError(f"{file}: cannot be made ({kind_and_line(error)})") from error
    return Finding("ok", "MLflow", f"{file}: not there yet, can be made")


def check_ray(where: Where) -> Iterator[Finding]:
    """Start Ray as a study does, or join a cluster, and run one task."""
    if where.ray_address is not None:
        addresses.check_ray_address(where.ray_address)
    environment.before_ray(cluster=where.ray_address is not None)
    ray, instance = imported("ray"), imported("fl_core.study.workers.ray_instance")
    imported("fl_core.study.workers.ray_tune")
    version = f"ray {ray.__version__}"
    if where.quick:
        yield Finding("ok", "Ray", f"{version} loads; not started (--quick)")
        return
    started = time.monotonic()
    with instance.ray_session(where.ray_address, 1) as started_ray:
        started_ray.ready()
        ray.get(ray.remote(lambda: None).remote(), timeout=60)
    took = time.monotonic() - started
    yield Finding("ok", "Ray", f"{version} started and ran a task in {took:.0f} s")
