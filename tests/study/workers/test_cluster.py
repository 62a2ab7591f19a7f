"""A study on a Ray cluster: three nodes on this machine, with folders and sockets of their own.

The nodes don't see the driver's folders where the tests may mount (`unshare`), so what a study
needs must really pass through `--storage`. One node is killed in mid-study, as by a power cut.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from faults import expect
from faults.place import ROUNDS, SEEDS, TRIALS, Place
from faults.running import Running
from toy import plain

from fl_core.base.errors import UserError
from fl_core.base.locations import location
from fl_core.config.record import Record
from fl_core.study.jobs import Workers
from fl_core.study.workers import cluster, ray_instance

pytestmark = [pytest.mark.soak, pytest.mark.usefixtures("interruptible")]

PATIENCE = 300.0
IN_SEARCH = ROUNDS + ROUNDS // 2  # not the first round of two trials at once
STARTED = "will now block forever"  # ray start, when its node is part of the cluster
OPTIONS = ["--searcher", "random"]  # what is tried does not depend on what ends first


def free_port() -> int:
    """Above 32768: Ray gives ports from 10002 to 19999 to its workers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def may_mount() -> bool:
    try:
        done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    except OSError:
        return False
    return done.returncode == 0


@dataclass
class Nodes:
    """`ray start`, once a node, each in a folder of its own and unable to see those of `place`."""

    folder: Path  # short: the paths of Ray's sockets have at most 107 characters
    place: Place
    port: int = field(default_factory=free_port)
    processes: dict[str, psutil.Popen] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self, name: str, *options: str) -> None:
        own = self.folder / name
        own.mkdir()
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block",
                   "--disable-usage-stats", "--temp-dir", str(own), "--object-store-memory",
                   "100000000", "--min-worker-port", "0", "--max-worker-port", "0",
                   "--dashboard-agent-listen-port", "0", *options]  # fmt: skip
        if may_mount():
            hidden = (self.place.out, self.place.scratch)
            for path in hidden:
                path.mkdir(exist_ok=True)
            hide = " && ".join(f"mount -t tmpfs none '{path}'" for path in hidden)
            command = ["unshare", "--mount", "sh", "-c", f'{hide} && exec "$@"', "sh", *command]
        env = {**os.environ, **self.place.events.environment}  # with a token (conftest)
        with self.log(name).open("w") as log:
            self.processes[name] = psutil.Popen(
                command, cwd=own, env=env, stdout=log, stderr=log, start_new_session=True
            )

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def wait(self) -> None:
        """Until all nodes have joined."""
        deadline = time.monotonic() + PATIENCE
        for name, process in self.processes.items():
            while STARTED not in (said := self.log(name).read_text()):
                assert process.is_running(), said
                assert process.status() != psutil.STATUS_ZOMBIE, said
                assert time.monotonic() < deadline, said
                time.sleep(0.1)

    def of(self, pid: int) -> str:
        """The node on which a process runs."""
        above = {process.pid for process in psutil.Process(pid).parents()}
        (name,) = (name for name, process in self.processes.items() if process.pid in above)
        return name

    def kill(self, name: str) -> None:
        """All processes of a node at once."""
        node = self.processes.pop(name)
        with suppress(psutil.NoSuchProcess):
            for process in [node, *node.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        node.wait()


@contextmanager
def started(place: Place) -> Iterator[Nodes]:
    """A head that runs no trials, and two nodes with one core each."""
    folder = Path(tempfile.mkdtemp(prefix="fl-", dir="/tmp"))
    nodes = Nodes(folder, place)
    try:
        nodes.start("head", "--head", "--port", str(nodes.port), "--num-cpus", "0",
                    "--include-dashboard", "false")  # fmt: skip
        for name in ("a", "b"):
            nodes.start(name, "--address", nodes.address, "--num-cpus", "1")
        nodes.wait()
        yield nodes
    finally:
        for name in list(nodes.processes):
            nodes.kill(name)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Place, Running]]:
    """The same study in one process; it runs while the cluster starts."""
    place = Place.at(tmp_path_factory.mktemp("reference"))
    with place.start("--serial", *OPTIONS) as study:
        yield place, study


