"""Folders that may lie elsewhere: the same promises on a remote file system as on a disk."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import config, machine_of, plain, write_features

from fl_core.base.cache import DamagedArtefact, cached, load_artefact, save_artefact
from fl_core.base.errors import UserError
from fl_core.base.locations import check_writable, is_local, local_copy, location, make_folder
from fl_core.base.machine import Machine
from fl_core.checkpoint import trial_path
from fl_core.models import features
from fl_core.study.jobs import Job
from fl_core.study.reports import Aborted
from fl_core.study.trial_files import Places, ended_path, known_records
from fl_core.study.workers.run_job import attempt, run_job

META: dict[str, Any] = {"round": 3, "records": [{"loss": 0.1, "é": None}], "odd": float("inf")}
TENSORS = {"x": torch.arange(6.0).reshape(2, 3), "y": torch.tensor([1, -1], dtype=torch.int8)}


@pytest.fixture
def remote(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder of its own in the memory of this process, where fsspec keeps it."""
    place = location(f"memory://{request.node.name.partition('[')[0]}")
    yield place
    if place.exists():
        place.fs.rm(place.path, recursive=True)  # type: ignore[attr-defined]


@pytest.fixture
def machine(remote: Path, tmp_path: Path) -> Iterator[Machine]:
    """A machine whose cache is remote, too."""
    threads = torch.get_num_threads()
    local = machine_of(tmp_path)
    machine = Machine(data_dir=local.data_dir, cache_dir=remote / "artefacts", threads=1)
    write_features(machine.cache_dir)
    yield machine
    torch.set_num_threads(threads)
    features._features.cache_clear()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_path_is_absolute_and_a_url_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert location("a/../b") == tmp_path / "b"  # workers run in another folder
    assert location(f"file://{tmp_path}/c") == location(f"local://{tmp_path}/c") == tmp_path / "c"
    assert is_local(location("b"))
    place = location("memory://bucket/folder")
    assert not is_local(place)
    assert str(place / "x") == "memory://bucket/folder/x"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nonsense://a/b", "nonsense"),
        ("sftp://host/a", "paramiko"),  # the package that is missing
        ("gs://bucket/a", "gcsfs"),
        ("abfs://container/a", "adlfs"),
    ],
)
def test_a_url_that_cannot_be_opened_is_one_line(url: str, said: str) -> None:
    package = {"paramiko", "gcsfs", "adlfs"} & {said}
    if package and subprocess.run([sys.executable, "-c", f"import {said}"], check=False,
                                  capture_output=True).returncode == 0:  # fmt: skip
        pytest.skip(f"{said} is installed")
    with pytest.raises(UserError, match=f"^--storage {url}: cannot be opened .*{said}") as caught:
        location(url)
    assert "\n" not in str(caught.value)


def test_a_package_that_breaks_in_its_own_way_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """hdfs without Java raises an OSError of eighty lines."""
    import upath

    def broken(text: str) -> Path:
        raise OSError("Unable to load libjvm\ndlopen(...) failed\n" * 40)

    monkeypatch.setattr(upath, "UPath", broken)
    with pytest.raises(UserError, match=r"^--storage hdfs://h/x: .*\(Unable to load libjvm\)$"):
        location("hdfs://h/x")


def test_check_writable(remote: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in (remote / "new", tmp_path / "new"):
        check_writable(folder)
        assert files(folder) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"file: cannot be used \(.*File exists"):
        check_writable(tmp_path / "file")
    with pytest.raises(UserError, match=r"cannot be used \(its file system cannot be written to"):
        check_writable(location("http://127.0.0.1:1/folder"))
    monkeypatch.setattr(type(remote), "read_bytes", lambda path: b"old")
    with pytest.raises(UserError, match="what was written is not what is read"):
        check_writable(remote / "lies")


