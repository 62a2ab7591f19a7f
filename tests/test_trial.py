"""Whole trials on small artefacts: killed, damaged, repeated; and the sealed test set."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from toy import LABELS, WIDTH, config, machine_of, plain, write_features

from fl_core import head_stage, inputs, stages, trial
from fl_core.base.cache import DamagedArtefact, load_artefact, save_artefact
from fl_core.base.errors import UserError
from fl_core.base.machine import Machine
from fl_core.base.rng import stream
from fl_core.checkpoint import forget_state, recorded_curve, resume_trial, trial_path
from fl_core.config.sections import DataConfig
from fl_core.config.trial_config import TrialConfig
from fl_core.data.sources import train_sample
from fl_core.data.task import Examples
from fl_core.masks.calibration import Calibration
from fl_core.masks.calibrator import _Sitting
from fl_core.masks.parties import SERVER
from fl_core.models import features as features_stage
from fl_core.models.features import dequantise, extract_features, features_path
from fl_core.trial import run_trial


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No images but those a test provides: never a download. Threads as they were."""

    def none(data: DataConfig, machine: Machine, *, train: bool) -> Any:
        raise UserError("there are no images here")

    threads = torch.get_num_threads()
    for module in (inputs, features_stage):
        monkeypatch.setattr(module, "load_examples", none)
    yield
    torch.set_num_threads(threads)
    inputs.forget_inputs()


