"""The machine that a study is told of: devices, workers, weights; doctor and study refuse alike."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fl_core.base.errors import UserError
from fl_core.base.machine import Machine
from fl_core.doctor import __main__ as doctor
from fl_core.doctor.__main__ import CHECKS
from fl_core.doctor.software import Where
from fl_core.models import features
from fl_core.models.weights import file_sha256
from fl_core.study import ui
from fl_core.study.resources import MOST_WORKERS, device_of, machine_of
from fl_core.study.workers.shares import workers_of


def gpus(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


def test_a_device_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    for wanted in ("cpu", "cuda", "cuda:0", "cuda:1"):
        assert device_of(wanted) == wanted
    assert device_of("auto") == "cuda"
    with pytest.raises(UserError, match=r"--device cuda:99: is not there; .* cuda:0 to cuda:1"):
        device_of("cuda:99")
    gpus(monkeypatch, 1)
    with pytest.raises(UserError, match=r"--device cuda:1: is not there; .* cuda:0 alone"):
        device_of("cuda:1")
    gpus(monkeypatch, 0)
    assert device_of("auto") == "cpu"
    with pytest.raises(UserError, match=r"--device cuda:0: this machine has no usable GPU"):
        device_of("cuda:0")


def test_the_doctor_refuses_the_devices_that_a_study_refuses(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        doctor.main(["--device", "cpu:abc"])
    assert stop.value.code == 2
    assert "cpu:abc is not allowed" in capsys.readouterr().err
    gpus(monkeypatch, 1)
    monkeypatch.setattr(torch, "ones", lambda *_, **__: torch.full((8,), 1.0))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (9e9, 9e9))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "one")
    check = next(check for check in CHECKS if check.name == "check_device")
    found = list(check.run(Where(device="cuda:99")))[-1]
    assert found.level == "problem"
    assert "--device cuda:99: is not there" in found.text


def options(**given: Any) -> argparse.Namespace:
    none = {"workers": None, "serial": False, "replay": None, "ray_address": None, "device": "cpu",
            "gpus_per_trial": 1.0, "data_dir": None, "cache_dir": None, "storage": None,
            "weights": None}  # fmt: skip
    return argparse.Namespace(**{**none, **given})


def test_how_many_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = len(os.sched_getaffinity(0))
    assert workers_of(options(workers=MOST_WORKERS), Machine(), [], dict).slots == cores
    for given in ({}, {"ray_address": "auto"}, {"serial": True}):
        with pytest.raises(
            UserError, match=f"--workers 1000000000: must be at most {MOST_WORKERS}"
        ):
            machine_of(options(workers=10**9, **given))
    gpus(monkeypatch, 2)
    assert workers_of(options(), Machine("cuda:0"), [], dict).gpus == 1
    assert machine_of(options(serial=True, device="cuda:1")).device == "cuda:1"
    assert machine_of(options(device="cuda:0")).device == "cuda:0"
    with pytest.raises(UserError, match=r"--device cuda:1: .* CUDA_VISIBLE_DEVICES=1 and --device"):
        machine_of(options(device="cuda:1"))


def test_a_pipe_is_no_file_of_weights(tmp_path: Path) -> None:
    """Reading it would wait for somebody to write: no process may be left doing so."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(UserError, match=r"--weights .*: cannot be read \(not a file\)"):
            file_sha256(path)


@pytest.mark.parametrize(
    ("main", "argv", "words"),
    [
        (features.main, ["--weights", "/nope"], "--weights /nope: cannot be read (No such file"),
        (features.main, ["--device", "cpu:abc"], "--device: invalid choice: 'cpu:abc'"),
        (features.main, ["--wieghts", "x"], "unrecognized arguments: --wieghts"),
        (ui.main, ["--port", "99999"], "99999 is not allowed: must be in [1, 65535]"),
        (ui.main, ["--port", "0"], "0 is not allowed"),
        (ui.main, ["--port", "x"], "x is not a whole number"),
        (ui.main, ["--prot", "5000"], "--prot: no such option; did you mean --port?"),
        (ui.main, ["--store", ""], "--store"),
    ],
)
def test_a_mistake_is_one_line(
    main: Callable[[list[str]], object],
    argv: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
