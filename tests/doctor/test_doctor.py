"""The doctor finds what is broken, says so in one line, and never breaks itself."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from fl_core.base import host
from fl_core.doctor import __main__ as doctor
from fl_core.doctor import places as check_places
from fl_core.doctor import software as checks
from fl_core.doctor.__main__ import CHECKS, Check, Runner
from fl_core.doctor.software import Finding, Where
from fl_core.models import features

ROOT = Path(__file__).parents[2]
MIB = 2**20


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, without this machine's settings."""
    monkeypatch.chdir(tmp_path)
    for name in ("FL_DATA_DIR", "FL_CACHE_DIR", "MLFLOW_TRACKING_URI", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.setenv(name, "0")  # given back after the test


def found(name: str, where: Where | None = None) -> list[Finding]:
    """What a check says, in this process."""
    check = next(check for check in CHECKS if check.name == name)
    findings = list(check.run(where or Where()))
    assert all("\n" not in f.text and len(f.text) < 400 for f in findings)
    assert all(f.level in doctor.COLOURS for f in findings)
    return findings


def only(name: str, where: Where | None = None) -> Finding:
    (finding,) = found(name, where)
    return finding


def dead_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def stub(folder: Path, name: str, text: str) -> None:
    """A package of this name that hides the real one."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(text)


def ran(
    check: str, folder: Path, patch: pytest.MonkeyPatch, where: Where | None = None, **changes: Any
) -> list[Finding]:
    """What a check's own process says, with these stubs in front of the real packages."""
    patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), str(ROOT)]))
    chosen = next(c for c in CHECKS if c.name == check)
    return Runner(where or Where()).findings(replace(chosen, **changes))


# --- broken packages ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("raise ImportError('libfoo.so.6: no such file\\nmore')", "ImportError: libfoo.so.6: no"),
        ("raise SystemError('x')", "SystemError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
        ("import time; print('noise', flush=True); time.sleep(600)", "no answer within 1 s"),
        ("import os; os._exit(5)", "ended with code 5"),
    ],
)
def test_a_broken_package_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    stub(tmp_path, "pandas", text)
    started = time.monotonic()
    patience = 1 if "no answer" in words else 30
    (finding,) = ran("check_tables", tmp_path, monkeypatch, seconds=patience)
    assert finding.level == "problem"
    assert words in finding.text
    assert "\n" not in finding.text
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("package", "check", "level"),
    [
        ("ray", "check_ray", "problem"),
        ("mlflow", "check_store", "problem"),
        ("torch", "check_device", "problem"),
        ("torchvision", "check_torchvision", "warning"),  # the default study reads features
    ],
)
def test_each_broken_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, check: str, level: str
) -> None:
    stub(tmp_path, package, "raise RuntimeError('half installed')")
    (finding,) = ran(check, tmp_path, monkeypatch)
    assert finding.level == level
    assert "half installed" in finding.text
    assert "set up again" in finding.text


def test_a_torchvision_of_another_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stub(tmp_path, "torchvision", "__version__ = '0.1'")
    (finding,) = ran("check_torchvision", tmp_path, monkeypatch)
    assert finding.level == "warning"
    assert "torchvision 0.1 do not belong together (no operator nms)" in finding.text


def test_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [f.level for f in found("check_versions")] == ["ok", "ok"]
    asked = {"torch": "torch>=2.6", "numpy": "numpy>=99", "nonesuch": "nonesuch"}
    monkeypatch.setattr(checks, "_requirements", lambda: asked)
    monkeypatch.setattr(checks, "PYTHON", ((3, 99), (3, 100)))
    python, missing, unfit = found("check_versions")
    assert (python.level, missing.level, unfit.level) == ("problem", "problem", "warning")
    assert "3.99 to 3.99" in python.text
    assert "nonesuch" in missing.text
    assert "numpy>=99" in unfit.text
    assert "torch" not in unfit.text


def test_requirements_without_an_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = checks._requirements()
    assert installed["ray"].startswith("ray[tune]")
    assert "pytest" not in installed
    monkeypatch.setattr(checks, "DISTRIBUTION", "no-such-distribution")
    assert checks._requirements().keys() == installed.keys()


# --- the machine ----------------------------------------------------------------------------------