def stored(folder: Path, cfg: TrialConfig) -> dict[str, torch.Tensor]:
    """Copies: what safetensors returns are views of the mapped file, which some tests damage."""
    return {n: t.clone() for n, t in load_artefact(trial_path(folder, cfg))[0].items()}


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def never(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("must not be called")


VARIANTS: dict[str, dict[str, Any]] = {
    "federated": {"local__momentum": 0.9, "schedule__name": "cosine"},
    "one class a client, best kept": {
        "federation__sharding": "classes", "federation__classes_per_client": 2,
        "keep": "best", "server__lr": 0.5, "local__weight_decay": 0.01,
    },
    "centralised": {
        "federation__clients": 1, "local__momentum": 0.9, "local__keep_momentum": True,
        "patience": 3, "local__unit": "epochs", "local__steps": 1,
    },
    "stops early": {
        "federation__sharding": "classes", "federation__classes_per_client": 2, "local__lr": 2.0,
        "eval_every": 1, "rounds": 30, "patience": 3,
    },
    "after ridge": {"head__method": "ridge", "compute__execution": "sequential"},
    "diverges": {"local__lr": 1e6, "local__weight_decay": 1.0, "local__steps": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", VARIANTS)
def test_killed_after_any_record_it_goes_on_to_the_same_bits(
    name: str, machine: Machine, tmp_path: Path
) -> None:
    cfg = config(**VARIANTS[name])
    whole = list(run_trial(cfg, machine, tmp_path / "whole"))
    assert [one["done"] for one in whole] == [False] * (len(whole) - 1) + [True]
    assert whole[-1]["diverged"] == (name == "diverges")
    assert len(whole) >= 2
    assert (whole[-1]["round"] < cfg.rounds) == (name in ("diverges", "stops early"))
    wanted = stored(tmp_path / "whole", cfg)
    for killed in range(1, len(whole) + 1):
        folder = tmp_path / f"killed after {killed}"
        partly = run_trial(cfg, machine, folder)
        first = [next(partly) for _ in range(killed)]
        partly.close()
        assert plain(recorded_curve(folder, cfg)) == plain(first)
        again = list(run_trial(cfg, machine, folder))
        assert again[:killed] == first or name == "diverges"  # NaN is not equal to itself
        assert plain(again) == plain(whole)
        assert same_bits(stored(folder, cfg), wanted)


def test_killed_at_every_record_in_turn(machine: Machine, tmp_path: Path) -> None:
    cfg = config(local__momentum=0.9)
    whole = list(run_trial(cfg, machine))  # and a folder changes nothing
    for count in range(1, len(whole) + 1):
        partly = run_trial(cfg, machine, tmp_path / "t")
        records = [next(partly) for _ in range(count)]
        partly.close()
    assert plain(records) == plain(whole)


CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_trial
from fl_core.trial import run_trial
cfg = test_trial.config(**test_trial.LONG)
for record in run_trial(cfg, test_trial.machine_of(Path({root!r})), Path({folder!r})):
    print(record["round"], flush=True)
    time.sleep({pause})
"""
LONG = {"rounds": 90, "eval_every": 3, "local__momentum": 0.9, "local__steps": 8}


def child(root: Path, folder: Path, pause: float) -> subprocess.Popen[str]:
    tests = Path(__file__).parent
    code = CHILD.format(tests=str(tests), root=str(root), folder=str(folder), pause=pause)
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tests.parent,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )  # fmt: skip


def lines_of(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    return iter(process.stdout)


def test_sigkill_at_a_random_moment_in_another_process(machine: Machine, tmp_path: Path) -> None:
    cfg = config(**LONG)
    folder = tmp_path / "killed"
    rng = random.Random(0)
    beside = child(tmp_path, tmp_path / "beside", 0)  # an uninterrupted one runs beside them
    process = child(tmp_path, folder, 0.1)
    lines = lines_of(process)
    target = rng.randrange(5, 50)
    for line in lines:
        if int(line) >= target:
            break
    time.sleep(rng.random() * 0.1)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    curve = recorded_curve(folder, cfg)
    assert target <= curve[-1]["round"] < LONG["rounds"]  # killed on its way, nothing lost
    resumed = list(run_trial(cfg, machine, folder))
    assert [int(line) for line in lines_of(beside)] == [one["round"] for one in resumed]
    assert beside.wait() == 0
    whole = list(run_trial(cfg, machine, tmp_path / "here"))
    for other in ("killed", "beside"):
        assert plain(recorded_curve(tmp_path / other, cfg)) == plain(whole)
        assert same_bits(stored(tmp_path / other, cfg), stored(tmp_path / "here", cfg))
    assert plain(resumed) == plain(whole)


def test_run_again_it_replays_without_training(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = list(run_trial(config(), machine, tmp_path / "t"))
    monkeypatch.setattr(trial, "fedavg", never)
    monkeypatch.setattr(stages, "prepare", never)
    assert list(run_trial(config(), machine, tmp_path / "t")) == first
    with pytest.raises(AssertionError, match="must not be called"):  # another trial does train
        list(run_trial(config(seed=1), machine, tmp_path / "t"))


def damaged(path: Path, kind: str) -> None:
    content = bytearray(path.read_bytes())
    if kind == "flipped bit":
        content[-100] ^= 4  # in the tensors
    elif kind == "cut short":
        del content[len(content) // 2 :]
    elif kind == "empty":
        content.clear()
    else:
        content[:] = os.urandom(64)
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["flipped bit", "cut short", "empty", "other"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_damaged_checkpoint_is_noticed_and_made_again(
    kind: str, finished: bool, machine: Machine, tmp_path: Path
) -> None:
    cfg, folder = config(), tmp_path / "t"
    whole = list(run_trial(cfg, machine, folder))
    wanted = stored(folder, cfg)
    if not finished:
        trial_path(folder, cfg).unlink()
        partly = run_trial(cfg, machine, folder)
        next(partly), next(partly)
        partly.close()
    damaged(trial_path(folder, cfg), kind)
    with pytest.raises(DamagedArtefact):
        stored(folder, cfg)
    assert plain(list(run_trial(cfg, machine, folder))) == plain(whole)
    assert same_bits(stored(folder, cfg), wanted)


def test_seeds_and_settings_have_their_own_files(machine: Machine, tmp_path: Path) -> None:
    folder = tmp_path / "t"
    trials = [config(), config(seed=1), config(local__lr=0.1)]
    curves = [plain(list(run_trial(cfg, machine, folder))) for cfg in trials]
    assert len(list(folder.iterdir())) == 3
    assert [plain(recorded_curve(folder, cfg)) for cfg in trials] == curves
    assert curves[0] != curves[1] != curves[2] != curves[0]
    assert recorded_curve(folder, config(seed=2)) == []


def test_a_toy_is_learnt(machine: Machine) -> None:
    records = list(run_trial(config(rounds=30, eval_every=10, local__steps=20), machine))
    assert records[-1]["val_accuracy"] > 0.8
    assert records[0]["val_loss"] > records[-1]["val_loss"]


# --- the head's artefact ------------------------------------------------------------------------


def count_heads(monkeypatch: pytest.MonkeyPatch) -> list[TrialConfig]:
    made: list[TrialConfig] = []
    for name in ("_gathered", "_fedavg_head"):
        monkeypatch.setattr(head_stage, name, counting(getattr(head_stage, name), made))
    return made


Make = Callable[..., dict[str, torch.Tensor]]


def counting(make: Make, made: list[TrialConfig]) -> Make:
    def counted(*args: Any) -> dict[str, torch.Tensor]:
        made.append(args[-2])
        return make(*args)

    return counted


ignore_heads = shutil.ignore_patterns("head-*", "ridge-*")


def head_files(machine: Machine) -> set[str]:
    """What the head stage stored: a learnt head, or the statistics that give one."""
    found = [*machine.cache_dir.glob("head-*"), *machine.cache_dir.glob("ridge-*")]
    return {path.name for path in found}


@pytest.mark.parametrize("method", ["ridge", "fedavg"])
def test_one_head_for_all_trials_that_differ_in_fine_tuning(
    method: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = count_heads(monkeypatch)
    finals = []
    for lr in (0.01, 0.1, 0.5):
        cfg = config(head__method=method, head__rounds=3, local__lr=lr, rounds=3)
        finals.append(plain(list(run_trial(cfg, machine))))
    assert len(made) == 1
    assert finals[0] != finals[1] != finals[2]
    assert len(head_files(machine)) == 1


@pytest.mark.parametrize("method", ["ridge", "fedavg"])
def test_a_damaged_head_is_made_again(
    method: str, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = count_heads(monkeypatch)
    cfg = config(head__method=method, head__rounds=2)
    wanted = head_stage.train_head(cfg, machine)
    assert wanted is not None
    wanted = wanted.clone()  # it may be a view of the file
    (name,) = head_files(machine)
    damaged(machine.cache_dir / name, "flipped bit")
    again = head_stage.train_head(cfg, machine)
    assert len(made) == 2
    assert again is not None
    assert torch.equal(wanted, again)


DIRICHLET = {"federation.sharding": "dirichlet", "federation.alpha": 0.1}
DATA: list[dict[str, Any]] = [
    {"data.val_fraction": 0.3}, {"data.split_seed": 1}, {"data.train_on": "train+val"},
]  # fmt: skip
PARTITION: list[dict[str, Any]] = [{"seed": 1}, {"federation.clients": 7}, DIRICHLET]
HEAD: list[dict[str, Any]] = [
    {"head.rounds": 4}, {"head.local.lr": 0.3}, {"head.local.steps": 2},
    {"head.local.momentum": 0.5}, {"head.local.weight_decay": 0.1}, {"head.local.batch_size": 5},
    {"federation.participation": 0.9}, {"head.local.unit": "epochs"},
    {"head.local.clip": 0.01},
    {"head.local.momentum": 0.5, "head.local.nesterov": True},
    {"head.local.momentum": 0.5, "head.local.dampening": 0.5},
]  # fmt: skip
LOCAL: list[dict[str, Any]] = [
    {"local.steps": 2}, {"local.unit": "epochs"}, {"local.momentum": 0.5},
    {"local.momentum": 0.5, "local.dampening": 0.5},
    {"local.momentum": 0.5, "local.nesterov": True}, {"local.weight_decay": 0.1},
    {"local.batch_size": 5}, {"local.clip": 0.5}, {"server.lr": 0.5}, {"mask.sparsity": 0.5},
    {"mask.rounds": 3},
    {"mask.scope": "per_client"}, {"local.blend": "fisher"},
]  # fmt: skip
MAIN: list[dict[str, Any]] = [
    {"rounds": 99}, {"eval_every": 1}, {"local.lr": 0.01}, {"schedule.name": "cosine"},
    {"schedule.name": "step", "schedule.gamma": 0.5}, {"keep": "best"},
    {"patience": 1}, {"compute.execution": "sequential"},
    {"compute.execution": "sequential", "compute.precision": "bfloat16"},
    {"fine_tune.strategy": "sparse_full"}, {"data.flip": False},
    {"fine_tune.strategy": "full", "data.crop": 4},
    {"fine_tune.strategy": "full", "data.rotation": 10.0},
]  # fmt: skip
KIND: list[dict[str, Any]] = [{"head.hidden": 5}, {"head.loss": "one_vs_all"}]
READ = {"ridge": [*PARTITION, *DATA], "fedavg": [*PARTITION, *DATA, *HEAD, *KIND]}
UNREAD = {
    "ridge": [*MAIN, *LOCAL, *HEAD],
    "fedavg": [*MAIN, *LOCAL, {"head.ridge_lambda": 0.1}],
}


@pytest.mark.parametrize("method", ["ridge", "fedavg"])
def test_the_head_depends_on_what_it_reads_and_on_nothing_else(
    method: str, machine: Machine, tmp_path: Path
) -> None:
    """Fields out of the key do not change one bit of the head; those in it give another file."""
    base = config(head__method=method, head__rounds=3)
    head = head_stage.train_head(base, machine)
    assert head is not None
    head = head.clone()

    for number, values in enumerate(UNREAD[method]):
        other = base.override(values)
        fresh = replace(machine, cache_dir=tmp_path / str(number))
        shutil.copytree(machine.cache_dir, fresh.cache_dir, ignore=ignore_heads)
        again = head_stage.train_head(other, fresh)
        assert again is not None
        assert torch.equal(again, head), values
        head_stage.train_head(other, machine)
        assert len(head_files(machine)) == 1, values
    for number, values in enumerate(READ[method], start=2):
        other = base.override(values)
        changed = head_stage.train_head(other, machine)
        assert changed is not None
        if method == "ridge" and values in PARTITION:  # a new file, but the same sums
            torch.testing.assert_close(changed, head, rtol=1e-5, atol=1e-7)
        else:
            assert not torch.equal(changed, head), values
        assert len(head_files(machine)) == number, values
    assert head_stage.train_head(base.override({"head.method": "none"}), machine) is None
    if method == "ridge":  # the penalty changes the head, not what is stored
        changed = head_stage.train_head(base.override({"head.ridge_lambda": 0.1}), machine)
        assert changed is not None
        assert not torch.equal(changed, head)
        assert len(head_files(machine)) == 1 + len(READ[method])


# --- the sealed test set ------------------------------------------------------------------------


def corrupt_tensors(path: Path, prefix: str) -> int:
    """Turn over every byte of the tensors with this prefix inside a safetensors file."""
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    names = [name for name in header if name.startswith(prefix)]
    for name in names:
        start, end = (8 + size + offset for offset in header[name]["data_offsets"])
        content[start:end] = bytes(byte ^ 0xFF for byte in content[start:end])
    path.write_bytes(content)
    return len(names)


def test_a_search_never_touches_the_test_tensors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_stage, "compute_features", never)
    results = []
    for name in ("whole", "corrupt"):
        machine = machine_of(tmp_path / name)
        path = write_features(machine.cache_dir)
        if name == "corrupt":
            assert corrupt_tensors(path, "test_") == 3
        cfg = config(head__method="ridge", rounds=6)
        results.append(plain(list(run_trial(cfg, machine, tmp_path / name / "t"))))
        if name == "whole":
            found, _ = trial.Trial(cfg, machine, tmp_path / name / "t").test_metrics()
            assert found["test_accuracy"] > 0.5
        else:
            with pytest.raises(AssertionError, match="must not"):  # it wants to build them again
                trial.Trial(cfg, machine, tmp_path / name / "t").test_metrics()
    assert results[0] == results[1]


def test_corrupt_training_tensors_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features_stage, "compute_features", never)
    machine = machine_of(tmp_path)
    assert corrupt_tensors(write_features(machine.cache_dir), "train_") == 3
    with pytest.raises(AssertionError, match="must not be called"):
        list(run_trial(config(), machine))


@pytest.mark.parametrize("keep", ["last", "best"])
def test_test_metrics_of_a_finished_trial(keep: str, machine: Machine, tmp_path: Path) -> None:
    cfg = config(
        keep=keep, local__lr=2.0, rounds=10, eval_every=1,
        federation__sharding="classes", federation__classes_per_client=2,
    )  # fmt: skip
    records = list(run_trial(cfg, machine, tmp_path / "t"))
    accuracies = [one["val_accuracy"] for one in records]
    assert max(accuracies) > accuracies[-1]  # so that best and last are not the same
    metrics, tables = trial.Trial(cfg, machine, tmp_path / "t").test_metrics()
    params = stored(tmp_path / "t", cfg)["best" if keep == "best" else "params"]
    path = features_path(cfg, machine.cache_dir)
    source = dequantise(load_artefact(path, "test")[0], "test", "cpu")
    logits = source.features @ params[: 100 * WIDTH].view(100, WIDTH).T + params[100 * WIDTH :]
    right = (logits.argmax(1) == source.labels).numpy()
    assert metrics["test_accuracy"] == pytest.approx(right.mean())
    loss = torch.nn.functional.cross_entropy(logits, source.labels)
    assert metrics["test_loss"] == pytest.approx(float(loss), rel=1e-5)
    by_class = [right[(source.labels == c).numpy()].mean() for c in range(LABELS)]
    train = dequantise(load_artefact(path, "train")[0], "train", "cpu").labels.numpy()
    clients = [
        np.mean([by_class[label] for label in train[shard]])
        for shard in inputs.partition(cfg, train)
    ]
    assert metrics["client_accuracy_worst"] == pytest.approx(min(clients))
    assert metrics["client_accuracy_best"] == pytest.approx(max(clients))
    assert metrics["client_accuracy_std"] == pytest.approx(np.std(clients))
    held = pd.read_csv(io.StringIO(tables["partition.csv"])).to_numpy()
    assert held.tolist() == [np.bincount(train[shard], minlength=100).tolist()
                             for shard in inputs.partition(cfg, train)]  # fmt: skip
    selected = pd.read_csv(io.StringIO(tables["selections.csv"]))
    assert list(selected["client"]) == list(range(cfg.federation.clients))
    assert selected["rounds"].sum() == cfg.rounds * cfg.federation.sampled
    predicted = pd.read_csv(io.StringIO(tables["predictions.csv"]))
    assert list(predicted["label"]) == source.labels.tolist()
    assert list(predicted["prediction"]) == logits.argmax(1).tolist()
    confidence = logits.softmax(1).amax(1).numpy()
    np.testing.assert_allclose(predicted["confidence"], confidence, atol=6e-5)


def test_the_test_curve_is_a_table_of_its_own(machine: Machine, tmp_path: Path) -> None:
    """One row an evaluation, of the parameters as they then are; the records are the same."""
    cfg = config(keep="best", local__lr=2.0, rounds=10, eval_every=3)
    apart = trial.Trial(cfg, machine, tmp_path / "t", tested=True)
    records = list(apart.records())
    assert plain(records) == plain(list(run_trial(cfg, machine, tmp_path / "plain")))
    metrics, tables = apart.test_metrics()
    curve = pd.read_csv(io.StringIO(tables["test_curve.csv"]))
    costs = ["virtual_seconds", "bytes_up", "bytes_down"]
    assert list(curve.columns) == ["round", "local_steps", "test_loss", "test_accuracy", *costs]
    assert list(curve["round"]) == [one["round"] for one in records] == [3, 6, 9, 10]
    for name in ("local_steps", *costs):
        assert list(curve[name]) == [one[name] for one in records]
    for rounds, accuracy, loss in zip(
        curve["round"], curve["test_accuracy"], curve["test_loss"], strict=True
    ):
        ends = config(keep="last", local__lr=2.0, rounds=int(rounds), eval_every=3)
        list(run_trial(ends, machine, tmp_path / "ends"))
        found, _ = trial.Trial(ends, machine, tmp_path / "ends").test_metrics()
        assert (found["test_accuracy"], found["test_loss"]) == (accuracy, loss)
    best = max(records, key=lambda one: one["val_accuracy"])["round"]
    assert metrics["test_accuracy"] == curve.set_index("round")["test_accuracy"][best]


def test_a_killed_trial_goes_on_with_its_test_curve(machine: Machine, tmp_path: Path) -> None:
    cfg, folder = config(), tmp_path / "t"
    whole = trial.Trial(cfg, machine, tmp_path / "whole", tested=True)
    list(whole.records())
    expected = whole.test_metrics()[1]["test_curve.csv"]
    for count in range(1, 5):
        partly = trial.Trial(cfg, machine, folder / f"{count}", tested=True).records()
        for _ in range(count):
            next(partly)
        partly.close()  # type: ignore[attr-defined]
        again = trial.Trial(cfg, machine, folder / f"{count}", tested=True)
        list(again.records())
        assert again.test_metrics()[1]["test_curve.csv"] == expected


def test_without_being_asked_no_trial_reads_the_test_set(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even one that goes on from a checkpoint of a confirmation."""
    cfg, folder = config(), tmp_path / "t"
    partly = trial.Trial(cfg, machine, folder, tested=True).records()
    next(partly)
    partly.close()  # type: ignore[attr-defined]
    assert "test_curve" in load_artefact(trial_path(folder, cfg), "none")[1]
    monkeypatch.setattr(inputs, "test_source", never)
    records = list(run_trial(cfg, machine, folder))
    assert plain(records) == plain(list(run_trial(cfg, machine)))
    assert "test_" not in json.dumps(records)
    assert "test_curve" not in load_artefact(trial_path(folder, cfg), "none")[1]


@pytest.mark.parametrize("name", ["cosine", "constant"])
def test_it_stops_within_its_schedule(name: str, machine: Machine, tmp_path: Path) -> None:
    """The first rounds of a longer run to the bit: the schedule keeps its length."""
    whole = plain(list(run_trial(config(schedule__name=name), machine)))
    cfg = config(schedule__name=name, stop_round=6)
    part = plain(list(run_trial(cfg, machine, tmp_path / "t")))
    spread = ("client_accuracy_worst", "client_accuracy_best", "client_accuracy_std")
    ended = {n: v for n, v in part[-1].items() if n not in spread}
    assert [*part[:-1], {**ended, "done": False}] == whole[:2]
    assert part[-1]["done"]
    assert list(run_trial(cfg, machine, tmp_path / "t"))[-1]["round"] == 6
    between = plain(list(run_trial(config(stop_round=5), machine)))  # eval_every = 3
    assert [one["round"] for one in between] == [3, 5]


@pytest.mark.parametrize("name", ["federated", "centralised", "stops early", "diverges"])
def test_accuracy_on_training_examples_changes_nothing_else(
    name: str, machine: Machine, tmp_path: Path
) -> None:
    usual = config(**VARIANTS[name])
    asked = usual.override({"eval_train": True})
    without = plain(list(run_trial(usual, machine, tmp_path / "t")))
    with_it = plain(list(run_trial(asked, machine, tmp_path / "t")))
    assert not any("train_accuracy" in one for one in without)
    found = [one.pop("train_accuracy", None) for one in with_it]
    assert with_it == without
    assert same_bits(stored(tmp_path / "t", asked), stored(tmp_path / "t", usual))
    assert [value is None for value in found] == [one["diverged"] for one in without]


@pytest.mark.parametrize("train_on", ["train", "train+val"])
def test_the_accuracy_on_training_examples_by_hand_and_after_a_kill(
    train_on: str, machine: Machine, tmp_path: Path
) -> None:
    cfg = config(eval_train=True, data__train_on=train_on, local__momentum=0.9)
    whole = list(run_trial(cfg, machine, tmp_path / "whole"))
    source = extract_features(cfg, machine)
    chosen = train_sample(source.labels.numpy(), cfg.data)
    params = stored(tmp_path / "whole", cfg)["params"]
    weight, bias = params[: 100 * WIDTH].view(100, WIDTH), params[100 * WIDTH :]
    guesses = (source.features[chosen] @ weight.T + bias).argmax(1)
    by_hand = (guesses == source.labels[chosen]).double().mean()
    assert whole[-1]["train_accuracy"] == pytest.approx(float(by_hand), abs=1.5 / len(chosen))
    partly = run_trial(cfg, machine, tmp_path / "killed")
    next(partly), next(partly)
    partly.close()
    assert plain(list(run_trial(cfg, machine, tmp_path / "killed"))) == plain(whole)


def test_test_metrics_when_all_data_trains(machine: Machine, tmp_path: Path) -> None:
    """Without a validation set there is no best evaluation: the last parameters count."""
    cfg = config(data__train_on="train+val", keep="best")
    list(run_trial(cfg, machine, tmp_path / "t"))
    assert trial.Trial(cfg, machine, tmp_path / "t").test_metrics()[0]["test_accuracy"] > 0.3


def test_test_metrics_need_the_parameters(machine: Machine, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no stored parameters"):
        trial.Trial(config(), machine, tmp_path / "t").test_metrics()


def test_forgetting_the_state_keeps_the_curve(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, folder = config(), tmp_path / "t"
    whole = list(run_trial(cfg, machine, folder))
    path = trial_path(folder, cfg)
    before = path.stat().st_size
    forget_state(path)
    assert path.stat().st_size < before - 4 * 100 * WIDTH
    assert recorded_curve(folder, cfg) == whole
    with pytest.raises(ValueError, match="no stored parameters"):
        trial.Trial(cfg, machine, folder).test_metrics()
    monkeypatch.setattr(trial, "fedavg", never)
    assert list(run_trial(cfg, machine, folder)) == whole


def test_an_unfinished_curve_without_its_state_starts_again(
    machine: Machine, tmp_path: Path
) -> None:
    cfg, folder = config(), tmp_path / "t"
    partly = run_trial(cfg, machine, folder)
    next(partly)
    partly.close()
    forget_state(trial_path(folder, cfg))
    assert plain(list(run_trial(cfg, machine, folder))) == plain(list(run_trial(cfg, machine)))


def test_an_unfinished_trial_of_before_the_virtual_clock_starts_again(
    machine: Machine, tmp_path: Path
) -> None:
    """Its time so far is not known; a finished one is read as it is."""
    cfg, folder = config(), tmp_path / "t"
    whole, path = plain(list(run_trial(cfg, machine))), trial_path(folder, cfg)
    for evaluations in (1, 100):
        partly = run_trial(cfg, machine, folder)
        for _, _ in zip(partly, range(evaluations), strict=False):
            pass
        partly.close()
        tensors, meta = load_artefact(path)
        del meta["state"]["totals"]["virtual_seconds"]
        save_artefact(path, tensors, meta)
        records, state = resume_trial(path, "cpu")
        assert (state is None) == (not records) == (evaluations == 1)
        assert plain(list(run_trial(cfg, machine, folder))) == whole


# --- images -------------------------------------------------------------------------------------

BACKBONES: dict[str, dict[str, Any]] = {
    "cnn": {"backbone.name": "cnn", "backbone.image_size": 8},
    "vit": {
        "backbone.name": "vit_tiny_patch16_224", "backbone.image_size": 16,
        "backbone.patch_size": 8,
    },
    "cnn, perceptron": {
        "backbone.name": "cnn", "backbone.image_size": 8, "head.hidden": 8, "head.norm": "layer",
    },
}  # fmt: skip


@pytest.fixture
def images(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(data: DataConfig, machine: Machine, *, train: bool) -> Examples:
        rng = stream(int(train), "toy images")
        count = 60 if train else 30
        pixels = rng.integers(0, 256, (count, 3, 16, 16), dtype=np.uint8)
        return Examples(torch.from_numpy(pixels), torch.from_numpy(rng.integers(0, 10, count)))

    for module in (inputs, features_stage):
        monkeypatch.setattr(module, "load_examples", load)


def image_config(backbone: str, trainable: str) -> TrialConfig:
    # A head of zeros sends nothing back to the backbone: where it stays frozen it needs a start.
    strategies = {"head": "head", "backbone": "head_then_sparse_backbone", "full": "full"}
    values = {
        **BACKBONES[backbone], "backbone.weights": "random",
        "fine_tune.strategy": strategies[trainable],
        "data.name": "cifar10", "federation.clients": 3, "federation.participation": 0.67,
        "head.method": "ridge" if trainable == "backbone" else "none",
        "data.crop": 0 if trainable == "head" else 2,
        "local.steps": 2, "local.batch_size": 4, "local.momentum": 0.9, "local.lr": 0.05,
        "local.weight_decay": 0.01, "rounds": 3, "eval_every": 1,
    }  # fmt: skip
    return TrialConfig().override(values)


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    ("backbone", "trainable"),
    [
        ("cnn", "full"),
        ("cnn", "backbone"),
        ("cnn", "head"),
        ("vit", "full"),
        pytest.param("vit", "backbone", marks=pytest.mark.soak),
        ("cnn, perceptron", "full"),
    ],
)
def test_images_train_what_they_should_and_resume_exactly(
    backbone: str, trainable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, machine = image_config(backbone, trainable), machine_of(tmp_path)
    built: list[tuple[Any, dict[str, torch.Tensor]]] = []
    prepare = stages.prepare

    def remembered(*args: Any) -> Any:
        fed, start = prepare(*args)
        built.append((fed.model, {n: t.clone() for n, t in fed.model.module.state_dict().items()}))
        return fed, start

    monkeypatch.setattr(stages, "prepare", remembered)
    whole = list(run_trial(cfg, machine, tmp_path / "whole"))
    wanted = stored(tmp_path / "whole", cfg)
    model, before = built[0]
    model.flat.copy_(wanted["params"])
    after = model.module.state_dict()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == set(model.layout.names)  # every trainable one, and no bit of any other
    if trainable != "head":
        parts = {name.split(".")[0] for name in moved}
        assert parts == ({"backbone"} if trainable == "backbone" else {"backbone", "head"})
        assert {n for n in before if n.split(".")[0] in parts} == moved
    metrics, _ = trial.Trial(cfg, machine, tmp_path / "whole").test_metrics()
    assert 0 <= metrics["test_accuracy"] <= 1
    for killed in (1, 2):
        folder = tmp_path / f"killed after {killed}"
        partly = run_trial(cfg, machine, folder)
        first = [next(partly) for _ in range(killed)]
        partly.close()
        again = list(run_trial(cfg, machine, folder))
        assert again[:killed] == first
        assert plain(again) == plain(whole)
        assert same_bits(stored(folder, cfg), wanted)


@pytest.mark.usefixtures("images")
def test_random_weights_follow_the_seed_and_features_are_stored_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg, machine = image_config("cnn", "head"), machine_of(tmp_path)
    curves = [plain(list(run_trial(cfg, machine)))]
    features_stage._features.cache_clear()
    monkeypatch.setattr(features_stage, "compute_features", never)
    curves.append(plain(list(run_trial(cfg, machine))))  # from the file
    assert curves[0] == curves[1]
    with pytest.raises(AssertionError, match="must not be called"):
        list(run_trial(cfg.override({"seed": 1}), machine))
    other = cfg.override({"local.lr": 0.3, "rounds": 9, "head.method": "ridge"})
    assert features_path(other, tmp_path) == features_path(cfg, tmp_path)


@pytest.mark.usefixtures("images")
def test_sparse_full_starts_from_a_small_random_head(tmp_path: Path) -> None:
    """Behind a head of zeros every backbone parameter has Fisher information zero: all ties."""
    machine = machine_of(tmp_path)

    def head(strategy: str, **values: Any) -> torch.Tensor:
        cfg = image_config("cnn", "full").override(
            {"fine_tune.strategy": strategy, "mask.examples": 8, **values}
        )
        fed, _ = stages.prepare(cfg, machine)
        weight: torch.Tensor = fed.model.module.head.weight  # type: ignore[assignment,union-attr]
        return weight.detach().clone()

    assert not head("full").any()
    random = head("sparse_full")
    assert 0.015 < float(random.std()) < 0.025
    assert torch.equal(random, head("sparse_full"))
    assert not torch.equal(random, head("sparse_full", seed=1))
    cfg = image_config("cnn", "full").override(
        {"fine_tune.strategy": "sparse_full", "mask.sparsity": 0.9, "mask.examples": 8,
         "data.val_fraction": 0.5, "mask.min_active": 0}
    )  # fmt: skip
    fed, _ = stages.prepare(cfg, machine)
    assert isinstance(fed.masks, Calibration)
    calibrator = fed.masks.calibrator
    sitting = _Sitting(calibrator, SERVER, cfg, fed.masks.start, 0)
    scores = fed.model.layout.views(sitting.score(calibrator.allowed, 0))
    assert all(bool((score > 0).any()) for score in scores.values())