@pytest.fixture(scope="module")
def nodes(
    reference: tuple[Place, Running], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    place = Place.at(tmp_path_factory.mktemp("driver"))
    with started(place) as nodes:
        yield nodes


def curves(folder: Path) -> dict[str, list[Record]]:
    """What the files of trials tell, by name, without what may differ from run to run."""
    from fl_core.base.cache import load_artefact

    files = {path.name: load_artefact(path, "none")[1] for path in folder.iterdir()}
    return {name: plain(meta["records"]) for name, meta in files.items()}


def test_what_cannot_work_is_one_line(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Rather than a study that waits for ever, or whose results depend on the node."""
    one_core = Workers(2, 1.0, 0.0)
    with ray_instance.ray_session(nodes.address):
        cluster.check_cluster(tmp_path, one_core)
        assert "warning" not in capfd.readouterr().err
        assert list(tmp_path.iterdir()) == []
        cluster.check_cluster(location("memory://seen/by/one/process"), one_core)
        said = capfd.readouterr().err
        assert said.count("does not see memory://seen/by/one/process: give --storage") == 2
        for workers in (Workers(1, 2.0, 0.0), Workers(1, 1.0, 0.5)):
            with pytest.raises(UserError, match="none of the cluster's 3 machines has them"):
                cluster.check_cluster(tmp_path, workers)
        # out of memory beside others: alone on its node, not on as many cores as there are trials
        ask = cluster.within_one_machine(one_core)
        assert ask({"job": '{"alone": true}'}) == {"cpu": 1.0, "gpu": 0.0}
        ours = {**cluster._software(), "torch": "1.0"}
        monkeypatch.setattr(cluster, "_software", lambda: ours)
        with pytest.raises(UserError, match=r"^node \S+ has torch \S+, this machine 1\.0: every"):
            cluster.check_cluster(tmp_path, one_core)


def test_a_cluster_refuses_who_has_another_token(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0" * 64)
    place = Place.at(tmp_path)
    with place.start("--ray-address", nodes.address) as study:
        ended = study.end()
    ended.assert_refused("--ray-address", "Failed to connect", "RAY_AUTH_TOKEN")
    assert len(ended.errors.splitlines()) == 1, ended


def test_a_node_is_killed_in_mid_study(
    nodes: Nodes, reference: tuple[Place, Running], tmp_path: Path
) -> None:
    """The study goes on by itself on the other node, from the checkpoint, to the same results."""
    place, storage = nodes.place, tmp_path / "storage"
    place.events.hold("round", IN_SEARCH)
    where = ["--ray-address", nodes.address, "--storage", str(storage), "--workers", "2"]
    with place.start(*where, *OPTIONS) as study:
        study.wait_for(lambda: len({e.pid for e in place.events.all("held")}) == 2)
        (trials,) = (storage / "fedavg_iid").glob("trials*")  # this search's own
        victim = max(place.events.all("held"), key=lambda event: event.number)
        assert victim.number > 0
        checkpoint = f"{victim.digest}.safetensors"
        assert len(curves(trials)[checkpoint]) == victim.number
        assert sorted(nodes.of(e.pid) for e in place.events.all("held")) == ["a", "b"]
        nodes.kill(nodes.of(victim.pid))
        mark = place.events.mark()
        place.events.release()
        ended = study.end()
    assert ended.code == 0, ended
    assert "Traceback" not in ended.errors, ended
    assert not (place.out / "failures.log").exists()
    again = [number for digest, number in place.events.rounds(mark) if digest == victim.digest]
    assert again == list(range(victim.number, ROUNDS)), "it did not go on from its checkpoint"
    expect.economical(place, lost=1)
    expect.whole_store(place.runs())
    serially, study = reference
    assert study.end().code == 0
    wanted = curves(serially.out / "trials")
    assert len(wanted) == TRIALS + SEEDS
    assert curves(trials) == wanted
    assert place.table() == serially.table()
    assert list((storage / "artefacts" / "trials").iterdir())
    assert not list((place.out / "trials").iterdir())


def test_a_head_that_dies_ends_the_study(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would end the process after a minute, without a word to the store."""
    with socket.create_server(("127.0.0.1", 0)) as head:
        context = SimpleNamespace(gcs_address=f"127.0.0.1:{head.getsockname()[1]}")
        monkeypatch.setattr(ray_instance.ray, "get_runtime_context", lambda: context)
        monkeypatch.setattr(ray_instance, "SILENCE", 0.5)
        conductor: Any = SimpleNamespace(aborted=None)

        def study() -> None:
            with ray_instance.watched(conductor):
                time.sleep(2)
                assert conductor.aborted is None
                head.close()
                for _ in range(600):  # one long sleep would not be interrupted
                    time.sleep(0.1)

        with pytest.raises(KeyboardInterrupt):
            study()
    assert "does not answer any more" in conductor.aborted


def test_a_dead_head_ends_the_command(tmp_path: Path) -> None:
    place = Place.at(tmp_path)
    with place.start("--ray-address", f"127.0.0.1:{free_port()}") as study:
        study.end().assert_refused("--ray-address", "no Ray head answers there")