def test_no_bucket_is_made_by_mistake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """mkdir of a folder of an object store makes its bucket: a misspelt name would be a new one."""
    from upath.implementations.cloud import CloudPath

    made: list[object] = []
    monkeypatch.setattr(CloudPath, "mkdir", lambda *a, **_: made.append(a))
    make_folder(object.__new__(CloudPath))
    assert made == []
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_an_artefact_goes_there_and_back(remote: Path) -> None:
    path = remote / "new" / "folders" / "x.safetensors"
    save_artefact(path, TENSORS, META)
    for found in (path, pickle.loads(pickle.dumps(path))):  # as it travels to a worker
        tensors, meta = load_artefact(found)
        assert meta == META
        assert tensors.keys() == TENSORS.keys()
        assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert load_artefact(path, "none") == ({}, META)
    assert files(path.parent) == ["x.safetensors"]
    with local_copy(path) as copy:
        assert copy.read_bytes() == path.read_bytes()
    assert not copy.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_partial_write_is_noticed(
    remote: Path, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    path = remote / "x.safetensors"
    save_artefact(path, TENSORS, META)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(DamagedArtefact, match="cannot be read"):
        load_artefact(path)
    tensors, meta = cached(path, lambda: (TENSORS, META))
    assert meta == META
    assert torch.equal(tensors["x"], TENSORS["x"])
    assert "rebuilding it" in capsys.readouterr().err
    flipped = bytearray(content)
    flipped[-1] ^= 1
    path.write_bytes(bytes(flipped))
    with pytest.raises(DamagedArtefact, match="wrong digest"):
        load_artefact(path)


def test_what_is_missing_counts_as_damaged(remote: Path) -> None:
    remote.mkdir(parents=True, exist_ok=True)
    for path in (remote / "missing", remote):
        with pytest.raises(DamagedArtefact, match="cannot be read"):
            load_artefact(path)


@pytest.mark.parametrize("error", [OSError("Connection reset"), TypeError("of botocore\nodd")])
def test_a_storage_that_does_not_answer_says_nothing_about_the_file(
    error: Exception, machine: Machine, remote: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No checkpoint is thrown away, no trial has failed: the study stops and can go on."""
    job, places = Job("search", 0, 1, config()), Places(remote / "trials")
    running = run_job(job, machine, places)
    next(running)
    path = trial_path(places.own, job.config)
    content = path.read_bytes()

    def gone(*_: Any) -> bytes:
        raise error

    for method in ("read_bytes", "write_bytes"):
        with monkeypatch.context() as patch:
            patch.setattr(type(remote), method, gone)
            *_, last = attempt(job, machine, places)
            assert isinstance(last, Aborted)
            assert str(error).splitlines()[0] in last.reason
            assert "\n" not in last.reason
    assert path.read_bytes() == content


@pytest.mark.parametrize("phase", ["search", "confirm"])
def test_a_job_goes_on_from_a_remote_checkpoint(
    phase: str, machine: Machine, remote: Path, tmp_path: Path
) -> None:
    """Stopped at any record, to the same records as on a disk; once ended, it is only read."""
    job = Job(phase, 0, 1, config())
    local = Machine(data_dir=machine.data_dir, cache_dir=tmp_path / "cache", threads=1)
    write_features(local.cache_dir)
    whole = plain(list(run_job(job, local, Places(tmp_path / "trials"))))
    for count in range(1, len(whole)):
        places = Places(remote / f"stopped-{count}", remote / f"shared-{count}")
        partly = run_job(job, machine, places)
        for _ in range(count):
            next(partly)
        partly.close()  # type: ignore[attr-defined]
        assert len(known_records(places.own, job)) == count
        last = list(run_job(job, machine, pickle.loads(pickle.dumps(places))))
        assert plain(last) == whole
        name = ended_path(places.own, job).name
        assert files(places.own) == files(places.shared or remote) == [name]
        assert list(run_job(job, machine, Places(remote / f"other-{count}", places.shared))) == last


def test_damage_to_remote_records_is_made_good(machine: Machine, remote: Path) -> None:
    job, places = Job("search", 0, 1, config()), Places(remote / "trials")
    first = list(run_job(job, machine, places))
    path = ended_path(places.own, job)
    path.write_bytes(path.read_bytes()[:-7])
    assert plain(list(run_job(job, machine, places))) == plain(first)
    assert len(known_records(places.own, job)) == len(first)


S3_STUDY = """
import sys
from fl_core.base.cache import load_artefact, save_artefact
from fl_core.base.locations import check_writable, location
place = location(sys.argv[1])
check_writable(place)
if sys.argv[2] == "save":
    save_artefact(place / "x.safetensors", {}, {"round": 3})
else:
    print(load_artefact(place / "x.safetensors")[1]["round"], (place / "y").exists())
"""


def test_an_object_store_between_processes(tmp_path: Path) -> None:
    """S3 as moto imitates it; skipped without `pip install moto[server] s3fs`."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        env = {**os.environ, "AWS_ENDPOINT_URL": f"http://{host}:{port}",
               "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b",
               "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip

        def run(*argv: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-c", S3_STUDY, *argv]
            return subprocess.run(command, env=env, capture_output=True, text=True, check=False)

        make = "import s3fs; s3fs.S3FileSystem().mkdir('bucket')"
        subprocess.run([sys.executable, "-c", make], env=env, check=True)
        assert run("s3://bucket/a", "save").returncode == 0
        assert run("s3://bucket/a", "load").stdout == "3 False\n"
        missing = run("s3://buckte/a", "save")
        assert "--storage s3://buckte/a: cannot be used" in missing.stderr
        assert "bucket does not exist" in missing.stderr
    finally:
        server.stop()