def test_few_cores_and_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "cores", lambda: 16)
    monkeypatch.setattr(host, "core_quota", lambda: 2.5)
    monkeypatch.setattr(host, "available_memory", lambda: int(64e9))
    cores, memory = found("check_machine")
    assert (cores.level, memory.level) == ("warning", "ok")
    assert "--workers 2" in cores.text
    monkeypatch.setattr(host, "core_quota", lambda: None)
    monkeypatch.setattr(host, "available_memory", lambda: int(5e9))
    cores, memory = found("check_machine")
    assert (cores.level, memory.level) == ("ok", "warning")
    assert "--workers 4" in memory.text
    monkeypatch.setattr(host, "available_memory", lambda: int(5e8))
    assert "477 MiB available" in found("check_machine")[1].text


def test_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(checks, "_nvidia_smi", str)
    gpu, precision = found("check_device")
    assert (gpu.level, precision.level) == ("ok", "ok")
    assert "computes on the CPU" in gpu.text
    assert found("check_device", Where(device="cuda"))[0].level == "problem"
    monkeypatch.setattr(checks, "_nvidia_smi", lambda: "Tesla T4")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    seen = found("check_device")[0]
    assert seen.level == "warning"
    assert "Tesla T4: not used" in seen.text
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert found("check_device")[0].level == "ok"


def test_a_gpu_that_does_not_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    def ones(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA error: no kernel image is available for execution\nlong story")

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    monkeypatch.setattr(torch, "ones", ones)
    gpu, precision = found("check_device")
    assert gpu.level == "problem"
    assert "no kernel image" in gpu.text
    assert precision.text.startswith("bfloat16")
    assert found("check_device", Where(device="cpu"))[0].level == "warning"


# --- inputs ---------------------------------------------------------------------------------------


def test_embedded_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fine = only("check_features")
    assert fine.level == "ok"
    assert "60000 images" in fine.text
    (original,) = features.EMBEDDED.glob("*.safetensors")
    damaged = tmp_path / original.name
    content = bytearray(original.read_bytes())
    content[-1000] ^= 1  # one bit
    damaged.write_bytes(content)
    monkeypatch.setattr(features, "EMBEDDED", tmp_path)
    finding = only("check_features")
    assert finding.level == "problem"
    assert "wrong digest" in finding.text
    damaged.write_bytes(content[:1000])
    assert "cannot be read" in only("check_features").text
    damaged.unlink()
    assert "install the package again" in only("check_features").text


def test_missing_data_matters_where_it_was_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert only("check_data").level == "ok"
    finding = only("check_data", Where(data_dir="elsewhere"))
    assert finding.level == "warning"
    assert str(tmp_path / "elsewhere") in finding.text
    monkeypatch.setenv("FL_DATA_DIR", "/somewhere")
    assert "/somewhere" in only("check_data").text


def test_damaged_data(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "cifar-100-python"
    folder.mkdir(parents=True)
    finding = only("check_data")
    assert finding.level == "warning"
    assert "train: No such file" in finding.text
    for name in ("train", "test", "meta"):
        (folder / name).write_text("not CIFAR")
    finding = only("check_data")
    assert finding.level == "warning"
    assert f"{folder / 'train'}: wrong md5" in finding.text


@pytest.mark.images
def test_real_data(cifar_dir: Path) -> None:
    finding = only("check_data", Where(data_dir=str(cifar_dir)))
    assert finding.level == "ok"
    assert "md5 right" in finding.text


def test_weights(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    assert {f.level for f in found("check_weights")} == {"ok"}
    assert "cannot be read" in only("check_weights", Where(weights="none.safetensors")).text
    bad = tmp_path / "weights.pth"
    bad.write_bytes(b"\x80\x02pickle")
    finding = only("check_weights", Where(weights=str(bad)))
    assert "no readable safetensors file" in finding.text
    good = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(2)}, good)
    finding = only("check_weights", Where(weights=str(good)))
    assert finding.level == "ok"
    assert "sha256:" in finding.text


def test_weights_that_were_named_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (finding,) = ran("check_weights", tmp_path, monkeypatch, Where(weights="none"))
    assert finding.level == "problem"


# --- folders --------------------------------------------------------------------------------------


def test_folders(tmp_path: Path) -> None:
    findings = {f.what: f for f in found("check_folders")}
    assert findings["study"].level == "ok"
    assert findings["study"].text.startswith(str(tmp_path / "results"))
    assert list(tmp_path.iterdir()) == []  # a look leaves nothing behind
    (tmp_path / "file").touch()
    where = Where(out="file/out", cache_dir="/proc/cache")
    findings = {f.what: f for f in found("check_folders", where)}
    assert findings["study"].level == findings["cache"].level == "problem"
    assert "--out" in findings["study"].text
    assert "--cache-dir" in findings["cache"].text


def usage(total: float, free: float) -> Any:
    return shutil._ntuple_diskusage(total, total - free, free)  # type: ignore[attr-defined]


def test_full_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    def levels(total: float, free: float) -> dict[str, str]:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(total, free))
        return {f.what: f.level for f in found("check_folders")}

    assert levels(1e12, 5e11)["study"] == "ok"
    assert levels(1e12, 3e10)["temporary"] == "warning"  # 97 % full: Ray's limit
    assert levels(1e10, 1e9)["study"] == "warning"
    assert levels(1e10, 1e8)["study"] == "problem"
    if Path("/dev/shm").is_dir():
        assert levels(1e8, 6e7)["shared"] == "warning"


