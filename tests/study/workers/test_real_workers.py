"""Ray's processes of a running study: who may speak to them, how they end, what they tell."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from faults.place import Place
from faults.running import Running
from faults.strikes import IN_SEARCH

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("interruptible")]

#: What a stranger on the network does who finds the port.
STRANGER = """
import sys, ray
try:
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
    print("ran", ray.get(ray.remote(lambda: 42).remote(), timeout=20))
except BaseException as error:
    print("refused", type(error).__name__)
"""
ENVIRONMENTS: list[dict[str, str]] = [
    {},
    {"RAY_AUTH_MODE": "disabled"},
    {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
]
#: Of each kind of Ray's servers one call that runs code or gives it away.
CALLS = ("CoreWorkerService/PushTask", "NodeManagerService/RequestWorkerLease",
         "ObjectManagerService/Push", "InternalKVGcsService/InternalKVGet")  # fmt: skip
UNAUTHENTICATED, UNKNOWN_CALL = "16", "12"


def is_there(study: Running, name: str) -> bool:
    for process in study.family():
        with suppress(psutil.NoSuchProcess):  # Ray starts some that end at once
            if process.name() == name:
                return True
    return False


def ports(process: psutil.Process) -> list[tuple[str, int]]:
    found = [c.laddr for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return [("127.0.0.1" if a.ip in ("::", "0.0.0.0") else a.ip, a.port) for a in found]


def answer(host: str, port: int, call: str) -> str:
    """The status that a call without a token gets; nothing where none is sent."""
    command = ["curl", "-s", "-m", "5", "-i", "--http2-prior-knowledge", "-X", "POST", "-H",
               "content-type: application/grpc", "-H", "te: trailers", "--data-binary", "@-",
               f"http://{host}:{port}/ray.rpc.{call}"]  # fmt: skip
    said = subprocess.run(command, input=bytes(5), capture_output=True, check=False).stdout.decode()
    lines = [line.partition(": ")[2] for line in said.splitlines() if "grpc-status:" in line]
    return lines[-1].strip() if lines else ""


def refuse_strangers(study: Running, home: Path) -> None:
    """From a bare environment, through every port."""
    gcs = study.named("gcs_server")
    ((host, port), *_) = ports(gcs)
    strangers = [
        subprocess.Popen(
            [sys.executable, "-c", STRANGER, f"{host}:{port}"],
            env={"HOME": str(home), "PATH": os.environ["PATH"], **environment},
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for environment in ENVIRONMENTS
    ]  # fmt: skip
    if shutil.which("curl"):
        refused = 0
        for process in study.family():
            for where in ports(process):
                statuses = [answer(*where, call) for call in CALLS]
                assert set(statuses) <= {UNAUTHENTICATED, UNKNOWN_CALL, ""}, (process, statuses)
                refused += UNAUTHENTICATED in statuses
        assert refused >= 3  # the head, the raylet, a worker at least
    for stranger in strangers:
        said, _ = stranger.communicate(timeout=120)
        assert said.startswith("refused "), said


def keep_the_secret(study: Running, place: Place, home: Path) -> Path:
    """The token is in the environment of the study's processes and nowhere else. Ray's folder."""
    token = study.named("gcs_server").environ()["RAY_AUTH_TOKEN"].encode()
    assert len(token) == 64
    for process in psutil.process_iter():
        try:
            assert token.decode() not in " ".join(process.cmdline())
        except psutil.Error:
            continue
    (name,) = set(re.findall(r"/tmp/fl-ray-\w+", " ".join(study.named("gcs_server").cmdline())))
    folder = Path(name)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = [p for base in (place.folder, home, folder) for p in base.rglob("*") if p.is_file()]
    assert len(files) > 20
    assert not [path for path in files if token in path.read_bytes()]
    return folder


def test_strangers_are_refused_and_a_batch_system_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGTERM to the whole group, as `timeout` and batch systems send it: as Ctrl-C, no orphans."""
    place, home = Place.at(tmp_path), tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # of the user's, for a cluster
    (place.scratch / "fl-ray-foo-bar").mkdir(parents=True)  # anybody's
    place.events.hold(*IN_SEARCH)
    with place.start() as study:
        study.wait_held()
        refuse_strangers(study, tmp_path / "home")
        folder = keep_the_secret(study, place, home)
        place.events.release()
        os.killpg(study.process.pid, signal.SIGTERM)
        ended = study.end(60)
        study.assert_gone(5)
    assert ended.code == 128 + signal.SIGTERM, ended
    assert ended.errors.strip().endswith("the same command goes on from here")
    assert "Traceback" not in ended.errors
    assert [path.name for path in place.scratch.iterdir()] == ["fl-ray-foo-bar"]
    assert not folder.exists()
    assert not list(home.rglob("auth_token"))


