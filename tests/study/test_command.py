"""Bad input ends with one clear line and exit code 2 before any process or download starts."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import optuna
import pytest

from fl_core.base.errors import ConfigError, UserError
from fl_core.base.machine import Machine
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.config.vocabulary import arm_name
from fl_core.models import features
from fl_core.study import command, folder, found, options
from fl_core.study.found import Found
from fl_core.study.jobs import Arm
from fl_core.study.presets import Preset
from fl_core.study.resolved import resolve
from fl_core.study.search.space import describe_space
from fl_core.study.study import Study
from studies import ROOT, load_study


def refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, *argv: str, study: str = "fedavg_iid"
) -> str:
    """The one line that these options end with."""
    defaults = ["--out", str(tmp_path / "out"), "--tracking-uri", f"sqlite:///{tmp_path}/m.db"]
    with pytest.raises(SystemExit) as stop:
        command.command_line(load_study(study), [*defaults, *argv])
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
        (["--gpus-per-trial", "automatic"], ["--gpus-per-trial", "not a number"]),
        (["--searcher", "bayes"], ["--searcher", "tpe", "grid"]),
        (["--searcher", "grid"], ["--searcher grid", "local.lr is continuous", "--set"]),
        (["--searcher", "cmaes"], ["--searcher cmaes", "local.batch_size is a choice"]),
        (["--scheduler", "hyperband"], ["--scheduler", "asha", "median"]),
        (["--time-budget", "soon"], ["--time-budget", "soon", "30m"]),
        (["--time-budget", "0h"], ["--time-budget", "above 0"]),
        (["--storage", "gopher://x/y"], ["--storage gopher://x/y", "cannot be opened"]),
        (["--storage", "/proc/nothing"], ["--storage /proc/nothing", "cannot be used"]),
        (["--storage", "memory://x"], ["--storage memory://", "ends with the process"]),
        (["--ray-address", "127.0.0.1:9"], ["--ray-address 127.0.0.1:9", "no Ray head answers"]),
        (["--replay", "0123456789abcdef"], ["--replay 0123456789abcdef", "no such trial"]),
        (["--replay", "x"], ["--replay x", "a run id has 32 hexadecimal digits, a digest 16"]),
        (["--replay", 32 * "0"], ["--replay 000", "there is no store sqlite:"]),
        (["--set", "federation.clints=10"], ["federation.clints", "federation.clients"]),
        (["--set", "local.lr"], ["local.lr", "NAME=VALUE"]),
        (["--set", "local.lr=.nan"], ["local.lr", "nan", "finite"]),
        (["--set", "local.lr=-1"], ["local.lr", "-1", "(0"]),
        (["--set", "local.lr=[1"], ["local.lr", "[1", "must be a number"]),
        (["--set", "local.lr=1e300"], ["local.lr", "1e+300", "(0, 1e+06]"]),
        (["--set", "rounds=" + 5000 * "9"], ["rounds", "5002 characters", "must be a number"]),
        (["--set", "local.batch_size=1e10"], ["local.batch_size", "[1, 1e+06]"]),
        (["--set", "learning_rate=1"], ["learning_rate", "did you mean local.lr?"]),
        (["--set", "=1"], ["no such configuration field"]),
        (["--weights=--"], ["--weights: -- is not a value"]),
        (["--trials", "1_0"], ["--trials", "1_0 is not a whole number"]),
        (["--trials", 5000 * "9"], ["--trials", "5000 characters", "whole number"]),
        (["--gpus-per-trial", "1e-320"], ["--gpus-per-trial", "1e-320", "1/n"]),
        (["--gpus-per-trial", "nan"], ["--gpus-per-trial", "nan is not a number"]),
        (["--device", "cpu:abc"], ["--device", "cpu:abc is not allowed", "cpu or cuda"]),
        (["--time-budget", "5"], ["--time-budget", "5 has no unit", "30m, 8h"]),
        (["--time-budget", "1e300h"], ["--time-budget", "at most 10000h"]),
        (["--time-budget", "nan"], ["--time-budget", "nan is not a time"]),
        (["--out", 300 * "x"], ["--out", "at most 250 bytes"]),
        (["--out", "a\nb"], ["--out", "not printable"]),
        (["--weights", "/dev/zero"], ["--weights /dev/zero", "not a file"]),
        (["--tracking-uri", "http://[::1"], ["--tracking-uri http://[::1", "no address"]),
        (["--fields", "nothing_like_it"], ["--fields", "nothing_like_it", "no field"]),
        *(
            ([f"--{name}", empty], [f"--{name}", "is empty"])
            for name in (
                "replay",
                "storage",
                "tracking-uri",
                "weights",
                "out",
                "cache-dir",
                "data-dir",
                "ray-address",
            )
            for empty in ("", "  ")
        ),
        (["--set", "federation.participation=0"], ["participation", "(0, 1]"]),
        (["--set", "federation.participation=1.5"], ["participation", "(0, 1]"]),
        (["--set", "rounds=0"], ["rounds=0", "needs head.method"]),
        (["--set", "data.train_on=train+val"], ["data.train_on='train+val'", "--confirm-on train"]),
        (["--set", "seed=2"], ["--set seed=2", "--seed 2", "confirmation"]),
        (["--set", " seed = 2"], ["--set seed=2", "--seed 2", "confirmation"]),
        (["--set", "federation.clients=60000"], ["federation.clients", "60000", "50000"]),
        (["--set", "federation.classes_per_client=5"], ["only for federation.sharding=classes"]),
        (["--set", "local.steps=8"], ["local.steps", "arms"]),
        (["--device", "tpu"], ["--device", "tpu is not allowed", "cpu or cuda"]),
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
    assert "/proc" in line or not list(tmp_path.iterdir())  # a folder is tried by writing


@pytest.mark.parametrize(
    ("study", "setting", "line"),
    [
        ("asynchronous", "timing.buffer=20", "--set timing.buffer: this study's arms set it"),
        ("asynchronous", "local.rule=scaffold", "timing.mode=buffered (in the arm spread=0.0, Fed"),
        ("asynchronous", "timing.table=none.csv", "says it (in the arm spread=0.5, FedAvg)"),
        ("secure_aggregation", "timing.mode=buffered", "meet in one round (in the arm N_c=5, "),
        ("fedavg_iid", "timing.table=none.csv", "none.csv': cannot be read"),
        ("fedavg_iid", "timing.deadline=0.001", "timing.deadline=0.001: nobody has the time"),
        ("asynchronous", "timing.up=100", "timing.deadline=6.0: nobody has the time"),
    ],
)
def test_clients_that_cannot_be(
    study: str, setting: str, line: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What arms set, and what inputs show, is told before any trial begins: in every arm's."""
    said = refused(capsys, tmp_path, "--preset", "smoke", "--set", setting, study=study)
    assert line in said
    assert not (tmp_path / "m.db").exists()