def test_a_lock_that_is_held(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "study"
    folder.mkdir(parents=True)
    assert only("check_lock").level == "ok"
    (folder / ".process").write_text("4711")
    with (folder / ".lock").open("w") as lock:
        assert only("check_lock").level == "ok"  # of a process that has ended
        fcntl.flock(lock, fcntl.LOCK_EX)
        finding = only("check_lock", Where(out="results/study"))
        assert finding.level == "problem"
        assert "process 4711" in finding.text
        assert only("check_lock").level == "warning"  # another study's folder
    assert only("check_lock", Where(out="results/study")).level == "ok"


# --- store and Ray --------------------------------------------------------------------------------


def store(uri: str | Path, quick: bool = False) -> Finding:
    text = f"sqlite:///{uri}" if isinstance(uri, Path) else uri
    return only("check_store", Where(tracking_uri=text, quick=quick))


def test_a_new_store_can_be_made_and_is_not(tmp_path: Path) -> None:
    finding = store(tmp_path / "m.db")
    assert finding.level == "ok", finding.text
    assert "can be made" in finding.text
    assert list(tmp_path.iterdir()) == []


def test_a_store_without_a_folder(tmp_path: Path) -> None:
    assert "does not exist" in store(tmp_path / "no" / "m.db").text
    (tmp_path / "file").touch()
    assert store(tmp_path / "file" / "m.db").level == "problem"
    assert store(tmp_path / "m.db", quick=True).level == "ok"


def test_a_store_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    path.write_text("this is no database, but long enough to look like one" * 100)
    finding = store(path)
    assert finding.level == "problem"
    assert "not a database" in finding.text
    with sqlite3.connect(tmp_path / "old.db") as old:
        old.execute("CREATE TABLE alembic_version (version_num TEXT)")
        old.execute("INSERT INTO alembic_version VALUES ('nonesuch')")
    old.close()
    finding = store(tmp_path / "old.db")
    assert finding.level == "problem"
    assert "old.db" in finding.text


def test_a_store_that_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.db"
    patient = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: patient(*a, **{**k, "timeout": 0.1}))
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("CREATE TABLE t (x)")
        other.execute("BEGIN EXCLUSIVE")
        finding = store(path)
        other.execute("ROLLBACK")
    other.close()
    assert finding.level == "problem"
    assert "locked" in finding.text


