"""Every byte of a trial, whatever stage sends it: totals by hand, shared by trials, resumed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toy import WIDTH, config, machine_of, plain, write_features

from fl_core import head_stage, stages, trial
from fl_core.base.machine import Machine
from fl_core.config.record import Record
from fl_core.federated.evaluate import Evaluation, evaluate
from fl_core.federated.messages import encode, encode_mask
from fl_core.masks.calibration import Calibration
from fl_core.trial import run_trial

CLIENTS, SAMPLED, CLASSES = 10, 3, 100
SIZE = CLASSES * (WIDTH + 1)  # of the linear head
WHOLE = 16 + 4 * SIZE
MASK: dict[str, Any] = {"mask__sparsity": 0.5, "mask__examples": 16, "mask__rounds": 2}
STAGES = ("head", "masks", "main")


def last(machine: Machine, **values: Any) -> Record:
    """The last record of a trial of four rounds, whose bytes are the sum of the stages'."""
    record = list(run_trial(config(**{"rounds": 4, "eval_every": 4, **values}), machine))[-1]
    for way in ("up", "down"):
        parts = (record.get(f"bytes_{way}_{stage}", 0) for stage in STAGES)
        assert record[f"bytes_{way}"] == sum(parts)
    return record


def test_without_a_stage_before_it_the_main_stage_is_all(machine: Machine) -> None:
    record = last(machine)
    assert record["bytes_up"] == record["bytes_down"] == 4 * SAMPLED * WHOLE
    assert not {name for name in record if name.endswith(("_masks", "up_head", "down_head"))}
    assert (record["local_steps"], record["local_steps_head"]) == (16, 0)


def test_a_head_by_fedavg_is_counted(machine: Machine) -> None:
    """Its rounds x clients x message, both ways; again for a trial that finds it made."""
    head = {"head__method": "fedavg", "head__rounds": 7, "head__local__steps": 3}
    for more in ({}, {"local__lr": 0.1}):
        record = last(machine, **head, **more)
        assert record["bytes_up"] == (7 + 4) * SAMPLED * WHOLE
        assert record["bytes_up_head"] == record["bytes_down_head"] == 7 * SAMPLED * WHOLE
        assert record["bytes_up_main"] == 4 * SAMPLED * WHOLE
        assert (record["local_steps"], record["local_steps_head"]) == (16, 21)


def test_ridge_statistics_are_counted(machine: Machine) -> None:
    """X^T X as its upper triangle and X^T Y, float64, of every client once."""
    record = last(machine, head__method="ridge", head__temperature=1.0)
    width = WIDTH + 1
    message = 16 + 8 * (width * (width + 1) // 2 + width * CLASSES)
    assert record["bytes_up_head"] == CLIENTS * message
    assert record["bytes_down_head"] == 0
    assert record["bytes_up_main"] == 4 * SAMPLED * WHOLE
    assert record["local_steps_head"] == 0
    # the search of its temperature: the head to all once, then a scale down, two sums up
    searched = last(machine, head__method="ridge")
    times = head_stage.fitted_scale(config(head__method="ridge"), machine).evaluations
    assert times > 1
    assert searched["bytes_up_head"] == CLIENTS * (message + times * (16 + 2 * 8))
    assert searched["bytes_down_head"] == CLIENTS * (WHOLE + times * (16 + 8))


@pytest.mark.parametrize("source", ["union", "intersection", "majority"])
def test_masks_of_clients_are_counted(source: str, machine: Machine) -> None:
    """The start to every client, its mask back; then nobody needs the start again."""
    values = {**MASK, "head__method": "fedavg", "head__rounds": 2, "mask__source": source}
    record = last(machine, **values)
    fed, _ = stages.prepare(config(rounds=4, eval_every=4, **values), machine)
    masks = fed.masks
    assert isinstance(masks, Calibration)
    own = [len(encode_mask(masks.mask(client))) for client in range(CLIENTS)]
    assert record["bytes_up_masks"] == sum(own)
    assert record["bytes_down_masks"] == CLIENTS * WHOLE
    shared = masks(0).mask
    values_alone = len(encode(torch.zeros(SIZE), shared, "values"))
    assert record["bytes_up_main"] == 4 * SAMPLED * values_alone
    new = record["bytes_down_main"] - 4 * SAMPLED * values_alone  # the mask, to who takes part
    assert new % len(encode_mask(shared)) == 0


def test_scores_of_clients_are_counted(machine: Machine) -> None:
    """R = 2: the start down and all scores up; the mask so far down and its scores up."""
    record = last(machine, **MASK, head__method="ridge", mask__source="scores")
    count = round(SIZE * 0.5**0.5)
    first = torch.arange(SIZE) < count
    up = WHOLE + 16 + 4 * count
    assert record["bytes_up_masks"] == CLIENTS * up
    assert record["bytes_down_masks"] == CLIENTS * (WHOLE + len(encode_mask(first)))


@pytest.mark.parametrize(
    "values",
    [
        {"mask__scope": "shared"},
        {"mask__scope": "per_client"},
        {"mask__source": "scores", "mask__rule": "low_magnitude"},
    ],
)
def test_where_no_client_is_asked_masks_cost_nothing_before_the_main_stage(
    values: dict[str, Any], machine: Machine
) -> None:
    record = last(machine, **MASK, head__method="ridge", **values)
    assert "bytes_up_masks" not in record


def test_the_start_is_measured_once(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first round, on the validation examples; on test ones at the end, if asked for."""
    counted: list[int] = []

    def evaluated(*args: Any, **kwargs: Any) -> Evaluation:
        counted.append(1)
        return evaluate(*args, **kwargs)

    monkeypatch.setattr(trial, "evaluate", evaluated)
    cfg = config(head__method="ridge", local__lr=1e-9)  # the last is as good as the start
    partly = run_trial(cfg, machine, tmp_path / "t")
    next(partly)
    partly.close()
    records = list(run_trial(cfg, machine, tmp_path / "t"))
    assert len(counted) == 1
    assert {one["val_accuracy_start"] for one in records} == {records[-1]["val_accuracy"]}
    metrics, _ = trial.Trial(cfg, machine, tmp_path / "t").test_metrics()
    assert metrics["test_accuracy_start"] == metrics["test_accuracy"] > 0.5
    everything = config(data__train_on="train+val")
    assert "val_accuracy_start" not in next(run_trial(everything, machine))


def test_costs_are_those_of_the_artefact_and_survive_a_kill(
    machine: Machine, tmp_path: Path
) -> None:
    values: dict[str, Any] = {
        **MASK, "head__method": "fedavg", "head__rounds": 2, "mask__source": "scores",
    }  # fmt: skip
    cfg = config(**values)
    whole = list(run_trial(cfg, machine, tmp_path / "whole"))
    for fresh in ("as it was", "another"):
        own = machine
        if fresh == "another":
            own = machine_of(tmp_path / fresh)
            write_features(own.cache_dir)
        partly = run_trial(cfg, own, tmp_path / fresh / "t")
        next(partly)
        partly.close()
        assert plain(list(run_trial(cfg, own, tmp_path / fresh / "t"))) == plain(whole)
