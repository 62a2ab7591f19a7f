"""Jobs: what they report, what they leave behind, what is never computed twice."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import config, plain

from fl_core import inputs, stages, trial
from fl_core.base.cache import load_artefact
from fl_core.base.errors import UserError
from fl_core.base.machine import Machine
from fl_core.checkpoint import trial_path
from fl_core.study.jobs import SCORE, Job
from fl_core.study.reports import (
    Aborted,
    Evaluated,
    Failed,
    OutOfMemory,
    Report,
    from_json,
    to_json,
)
from fl_core.study.trial_files import Places, ended_path, known_records
from fl_core.study.workers import run_job as runner
from fl_core.study.workers.run_job import attempt, run_job


def job(phase: str = "search", **values: Any) -> Job:
    return Job(phase, 0, 1, config(**values))


def never(*args: Any, **kwargs: Any) -> Any:
    raise AssertionError("must not be called")


def test_a_search_reports_a_score_and_no_test_metric(machine: Machine, tmp_path: Path) -> None:
    places = Places(tmp_path / "t")
    records = list(run_job(job(), machine, places))
    assert [record["finished"] for record in records] == [False] * 3 + [True]
    assert [record[SCORE] for record in records] == [r["val_accuracy"] for r in records]
    assert not any(name.startswith("test_") for record in records for name in record)
    assert not any("tables" in record for record in records)
    tensors, meta = load_artefact(ended_path(places.own, job()))
    assert tensors == {}  # its parameters are gone
    assert meta["records"] == records


def test_the_score_is_of_the_parameters_that_are_kept(machine: Machine, tmp_path: Path) -> None:
    wild = {"local__lr": 2.0, "rounds": 10, "eval_every": 1, "keep": "best",
            "federation__sharding": "classes", "federation__classes_per_client": 2}  # fmt: skip
    records = list(run_job(job(**wild), machine, Places(tmp_path / "t")))
    scores = [record[SCORE] for record in records]
    assert scores == sorted(scores)
    assert scores[-1] == max(record["val_accuracy"] for record in records)
    assert scores[-1] > records[-1]["val_accuracy"]


def test_a_diverged_search_scores_zero(machine: Machine, tmp_path: Path) -> None:
    wild = job("search", local__lr=1e6, local__weight_decay=1.0, local__steps=1)
    last = list(run_job(wild, machine, Places(tmp_path / "t")))[-1]
    assert last["diverged"]
    assert last[SCORE] == 0.0
    confirming = replace(wild, phase="confirm")
    last = list(run_job(confirming, machine, Places(tmp_path / "u")))[-1]
    assert not any(name.startswith("test_") for name in last)


def test_a_confirmation_reports_once_and_drops_its_parameters(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(tmp_path / "t")
    first = list(run_job(job("confirm"), machine, places))
    assert first[-1]["test_accuracy"] > 0.5
    assert first[-1]["tables"]["predictions.csv"].startswith("label,prediction,confidence\n")
    curve = first[-1]["tables"]["test_curve.csv"].splitlines()
    assert curve[0].startswith("round,local_steps,test_loss,test_accuracy,")
    assert len(curve) == 1 + len(first)
    assert not any("test" in name for record in first[:-1] for name in record)
    assert not trial_path(places.own, job().config).exists()
    monkeypatch.setattr(runner.Trial, "records", never)
    monkeypatch.setattr(runner.Trial, "test_metrics", never)
    assert list(run_job(job("confirm"), machine, places)) == first
    assert known_records(places.own, job("confirm")) == first


def test_parameters_stay_when_asked_for(machine: Machine, tmp_path: Path) -> None:
    places = Places(tmp_path / "t", keep=True)
    list(run_job(job(seed=1), machine, places))
    list(run_job(job("confirm"), machine, places))
    for seed in (0, 1):
        tensors, _ = load_artefact(trial_path(places.own, config(seed=seed)))
        assert "params" in tensors
    assert list(run_job(job(seed=1), machine, places))  # and the file is read again


def test_an_ended_job_is_not_computed_in_another_study(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    one = [list(run_job(job(p), machine, Places(tmp_path / "a", shared))) for p in PHASES]
    with monkeypatch.context() as patch:
        patch.setattr(runner.Trial, "records", never)
        other = [list(run_job(job(p), machine, Places(tmp_path / "b", shared))) for p in PHASES]
        assert other == one
        again = [list(run_job(job(p), machine, Places(tmp_path / "b"))) for p in PHASES]
        assert again == one  # it has its own copy now
        patch.setattr(runner, "limit_process_memory", lambda *_: None)
        with pytest.raises(AssertionError, match="must not"):
            list(run_job(job(), replace(machine, device="cuda:0"), Places(tmp_path / "c", shared)))
    alone = [list(run_job(job(p), machine, Places(tmp_path / "d"))) for p in PHASES]
    assert [plain(records) for records in alone] == [plain(records) for records in one]


PHASES = ("search", "confirm")


@pytest.mark.parametrize("phase", ["search", "probe"])
def test_no_search_and_no_probe_reads_the_test_set(
    phase: str, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "test_source", never)
    records = list(run_job(job(phase), machine, Places(tmp_path / "t")))
    assert records[-1]["finished"]
    assert "test_" not in json.dumps(records)
    assert "test_" not in json.dumps(load_artefact(ended_path(tmp_path / "t", job()), "none")[1])
    assert list(run_job(job(phase), machine, Places(tmp_path / "t"))) == records
    with pytest.raises(AssertionError, match="must not"):
        list(run_job(job("confirm", seed=1), machine, Places(tmp_path / "t")))


def test_no_search_sees_what_a_confirmation_measured(machine: Machine, tmp_path: Path) -> None:
    """The same configuration, first confirmed, then searched; and the other way round."""
    shared = tmp_path / "shared"
    list(run_job(job("confirm"), machine, Places(tmp_path / "a", shared)))
    searched = list(run_job(job("search"), machine, Places(tmp_path / "b", shared)))
    assert not any(name.startswith("test_") for record in searched for name in record)
    confirmed = list(run_job(job("confirm"), machine, Places(tmp_path / "b")))
    assert confirmed[-1]["test_accuracy"] > 0.5  # although only the curve was left


def test_a_damaged_record_is_computed_again(machine: Machine, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    first = list(run_job(job(), machine, Places(tmp_path / "a", shared)))
    for folder in (tmp_path / "a", shared):
        path = ended_path(folder, job())
        path.write_bytes(path.read_bytes()[:-7])
    again = list(run_job(job(), machine, Places(tmp_path / "a", shared)))
    assert plain(again) == plain(first)
    assert known_records(shared, job()) == again


@pytest.mark.parametrize("phase", PHASES)
def test_stopped_at_any_record_it_goes_on(phase: str, machine: Machine, tmp_path: Path) -> None:
    whole = plain(list(run_job(job(phase), machine, Places(tmp_path / "whole"))))
    for count in range(1, len(whole)):
        places = Places(tmp_path / f"stopped {count}")
        partly = run_job(job(phase), machine, places)
        first = [next(partly) for _ in range(count)]
        partly.close()  # type: ignore[attr-defined]
        assert known_records(places.own, job(phase)) != []
        rest = list(run_job(job(phase), machine, places))
        assert plain(rest) == whole
        assert (
            rest[: count - 1]
            == [  # read, not computed: the seconds are the same, too
                {**one, "finished": False, SCORE: one[SCORE]} for one in first[: count - 1]
            ]
        )


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (
            UserError("t: cannot be written (No space left)"),
            Aborted("t: cannot be written (No space left)"),
        ),
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory()),
        (MemoryError(), OutOfMemory()),
    ],
)
def test_trouble_that_is_no_fault_of_the_job_is_its_last_report(
    error: Exception,
    trouble: Report,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed = trial.Trial.records

    def in_trouble(self: trial.Trial) -> Iterator[dict[str, Any]]:
        yield next(undisturbed(self))
        raise error

    monkeypatch.setattr(runner.Trial, "records", in_trouble)
    first, last = attempt(job(), machine, Places(tmp_path / "t"))
    assert isinstance(first, Evaluated)
    assert not first.record["finished"]
    assert last == trouble


def test_reports_travel_as_text(machine: Machine, tmp_path: Path) -> None:
    """Records to the last bit, a train loss that is not a number included."""
    wild = job(local__lr=1e6, local__weight_decay=1.0)
    told = [*attempt(job("confirm"), machine, Places(tmp_path / "t")),
            *attempt(wild, machine, Places(tmp_path / "t")),
            Aborted("the disk is full"), OutOfMemory(), Failed("a\nb")]  # fmt: skip
    assert [repr(from_json(to_json(one))) for one in told] == [repr(one) for one in told]


class Unpicklable(Exception):
    """As a library's own may be: with an open file, and not made of what it says."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")
        self.lines = (line for line in ())


