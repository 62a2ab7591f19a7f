"""What can be wrong with a Ray cluster, said before a study runs on it.

Ray itself would wait for minutes, or for ever, or fail one trial after the other.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from fl_core.base.errors import UserError
from fl_core.base.locations import make_folder
from fl_core.study.jobs import Workers

PATIENCE = 300  # seconds for a machine to start a worker: a busy one is slow


def within_one_machine(workers: Workers) -> Callable[[dict[str, Any]], dict[str, float]]:
    """`Workers.of`, where a job alone asks for no more than the largest node has."""
    most = max(node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"])

    def of(config: dict[str, Any]) -> dict[str, float]:
        need = workers.of(config)
        return {**need, "cpu": min(need["cpu"], most)}

    return of


def _software() -> dict[str, str]:
    """What must be the same on all nodes, for a trial to end the same wherever it runs."""
    source = hashlib.sha256()
    for path in sorted(Path(__file__).parents[2].rglob("*.py")):
        source.update(path.read_bytes())
    versions = {name: metadata.version(name).partition("+")[0] for name in ("torch", "numpy")}
    return {**versions, "fl_core": source.hexdigest()[:12]}


def _look(probe: Path) -> tuple[dict[str, str], bool]:
    """On a node: its software, and whether it sees a file of the driver's."""
    return _software(), probe.exists()


def check_cluster(folder: Path, workers: Workers) -> None:
    """UserError where no trial can run, ever, or not to the same results on all nodes that are
    there now. Of one machine alone nothing can be wrong.
    """
    need = workers.of({"job": '{"alone": false}'})
    nodes = [node for node in ray.nodes() if node["Alive"]]
    able = [n for n in nodes if all(n["Resources"].get(k.upper(), 0) >= v for k, v in need.items())]
    if not able:
        raise UserError(
            f"--ray-address: a trial needs {need['cpu']:g} CPUs and {need['gpu']:g} GPUs, and none "
            f"of the cluster's {len(nodes)} machines has them (one that starts later does not "
            "count: keep one up, min_workers: 1)"
        )
    if len(nodes) > 1:
        _check_nodes(able, folder)


def _check_nodes(nodes: list[dict[str, Any]], folder: Path) -> None:
    """Look at every node. One that does not see the study's files gets a warning: a trial that
    moves there starts again from nothing.
    """
    probe, ours = folder / f".nodes-{socket.gethostname()}-{os.getpid()}", _software()
    make_folder(folder)
    probe.write_bytes(b"")
    look = ray.remote(_look)
    answers = []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
        answers.append((node["NodeManagerAddress"], look.options(**options).remote(probe)))
    try:
        for name, answer in answers:
            theirs, sees = ray.get(answer, timeout=PATIENCE)
            for package in [p for p in ours if theirs[p] != ours[p]]:
                raise UserError(
                    f"node {name} has {package} {theirs[package]}, this machine {ours[package]}: "
                    "every node needs the same environment"
                )
            if not sees:
                print(
                    f"warning: node {name} does not see {folder}: give --storage a path or URL "
                    "that all nodes share",
                    file=sys.stderr,
                )
    except ray.exceptions.RayError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(
            f"node {name} cannot run trials: {reason}; every node needs the same environment"
        ) from error
    finally:
        probe.unlink()
