"""Contract 8 for what clients keep: SIGKILL at any file operation, and on to the same bits.

Real processes, forked from one that has everything imported, so that hundreds of them are cheap.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from toy import config, machine_of, plain, write_features

from fl_core.base.cache import load_artefact
from fl_core.checkpoint import clients_path, trial_path
from fl_core.config.trial_config import TrialConfig
from fl_core.federated import memory
from fl_core.trial import run_trial

pytestmark = pytest.mark.soak

SCAFFOLD = {
    "local__rule": "scaffold", "rounds": 4, "eval_every": 2, "federation__clients": 6,
    "federation__participation": 0.5,
}  # fmt: skip
#: What changes the files of a trial, as Python announces it: just before. A new file is written
#: under another name (until its chmod), then it gets its own.
OPERATIONS = ("os.chmod", "os.rename", "os.remove")


def trial(root: Path, folder: Path, moment: int, limit: int, settings: dict[str, Any]) -> None:
    """A whole trial, in a process of its own; killed before its file operation number `moment`."""
    memory.LIMIT = limit
    left = moment

    def strike(event: str, args: tuple[Any, ...]) -> None:
        nonlocal left
        if event in OPERATIONS and str(args[0]).startswith(str(folder)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(strike)
    for _ in run_trial(config(**settings), machine_of(root), folder):
        pass


def start(*args: Any) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fl_core.trial"])
    process = context.Process(target=trial, args=args)
    process.start()
    return process


def ended(process: BaseProcess) -> int:
    process.join(120)
    code = process.exitcode
    process.kill()
    assert code in (0, -signal.SIGKILL), code
    return code


def everything(folder: Path, cfg: TrialConfig) -> tuple[Any, ...]:
    """The records, the state's tensors and values, the clients' tensors: to the last bit."""
    path = trial_path(folder, cfg)
    tensors, meta = load_artefact(path)
    references = meta["state"].pop("clients")
    totals = meta["state"].pop("totals")
    own = clients_path(path)
    # a kill's left-overs go with the next checkpoint, or with all that the ended trial keeps
    assert {name for _, name, _ in references} <= {file.name for file in own.iterdir()}
    clients = memory.ClientMemory.load(references, own, "cpu")
    kept = {
        client: {name: tensor.numpy().tobytes() for name, tensor in clients.of(client).items()}
        for client in clients.clients()
    }
    counts = {name: value for name, value in totals.items() if not name.startswith("seconds")}
    state = {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}
    return plain(meta["records"]), state, json.dumps([meta["state"], counts]), kept


@pytest.fixture
def whole(tmp_path: Path) -> tuple[TrialConfig, tuple[Any, ...]]:
    """The uninterrupted trial, which keeps all its clients in memory."""
    write_features(machine_of(tmp_path).cache_dir)
    cfg, folder = config(**SCAFFOLD), tmp_path / "whole"
    assert ended(start(tmp_path, folder, 0, 2**30, SCAFFOLD)) == 0
    found = everything(folder, cfg)
    assert len(found[-1]) == 6  # clients that took part
    return cfg, found


def assert_goes_on(folder: Path, cfg: TrialConfig, wanted: tuple[Any, ...]) -> None:
    """The checkpoint of a killed trial is whole, if it has one: no round is computed again."""
    if trial_path(folder, cfg).exists():
        records = everything(folder, cfg)[0]
        assert records == wanted[0][: len(records)]


def test_killed_before_any_file_operation(
    whole: tuple[TrialConfig, tuple[Any, ...]], tmp_path: Path
) -> None:
    """While entries are spilled, while a checkpoint is written, while old files are removed; then
    once more while it goes on. Everything lies on disk alone.
    """
    cfg, wanted = whole
    moment, killed_on_its_way = 0, 0
    while True:
        moment += 1
        folder = tmp_path / f"killed-{moment}"
        if ended(start(tmp_path, folder, moment, 0, SCAFFOLD)) == 0:
            break
        assert_goes_on(folder, cfg, wanted)
        killed_on_its_way += ended(start(tmp_path, folder, 1 + moment % 11, 0, SCAFFOLD)) != 0
        assert ended(start(tmp_path, folder, 0, 0, SCAFFOLD)) == 0
        assert everything(folder, cfg) == wanted
    assert moment > 30
    assert killed_on_its_way > moment / 2


def test_killed_at_any_time_again_and_again(
    whole: tuple[TrialConfig, tuple[Any, ...]], tmp_path: Path
) -> None:
    """Not only between two operations: within one, too."""
    cfg, wanted = whole
    rng = random.Random(0)
    for turn in range(5):
        folder, kills = tmp_path / f"killed-{turn}", 0
        while True:
            process = start(tmp_path, folder, 0, 0, SCAFFOLD)
            process.join(0.1 * rng.random() * (kills + 1))  # whatever the machine's speed
            process.kill()
            if ended(process) == 0:
                break
            kills += 1
            assert_goes_on(folder, cfg, wanted)
        assert everything(folder, cfg) == wanted