def test_a_store_that_a_study_would_repair(
    tmp_path: Path, store_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left by a kill while MLflow made it, and an empty file: neither is opened by MLflow here."""
    from fl_core.study.tracking import sqlite_store

    monkeypatch.setattr(sqlite_store, "_SETTLED", 0.0)
    whole = next(store_cache.glob("mlflow-*.db"))
    half, empty = tmp_path / "half.db", tmp_path / "empty.db"
    shutil.copy(whole, half)
    with sqlite3.connect(half) as store_file:
        store_file.execute("DELETE FROM experiments")
        store_file.execute("UPDATE alembic_version SET version_num = 'nonesuch'")
    store_file.close()
    empty.touch()
    before = half.read_bytes()
    finding = store(half)
    assert finding.level == "ok", finding.text
    assert "half made and holds no runs; the next study makes it again" in finding.text
    assert half.read_bytes() == before
    assert store(empty, quick=True).level == "ok"
    assert empty.stat().st_size == 0


def test_a_store_in_use(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path / 'm.db'}"
    client = MlflowClient(uri)
    client.create_experiment("mine")
    before = {e.name for e in client.search_experiments()}
    assert store(uri).level == "ok"
    assert {e.name for e in client.search_experiments()} == before


class _NotMLflow(BaseHTTPRequestHandler):
    """A server that knows nothing."""

    def do_GET(self) -> None:
        self.send_error(404)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def stranger() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), _NotMLflow)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_servers(stranger: int) -> None:
    started = time.monotonic()
    finding = store(f"http://127.0.0.1:{dead_port()}")
    assert finding.level == "problem"
    assert "no server answers" in finding.text
    finding = store(f"http://127.0.0.1:{stranger}")
    assert finding.level == "problem"
    assert "cannot be used" in finding.text
    assert store("file:./mlruns").level == "problem"
    assert time.monotonic() - started < 60


def test_a_ray_head_that_is_dead() -> None:
    started = time.monotonic()
    finding = only("check_ray", Where(ray_address=f"127.0.0.1:{dead_port()}"))
    assert finding.level == "problem"
    assert "no Ray head answers" in finding.text
    assert time.monotonic() - started < 20


# --- the report -----------------------------------------------------------------------------------


def report(monkeypatch: pytest.MonkeyPatch, *levels: str) -> int:
    findings = [Finding(level, "thing", f"is {level}\n  so do this") for level in levels]
    monkeypatch.setattr(doctor, "CHECKS", (Check("check_lock", "lock"),))
    monkeypatch.setattr(Runner, "findings", lambda self, check: findings)
    return doctor.main([])


def test_exit_codes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(monkeypatch, "ok", "ok") == 0
    assert "ready" in capsys.readouterr().out
    assert report(monkeypatch, "ok", "warning") == 0
    out = capsys.readouterr().out
    assert "warning  thing      is warning so do this\n" in out
    assert "\033" not in out  # no terminal
    assert report(monkeypatch, "warning", "problem") == 1
    assert "1 problem to solve" in capsys.readouterr().out


def test_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.delenv("NO_COLOR", raising=False)
    doctor.show(Finding("problem", "thing", "word " * 30))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("\033[31mproblem ")
    assert len(lines) > 3
    assert all(line.startswith(" " * 20 + "word") for line in lines[1:])


@pytest.mark.parametrize(
    "argv",
    [
        ["--quik"],
        ["--device", "tpu"],
        ["--out"],
        ["surplus"],
        ["--qui"],
        ["--out", ""],
        ["--weights", ""],
        ["--ray-address", " "],
        ["--data-dir", "x" * 300],
    ],
)
def test_bad_options(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        doctor.main(argv)
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_stopped_doctor_leaves_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its checks have sessions of their own: what ends it alone, as `timeout` does, ends them."""
    started: list[subprocess.Popen[bytes]] = []

    def findings(self: Runner, check: Check) -> list[Finding]:
        process = subprocess.Popen(["sleep", "600"], start_new_session=True)
        started.append(process)
        self.running.add(process)
        os.kill(os.getpid(), signal.SIGTERM)
        process.wait()
        return []

    monkeypatch.setattr(doctor, "CHECKS", (Check("check_lock", "lock"),))
    monkeypatch.setattr(Runner, "findings", findings)
    assert doctor.main([]) == 128 + signal.SIGTERM
    assert [process.poll() for process in started] == [-signal.SIGTERM]


def test_whatever_a_check_raises_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(where: Where) -> Iterator[Finding]:
        yield Finding("ok", "first", "fine")
        raise KeyError("a\nb")

    monkeypatch.setattr(checks, "check_machine", broken)
    fine, trouble = found("check_machine")
    assert fine.text == "fine"
    assert trouble == Finding("warning", "machine", "KeyError: 'a\\nb'")


def test_every_check_has_its_process(tmp_path: Path) -> None:
    names = {check.name for check in CHECKS}
    there = {name for module in (checks, check_places) for name in vars(module)}
    assert names == {name for name in there if name.startswith("check_")}
    command = [sys.executable, "-m", "fl_core.doctor", "--check", "check_lock"]
    done = subprocess.run(
        [*command, json.dumps(asdict(Where()))], capture_output=True, text=True, check=True
    )
    (line,) = done.stdout.splitlines()
    assert Finding(**json.loads(line)).level == "ok"


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fl_core.doctor", *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


@pytest.mark.soak
def test_the_whole_report(tmp_path: Path) -> None:
    done = run()
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""
    assert "ran a task" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("ready")
    assert list(tmp_path.iterdir()) == []


def test_the_whole_report_of_a_broken_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub(tmp_path / "stubs", "torchvision", "import os; os.abort()")
    stub(tmp_path / "stubs", "mlflow", "raise ImportError('gone')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stubs"))
    done = run("--quick", "--out", "/proc/out")
    assert done.returncode == 1
    assert done.stderr == ""
    assert "Traceback" not in done.stdout
    problems = [line for line in done.stdout.splitlines() if line.startswith("problem")]
    assert {line.split()[1] for line in problems} == {"study", "MLflow"}
    assert "crashed (SIGABRT)" in done.stdout