@pytest.mark.parametrize(
    ("error", "last_line"),
    [
        (FileNotFoundError(2, "No such file", "/nowhere/table.csv"),
         "FileNotFoundError: [Errno 2] No such file: '/nowhere/table.csv'"),
        (ModuleNotFoundError("No module named 'gone'"),
         "ModuleNotFoundError: No module named 'gone'"),
        (Unpicklable("my rule", "it is odd"), "test_runner.Unpicklable: my rule: it is odd"),
        (SystemExit("enough"), "SystemExit: enough"),
    ],
)  # fmt: skip
def test_a_fault_of_the_job_is_its_last_report(
    error: BaseException,
    last_line: str,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As text, with its kind and traceback: so it reaches the driver, whatever it is."""

    def prepare(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(stages, "prepare", prepare)
    (last,) = attempt(job(), machine, Places(tmp_path / "t"))
    assert isinstance(last, Failed)
    assert last.details.startswith("Traceback (most recent call last):")
    assert last.details.splitlines()[-1].endswith(last_line)
    assert from_json(to_json(last)) == last


def test_a_stopped_job_gives_its_memory_back(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closed in mid-way, nothing refers to the state of its federation any more."""
    import gc
    import weakref

    seen: list[weakref.ref[Any]] = []
    prepare = stages.prepare

    def watched(*args: Any) -> Any:
        fed, start = prepare(*args)
        seen.extend([weakref.ref(fed.model), weakref.ref(start)])
        return fed, start

    monkeypatch.setattr(stages, "prepare", watched)
    running = attempt(job(), machine, Places(tmp_path / "t"))
    next(running)
    assert len(seen) == 2
    assert seen[0]() is not None
    gc.disable()  # the last reference must do: on a CPU nobody looks for cycles (gpu.release)
    try:
        running.close()
        assert [reference() for reference in seen] == [None, None]
    finally:
        gc.enable()
