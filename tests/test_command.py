"""Bad input ends with one clear line and exit code 2 before any process or download starts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from fl_core import command, features
from fl_core.config import Machine, TrialConfig, UserError
from fl_core.study import Study, arm_name, describe_space

ROOT = Path(__file__).parents[1]


def load_study(name: str) -> Study:
    """The STUDY of a file in studies/."""
    spec = importlib.util.spec_from_file_location(f"studies_{name}", ROOT / f"studies/{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    study = module.STUDY
    assert isinstance(study, Study)
    return study


def refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, *argv: str, study: str = "fedavg_iid"
) -> str:
    """The one line that these options end with."""
    defaults = ["--out", str(tmp_path / "out"), "--tracking-uri", f"sqlite:///{tmp_path}/m.db"]
    with pytest.raises(SystemExit) as stop:
        command.main(load_study(study), [*defaults, *argv])
    assert stop.value.code == 2
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    return lines[0]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--trails", "3"], ["--trails", "did you mean --trials"]),
        (["--preset", "papper"], ["papper", "embedded"]),
        (["--trials", "0"], ["--trials", "at least 1"]),
        (["--trials", "many"], ["--trials", "whole number"]),
        (["--seed", "-1"], ["--seed", "negative"]),
        (["--gpus-per-trial", "0.4"], ["--gpus-per-trial", "0.4", "1/n"]),
        (["--set", "federation.clints=10"], ["federation.clints", "federation.clients"]),
        (["--set", "local.lr"], ["local.lr", "NAME=VALUE"]),
        (["--set", "local.lr=.nan"], ["local.lr", "nan", "finite"]),
        (["--set", "local.lr=-1"], ["local.lr", "-1", "(0"]),
        (["--set", "local.lr=[1"], ["local.lr", "not readable"]),
        (["--set", "federation.participation=0"], ["participation", "(0, 1]"]),
        (["--set", "federation.participation=1.5"], ["participation", "(0, 1]"]),
        (["--set", "rounds=0"], ["rounds", "[1"]),
        (["--set", "federation.clients=60000"], ["federation.clients", "60000", "50000"]),
        (["--set", "federation.classes_per_client=5"], ["only for federation.sharding=classes"]),
        (["--set", "local.steps=8"], ["local.steps", "arms"]),
        (["--device", "tpu"], ["--device tpu", "cpu or cuda"]),
        (["--weights", "/no/such/file"], ["/no/such/file", "cannot be read"]),
        (["--tracking-uri", "mongodb://x"], ["--tracking-uri", "sqlite"]),
        (["--tracking-uri", "http://127.0.0.1:9"], ["127.0.0.1:9", "no server answers"]),
    ],
)
def test_one_line_for_bad_options(
    argv: list[str], words: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    line = refused(capsys, tmp_path, *argv)
    for word in words:
        assert word in line


@pytest.mark.parametrize("classes", ["0", "101"])
def test_classes_per_client_out_of_range(
    classes: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    values = ["--set", "data.val_fraction=0.1", "--set", f"federation.classes_per_client={classes}"]
    study = load_study("fedavg_iid")
    arms = [{"federation.sharding": "classes"}]
    argv = ["--out", str(tmp_path / "o"), *values]
    with pytest.raises(SystemExit) as stop:
        command.main(Study(study.name, "?", study.base, arms, study.space, study.presets), argv)
    assert stop.value.code == 2
    assert "federation.classes_per_client" in capsys.readouterr().err


def test_more_clients_than_examples(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    line = refused(capsys, tmp_path, "--set", "federation.clients=45001")
    assert "federation.clients" in line
    assert "45000" in line


def test_folder_that_cannot_be_written(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = refused(capsys, tmp_path, "--out", str(tmp_path / "file" / "out"))
    assert "cannot be written" in line


def test_full_disk(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5_000_000))
    assert "only 5 MB free" in refused(capsys, tmp_path)


def test_folder_in_use_and_lock_of_a_killed_process(tmp_path: Path) -> None:
    out = tmp_path / "out"
    hold = (
        "import sys, time; from pathlib import Path; from fl_core.command import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {process.pid} is running"), command.locked(out):
        pass
    process.kill()
    process.wait()
    with command.locked(out):  # the kernel dropped the killed process's lock
        assert (out / ".lock").read_text() == str(os.getpid())


def test_damaged_embedded_features(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = features.FeatureSpec.of(TrialConfig()).path(tmp_path)
    damaged = bytearray(original.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "embedded").mkdir()
    (tmp_path / "embedded" / original.name).write_bytes(damaged)
    monkeypatch.setattr(features, "EMBEDDED", tmp_path / "embedded")
    features._features.cache_clear()
    line = refused(capsys, tmp_path)
    assert "wrong digest" in line
    assert "python -m fl_core.features" in line


def test_no_data_and_no_network(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", offline)
    values = ["backbone.name=cnn", "backbone.weights=random", "fine_tune.strategy=full"]
    argv = [word for value in values for word in ("--set", value)]
    line = refused(capsys, tmp_path, "--data-dir", str(tmp_path), *argv)
    assert "cifar100 is not in" in line
    assert "--data-dir" in line
    assert "embedded preset" in line


def test_port_in_use(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ui = [sys.executable, "-m", "fl_core.ui", "--port", str(port)]
        result = subprocess.run(ui, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [
        f"error: port {port} is in use; choose another: make ui PORT={port + 1}"
    ]


@pytest.mark.parametrize("name", ["centralized", "fedavg_iid", "fedavg_noniid"])
def test_study_files(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each study is short, explains itself, and all its presets resolve to valid arms."""
    path = ROOT / "studies" / f"{name}.py"
    assert 30 <= len(path.read_text().splitlines()) <= 65
    study = load_study(name)
    assert study.name == name
    for word in ("scientific", "nuisance", "fixed", f"python studies/{name}.py", "Expect"):
        assert word in study.question
    assert {"embedded", "paper", "smoke"} <= set(study.presets)
    for preset in study.presets.values():
        at = study.at(preset, {})
        arms = at.resolve(preset, {})
        assert len({arm.digest() for arm in arms}) == len(study.arms)
        assert {arm.config.rounds * arm.config.local.steps for arm in arms} == {preset.budget}
        for dimension in describe_space(at.space):
            assert dimension in TrialConfig().to_flat()
    with pytest.raises(SystemExit) as stop:
        command.main(study, ["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert study.question.strip()[:60] in shown


def test_set_fixes_a_searched_parameter() -> None:
    study = load_study("fedavg_iid")
    preset = study.presets["smoke"]
    fixed = {"local.lr": 0.01, "head.method": "ridge"}
    space = describe_space(study.at(preset, fixed).space)
    assert "local.lr" not in space
    assert "head.method" not in space
    assert "head.ridge_lambda" in space  # opened by the fixed choice
    assert study.resolve(preset, fixed)[0].config.local.lr == 0.01


def test_search_arms_makes_one_arm_of_all() -> None:
    study = load_study("fedavg_noniid")
    preset = study.presets["smoke"]
    joint = study.joint(preset, {})
    assert [arm.name for arm in joint.resolve(preset, {})] == ["all"]
    space = describe_space(joint.space)
    assert sorted(space["local.steps"]["choices"]) == [4, 8, 16]
    assert set(space["federation.classes_per_client"]["choices"]) == {None, 50, 10, 5, 1}
    assert "rounds" not in space


def test_arm_names() -> None:
    assert arm_name({"federation.sharding": "iid", "local.steps": 4}) == "iid, J=4"
    values = {"federation.sharding": "classes", "federation.classes_per_client": 5}
    assert arm_name(values) == "N_c=5"
    assert arm_name({"schedule.name": "cosine"}) == "schedule=cosine"


def test_check_inputs_shares_equal_partitions() -> None:
    study = load_study("fedavg_noniid")
    arms = study.resolve(study.presets["smoke"], {})
    partitions = command.check_inputs(arms, Machine())
    assert partitions["iid, J=4"] is partitions["iid, J=16"]
    assert partitions["N_c=1, J=4"].shape == (100, 100)
    assert ((partitions["N_c=1, J=4"] > 0).sum(1) == 1).all()