def test_a_table_is_found_from_any_working_directory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Workers have others, and a replay may."""
    monkeypatch.chdir(tmp_path)
    study = load_study("fedavg_iid")
    at = resolve(study, study.presets["smoke"], {"timing.table": "t.csv"})
    assert {one.timing.table for one in (at.base, at.arms[0].config)} == {str(tmp_path / "t.csv")}
    study = replace(study, arms=[{"timing.table": "t.csv"}, {"timing.table": "/u.csv"}])
    arms = resolve(study, study.presets["smoke"], {}).arms
    assert [arm.config.timing.table for arm in arms] == [str(tmp_path / "t.csv"), "/u.csv"]


@pytest.mark.parametrize("classes", ["0", "101"])
def test_classes_per_client_out_of_range(
    classes: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    values = ["--set", "data.val_fraction=0.1", "--set", f"federation.classes_per_client={classes}"]
    study = load_study("fedavg_iid")
    arms = [{"federation.sharding": "classes"}]
    argv = ["--out", str(tmp_path / "o"), *values]
    with pytest.raises(SystemExit) as stop:
        command.command_line(
            Study(study.name, "?", study.base, arms, study.space, study.presets), argv
        )
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


@pytest.mark.parametrize("option", ["--out", "--cache-dir", "--storage", "--data-dir", "--weights"])
def test_links_that_go_round(
    option: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "loop").symlink_to("loop")
    line = refused(capsys, tmp_path, option, str(tmp_path / "loop" / "below"))
    assert f"error: {option} " in line
    assert "symbolic links" in line


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("sqlite:///{}", "is a folder"),
        ("sqlite://", "would end with this process"),
        ("sqlite:///:memory:", "would end with this process"),
    ],
)
def test_stores_that_can_be_none(
    uri: str, words: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = time.monotonic()
    assert words in refused(capsys, tmp_path, "--tracking-uri", uri.format(tmp_path))
    assert time.monotonic() - before < 10  # MLflow would try for two minutes
    assert not list(tmp_path.iterdir())


def test_a_working_directory_that_was_deleted(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert "working directory is not there any more" in refused(capsys, tmp_path)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--device", "cuda"], "no usable GPU"),
        (["--searcher", "grid"], "is continuous"),
        (["--set", "rounds=0"], "rounds"),
        (["--out", "."], "holds the working directory"),
        (["--out", "papers"], "is no folder of study fedavg_iid"),
    ],
)
def test_what_is_refused_puts_nothing_aside(
    argv: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    for name, text in {"out/study.yaml": "study: fedavg_iid\n", "papers/one.tex": "text"}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    before = sorted(tmp_path.rglob("*"))
    assert words in refused(capsys, tmp_path, "--fresh", *argv)
    assert sorted(tmp_path.rglob("*")) == before


def test_full_disk(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5_000_000))
    assert "only 5 MB free" in refused(capsys, tmp_path)


def test_folder_in_use_and_lock_of_a_killed_process(tmp_path: Path) -> None:
    out = tmp_path / "out"
    hold = (
        "import sys, time; from pathlib import Path; from fl_core.study.folder import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", hold, str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=f"process {process.pid} is running"), folder.locked(out):
        pass
    process.kill()
    process.wait()
    with folder.locked(out):  # the kernel dropped the killed process's lock
        assert folder.holder(out) == str(os.getpid())


def test_damaged_embedded_features(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = features.features_path(TrialConfig(), tmp_path)
    damaged = bytearray(original.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (tmp_path / "embedded").mkdir()
    (tmp_path / "embedded" / original.name).write_bytes(damaged)
    monkeypatch.setattr(features, "EMBEDDED", tmp_path / "embedded")
    features._features.cache_clear()
    line = refused(capsys, tmp_path)
    assert "wrong digest" in line
    assert "python -m fl_core.models.features" in line


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
        ui = [sys.executable, "-m", "fl_core.study.ui", "--port", str(port)]
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
        at = resolve(study, preset, {})
        arms = at.arms
        own = study.arms if preset.arms is None else preset.arms
        assert len({arm.digest() for arm in arms}) == len({arm.name for arm in arms}) == len(own)
        assert {arm.config.rounds * arm.config.local.steps for arm in arms} == {preset.budget}
        for dimension in describe_space(at.space):
            assert dimension in TrialConfig().to_flat()
    with pytest.raises(SystemExit) as stop:
        command.command_line(study, ["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert study.question.strip()[:60] in shown


def test_set_fixes_a_searched_parameter() -> None:
    study = load_study("fedavg_iid")
    preset = study.presets["smoke"]
    fixed = {"local.lr": 0.01, "head.method": "ridge"}
    at = resolve(study, preset, fixed)
    space = describe_space(at.space)
    assert "local.lr" not in space
    assert "head.method" not in space
    assert "head.ridge_lambda" in space  # opened by the fixed choice
    assert at.arms[0].config.local.lr == 0.01


def test_search_arms_makes_one_arm_of_all() -> None:
    study = load_study("fedavg_noniid")
    preset = study.presets["smoke"]
    joint = resolve(study, preset, {}, joint=True)
    assert [arm.name for arm in joint.arms] == ["all"]
    space = describe_space(joint.space)
    assert sorted(space["local.steps"]["choices"]) == [4, 8, 16]
    assert set(space["federation.classes_per_client"]["choices"]) == {None, 50, 10, 5, 1}
    assert "rounds" not in space


def test_arm_names() -> None:
    assert arm_name({"federation.sharding": "iid", "local.steps": 4}) == "iid, J=4"
    values = {"federation.sharding": "classes", "federation.classes_per_client": 5}
    assert arm_name(values) == "N_c=5"
    assert arm_name({"schedule.name": "cosine"}) == "schedule=cosine"


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"mask.rule": "random", "mask.sparsity": 0.9}, "random, s=0.9"),
        ({"mask.rule": "random", "mask.sparsity": 0.0}, "random, s=0.0"),
        ({"mask.sparsity": 0.0}, "dense"),
        ({"mask.sparsity": 0}, "dense"),
        ({"mask.sparsity": 0.5, "mask.rounds": 4}, "s=0.5, R=4"),
        ({"federation.sharding": "iid", "mask.sparsity": 0.0}, "iid, dense"),
        ({"fine_tune.strategy": "full"}, "full"),
        ({"mask.scope": "per_client", "mask.sparsity": 0.9}, "per_client, s=0.9"),
    ],
)
def test_names_of_masked_arms(values: dict[str, Value], name: str) -> None:
    assert arm_name(values) == name


# --- arms of a preset -----------------------------------------------------------------------------


def with_own_arms() -> tuple[Study, Preset]:
    """fedavg_iid with a preset that asks about schedules instead of J."""
    study = load_study("fedavg_iid")
    arms = [{"schedule.name": name} for name in ("constant", "cosine")]
    preset = replace(study.presets["smoke"], arms=arms)
    return replace(study, presets={**study.presets, "smoke": preset}), preset


def test_a_preset_may_have_its_own_arms() -> None:
    study, preset = with_own_arms()
    at = resolve(study, preset, {})
    arms = at.arms
    assert [arm.name for arm in arms] == ["schedule=constant", "schedule=cosine"]
    assert [arm.config.schedule.name for arm in arms] == ["constant", "cosine"]
    assert not at.uses_images
    joint = resolve(study, preset, {}, joint=True)
    assert [arm.name for arm in joint.arms] == ["all"]
    assert set(describe_space(joint.space)["schedule.name"]["choices"]) == {"constant", "cosine"}
    other = study.presets["embedded"]  # keeps the study's
    assert [arm.name for arm in resolve(study, other, {}).arms] == ["iid, J=4"]


def test_set_may_not_change_what_the_arms_of_the_preset_set(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    study, preset = with_own_arms()
    place = ["--out", str(tmp_path / "o"), "--tracking-uri", f"sqlite:///{tmp_path}/m.db"]
    with pytest.raises(SystemExit) as stop:
        command.command_line(study, [*place, "--preset", "smoke", "--set", "schedule.name=step"])
    assert stop.value.code == 2
    assert "schedule.name: this study's arms set it already" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        command.command_line(study, [*place, "--preset", "smoke", "--set", "local.steps=65"])
    assert "local.steps=65: the budget is 64 local steps in all" in capsys.readouterr().err
    fixed = {"local.steps": 8}  # set by the study's own arms alone
    assert [arm.config.local.steps for arm in resolve(study, preset, fixed).arms] == [8, 8]


@pytest.mark.parametrize("where", ["base", "arms", "joint_arms", "preset", "preset's arms"])
def test_a_study_that_sets_the_seed_is_refused(where: str) -> None:
    """Its searches would have a seed of the confirmation's: the same clients, not fresh ones."""
    seed: dict[str, Value] = {"seed": 2}
    study = load_study("fedavg_iid")
    preset = study.presets["smoke"]
    match where:
        case "preset":
            preset = replace(preset, overrides=seed)
        case "preset's arms":
            preset = replace(preset, arms=[seed])
        case "base":
            study = replace(study, base=seed)
        case "arms":
            study = replace(study, arms=[{}, seed])
        case "joint_arms":
            study = replace(study, joint_arms=[seed])
    with pytest.raises(UserError, match=r"^seed=2: a study sets none, --seed does"):
        resolve(study, preset, {"seed": 0})


