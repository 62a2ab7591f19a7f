"""Every method through real checkpoints: killed after any evaluation, the same bits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from methods import METHODS, Method, Settings
from tiny import (
    MASKS,
    allowed,
    configured,
    content,
    federation,
    masks_of,
    results,
    rough,
    start,
    story,
)
from toy import config, machine_of, plain, write_features

from fl_core.base.cache import load_artefact, save_artefact
from fl_core.base.machine import Machine
from fl_core.checkpoint import clients_path, trial_path
from fl_core.config.trial_config import TrialConfig
from fl_core.federated.memory import ClientMemory
from fl_core.federated.state import State
from fl_core.models import features
from fl_core.trial import run_trial

every_method = pytest.mark.parametrize("method", METHODS, ids=str)
#: What the masks are made by here: no method has a say in it.
TRIAL: Settings = {
    "rounds": 5,
    "eval_every": 2,
    "mask.rule": "random",
    "mask.examples": 20,
}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    threads = torch.get_num_threads()
    machine = machine_of(tmp_path_factory.mktemp("conformance"))
    write_features(machine.cache_dir)
    yield machine
    torch.set_num_threads(threads)
    features.forget_features()


def trial_of(method: Method, masks: str) -> TrialConfig:
    cfg = rough(config().override({**TRIAL, **masks_of(method, masks), **method.values}))
    return allowed(cfg, keep="best")


def stored(folder: Path, cfg: TrialConfig) -> State:
    """What the checkpoint holds."""
    path = trial_path(folder, cfg)
    tensors, meta = load_artefact(path)
    return State.from_tensors(tensors, meta["state"], clients_path(path), "cpu")


@pytest.mark.parametrize("masks", [pytest.param("dense", marks=pytest.mark.soak), "senders"])
@every_method
def test_killed_after_every_evaluation(
    method: Method, masks: str, machine: Machine, tmp_path: Path
) -> None:
    cfg = trial_of(method, masks)
    whole = list(run_trial(cfg, machine, tmp_path / "whole"))
    assert [record["round"] for record in whole] == [2, 4, 5]
    for count in range(1, len(whole) + 1):
        partly = run_trial(cfg, machine, tmp_path / "killed")
        records = [next(partly) for _ in range(count)]
        partly.close()
    assert plain(records) == plain(whole)
    assert content(stored(tmp_path / "killed", cfg)) == content(stored(tmp_path / "whole", cfg))
    assert plain(list(run_trial(cfg, machine))) == plain(whole)  # and a folder changes nothing


@pytest.mark.parametrize("masks", ["dense", "senders"])
@every_method
def test_a_checkpoint_holds_all_of_a_state(method: Method, masks: str, tmp_path: Path) -> None:
    cfg = allowed(rough(configured(method, masks)), keep="best")
    fed = federation(cfg)
    folder, path = tmp_path / "clients", tmp_path / "state.safetensors"
    whole = results(cfg, fed, replace(start(fed), clients=ClientMemory.empty(folder)))
    for done, result in enumerate(whole, start=1):
        tensors, values = result.state.to_tensors()
        save_artefact(path, tensors, {"state": values})
        tensors, meta = load_artefact(path)
        loaded = State.from_tensors(tensors, meta["state"], folder, "cpu")
        assert content(loaded) == content(result.state)
        if done < cfg.rounds:
            assert story(results(cfg, fed, loaded)) == story(whole[done:])


#: As much state as there is: at the server, at the clients, in the masks.
EVERYTHING: Settings = {
    **TRIAL, **MASKS["senders"], "local.rule": "scaffold", "server.optimiser": "yogi",
    "server.lr": 0.01, "server.bias_correction": True, "schedule.name": "cosine",
    "local.unit": "epochs", "local.steps": 1, "keep": "best",
}  # fmt: skip

CHILD = """
import sys
from pathlib import Path
from test_checkpoints import EVERYTHING
from toy import config, machine_of
from fl_core.trial import run_trial
cfg = config().override(EVERYTHING)
records = run_trial(cfg, machine_of(Path(sys.argv[1])), Path(sys.argv[2]))
for _ in range(int(sys.argv[3])):
    next(records)
"""


def test_goes_on_in_another_process(machine: Machine, tmp_path: Path) -> None:
    cfg = config().override(EVERYTHING)
    root, folder = machine.cache_dir.parent, tmp_path / "there"
    whole = list(run_trial(cfg, machine, tmp_path / "here"))
    for count in (1, 2):
        subprocess.run(
            [sys.executable, "-c", CHILD, str(root), str(folder), str(count)], check=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                 "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        )  # fmt: skip
    assert stored(folder, cfg).round == 4
    assert plain(list(run_trial(cfg, machine, folder))) == plain(whole)
    assert content(stored(folder, cfg)) == content(stored(tmp_path / "here", cfg))