def test_stopped_while_ray_starts(tmp_path: Path) -> None:
    """Nothing is half started: the signal waits until Ray can be ended."""
    place = Place.at(tmp_path)
    with place.start() as study:
        study.wait_for(lambda: is_there(study, "gcs_server"))
        study.process.terminate()
        ended = study.end(60)
        study.assert_gone(5)
    assert ended.code == 128 + signal.SIGTERM, ended
    assert "Traceback" not in ended.errors
    assert not list(place.scratch.iterdir())


RULES = """
import os, signal


class Odd(Exception):
    def __init__(self, what, why):
        super().__init__(f"{what}: {why}")
        self.file = open(os.devnull)


def odd(updates, start, config):
    raise Odd("my rule", "an error that cannot be pickled")


def crashes(updates, start, config):
    os.kill(os.getpid(), signal.SIGSEGV)
"""
STUDY = '''
"""What fails, and how is it told?"""

from fl_core.study.command import main
from fl_core.study.presets import Preset
from fl_core.study.study import Study

STUDY = Study(
    name="failing", question=__doc__, base={"federation.clients": 20},
    arms=[{"aggregate.rule": f"my_rules:{rule}"} for rule in ("odd", "crashes")],
    space=lambda trial: {"local.lr": trial.suggest_float("local.lr", 0.1, 1.0)},
    presets={"embedded": Preset("short", budget=16, eval_steps=8, trials=1, seeds=1)},
)
if __name__ == "__main__":
    main(STUDY)
'''


def test_why_trials_failed_is_told(tmp_path: Path) -> None:
    """Under Ray as in one process: kind, message and traceback; of a dead worker its last line."""
    (tmp_path / "my_rules.py").write_text(RULES)
    file = tmp_path / "failing.py"
    file.write_text(STUDY)
    place = Place.at(tmp_path / "place", options=("--workers", "2", "--no-neighbours"))
    place = Place(place.folder, place.out, place.cache, place.uri, file, place.options)
    started = time.monotonic()
    with place.start() as study:
        ended = study.end()
    assert ended.code == 2, ended
    assert "my_rules.Odd: my rule: an error that cannot be pickled" in ended.printed
    assert "its worker died: Segmentation fault" in ended.printed + ended.errors
    log = (place.out / "failures.log").read_text()
    for words in ("Traceback (most recent call last)", "in odd", "my_rules.py", "in crashes"):
        assert words in log
    assert "Traceback" not in ended.errors
    assert time.monotonic() - started < 280


def test_a_program_that_has_imported_ray_may_run_a_study() -> None:
    """Ray reads its variables at that moment, and the study's token mode comes later."""
    code = (
        "import ray\n"
        "from fl_core.study import environment\n"
        "environment.before_ray()\n"
        "from fl_core.study.workers.ray_instance import ray_session\n"
        "with ray_session(cpus=1) as instance:\n"
        "    instance.ready()\n"
        "    print(ray.get(ray.remote(lambda: 42).remote()))\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith("42"), done.stderr