def test_a_space_cannot_search_the_seed() -> None:
    """The command fixes it for every trial, so that the confirmation's are fresh ones."""

    def space(trial: optuna.Trial) -> dict[str, Value]:
        lr = trial.suggest_float("local.lr", 0.1, 0.2)
        return {"seed": trial.suggest_int("seed", 0, 9), "local.lr": lr}

    study = replace(load_study("fedavg_iid"), space=space)
    args = options.parse(study, ["--seed", "7"])
    at = resolve(study, study.presets["smoke"], options.fixed_values(args))
    assert set(describe_space(at.space)) == {"local.lr"}
    assert [arm.config.seed for arm in at.arms] == [7]


def test_a_study_is_resolved_before_ray_and_optuna_are_imported() -> None:
    """Bad input is refused at once, and `ray_tune` can set what Ray reads when imported."""
    program = (
        "import sys; sys.path.insert(0, 'studies'); from fedavg_iid import STUDY\n"
        "from fl_core.study.resolved import resolve; resolve(STUDY, STUDY.presets['smoke'], {})\n"
        "from fl_core.study import display\nfrom fl_core.study.tracking import tracker\n"
        "assert not {'ray', 'optuna'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_rounds_follow_a_searched_j() -> None:
    """T x J is the budget (contract 7), whether J is an arm's or searched."""
    preset = replace(load_study("fedavg_iid").presets["smoke"], budget=64, eval_steps=16)

    def space(trial: optuna.Trial) -> dict[str, Value]:
        return {"local.steps": trial.suggest_categorical("local.steps", [2, 16])}

    study = replace(load_study("fedavg_iid"), arms=[{"federation.sharding": "iid"}], space=space)
    for one in (resolve(study, preset, {}), resolve(study, preset, {}, joint=True)):
        (arm, *_) = one.arms
        for steps in (2, 16):
            names = {"local.steps": steps, "arm": "iid"}
            config = arm.config.override(one.space(optuna.trial.FixedTrial(names)))
            assert (config.rounds, config.eval_every) == (64 // steps, max(1, 16 // steps))
    fixed = {"rounds": 3}
    chosen = resolve(study, preset, fixed).space(optuna.trial.FixedTrial({"local.steps": 2}))
    assert chosen == {"local.steps": 2, "eval_every": 8}
    assert set(describe_space(resolve(study, preset, {}).space)) == {"local.steps"}


# --- several objectives ---------------------------------------------------------------------------


def test_a_probe_is_the_same_in_every_arm_but_for_the_arm() -> None:
    """Also where the search finds another rate; what the user fixes holds in the probes too."""
    study = load_study("fedavg_noniid")
    found = resolve(study, study.presets["embedded"], {"seed": 0})
    probes = [found.probe_of(arm).to_flat() for arm in found.arms]
    assert {p["local.lr"] for p in probes} == {0.1}
    own = {"federation.sharding", "federation.classes_per_client", "local.steps", "rounds",
           "eval_every"}  # fmt: skip
    assert len({json.dumps({n: v for n, v in p.items() if n not in own}) for p in probes}) == 1
    assert {int(str(p["rounds"])) * int(str(p["local.steps"])) for p in probes} == {160}
    fixed = resolve(study, study.presets["embedded"], {"seed": 0, "local.lr": 0.5})
    assert fixed.probe_of(fixed.arms[0]).local.lr == 0.5
    joint = resolve(study, study.presets["embedded"], {"seed": 0}, joint=True)
    assert joint.probe == {}
    rates = replace(study.presets["smoke"], arms=[{"local.lr": 0.1}])
    with pytest.raises(ConfigError, match=r"probe local\.lr: this study's arms set it already"):
        resolve(study, rates, {})


def test_objectives_reach_every_arm_and_stop_pruning() -> None:
    study = load_study("fedavg_iid")
    preset = study.presets["embedded"]
    assert preset.prune
    at = resolve(study, preset, {})
    assert at.pruner(None) == "asha"
    assert at.pruner("median") == "median"
    assert resolve(study, replace(preset, prune=False), {}).pruner(None) == "none"
    several = replace(study, objectives=("bytes_up",))
    for joint in (False, True):
        both = resolve(several, preset, {}, joint=joint)
        assert both.pruner(None) == both.pruner("none") == "none"
        with pytest.raises(UserError, match="--scheduler asha: fedavg_iid minimises bytes_up"):
            both.pruner("asha")
        assert {arm.objectives for arm in both.arms} == {("bytes_up",)}


# --- how much an arm is searched ------------------------------------------------------------------


@pytest.mark.parametrize(("argv", "finalists"), [([], 2), (["--finalists", "5"], 5)])
def test_one_trial_more_than_is_confirmed_is_never_stopped(argv: list[str], finalists: int) -> None:
    study = load_study("fedavg_noniid")
    at = resolve(study, study.presets["embedded"], {})
    plan = options.plan_of(options.parse(study, argv), at)
    assert (plan.finalists, plan.floor) == (finalists, finalists + 1)


# --- a default that the machine decides -----------------------------------------------------------


def test_a_default_gives_way_to_whoever_names_the_field() -> None:
    study, name = load_study("fedavg_iid"), "compute.precision"
    preset = study.presets["smoke"]
    named = resolve(study, preset, {name: "float32"})
    assert named.with_default(name, "bfloat16") is named
    of_arms = replace(study, arms=[{name: "float32"}, {"local.steps": 8}])
    plain = resolve(of_arms, preset, {})
    both = plain.with_default(name, "bfloat16")
    found = [arm.config.to_flat()[name] for arm in both.arms]
    assert found == ["float32", "bfloat16"]
    assert both.base.to_flat()[name] == "bfloat16"
    assert [arm.config.to_flat()[name] for arm in plain.arms][1] == "float32"  # as it was


# --- what is prepared before the workers start ----------------------------------------------------


def test_check_inputs_shares_equal_partitions() -> None:
    study = load_study("fedavg_noniid")
    arms = resolve(study, study.presets["smoke"], {}).arms
    inputs = command.check_inputs(arms, Machine())
    assert inputs["iid, J=4"] is inputs["iid, J=16"]
    held = inputs["N_c=1, J=4"].partition
    assert held.shape == (100, 100)
    assert ((held > 0).sum(1) == 1).all()


def test_check_inputs_prepares_what_differs_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arms of rules and sparsities share all inputs; strategies and heads read others."""
    values: list[dict[str, Value]] = [
        {"mask.rule": rule, "mask.sparsity": sparsity, "local.steps": steps}
        for rule in ("least_sensitive", "random")
        for sparsity in (0.5, 0.9)
        for steps in (4, 8)
    ]
    ridge: dict[str, Value] = {"head.method": "ridge"}
    others: list[dict[str, Value]] = [
        ridge,
        {**ridge, "fine_tune.strategy": "head_then_sparse_full"},
        {"backbone.image_size": 64},
        {"mask.examples": 64, "mask.sparsity": 0.5},
        {"federation.clients": 50},
    ]
    arms = [
        Arm(str(n), setting, TrialConfig().override(setting))
        for n, setting in enumerate([*values, *others])
    ]
    prepared: list[TrialConfig] = []

    def found_in(config: TrialConfig, machine: Machine) -> Found:
        prepared.append(config)
        counts = np.full((config.federation.clients, 100), len(prepared))
        return Found(counts, 1000, 100, "images", ())

    monkeypatch.setattr(found, "found_in", found_in)
    partitions = command.check_inputs(arms, Machine())
    assert prepared == [arms[0].config, *(arm.config for arm in arms[len(values) :])]
    assert list(partitions) == [arm.name for arm in arms]
    assert all(partitions[arm.name] is partitions["0"] for arm in arms[: len(values)])
    assert len(partitions["12"].partition) == 50


def test_what_is_checked_of_the_data_meets_all_of_the_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text beside defaults of the model's fields would be refused, though the arm is not."""
    study = load_study("shakespeare")
    arms = resolve(study, study.presets["smoke"], {}).arms
    nothing = Found(np.ones((100, 80)), 1000, 100, "tokens", ())
    monkeypatch.setattr(found, "found_in", lambda config, machine: nothing)
    assert set(command.check_inputs(arms, Machine())) == {arm.name for arm in arms}
