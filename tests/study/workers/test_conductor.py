"""Between search, workers and listeners: retries, aborts, failures; one process without Ray."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from fl_core.base.errors import UserError
from fl_core.base.machine import Machine
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study.jobs import SCORE, TIME, Arm, Job, Workers
from fl_core.study.plan import Plan
from fl_core.study.reports import Aborted, Evaluated, Failed, OutOfMemory, Report
from fl_core.study.search.confirm import confirm
from fl_core.study.search.search import Search
from fl_core.study.trial_files import Places
from fl_core.study.workers import dispatch
from fl_core.study.workers.dispatch import FAILURES, Conductor, run_serial


def space(trial: optuna.Trial) -> dict[str, Value]:
    return {"local.lr": trial.suggest_float("local.lr", 1e-3, 1.0, log=True)}


class Heard:
    """A listener that notes everything."""

    def __init__(self) -> None:
        self.started: list[Job] = []
        self.records: list[int] = []
        self.ends: list[tuple[str, str]] = []

    def job_started(self, job: Job) -> None:
        self.started.append(job)

    def job_record(self, job: Job, record: dict[str, Any]) -> None:
        self.records.append(record[TIME])

    def job_ended(self, job: Job, status: str, message: str) -> None:
        self.ends.append((status, message))


def conductor(folder: Path, heard: Heard, trials: int = 3, seeds: int = 1) -> Conductor:
    arm = Arm("all", {}, TrialConfig())

    def then(number: int, study: optuna.Study) -> list[Job]:
        return confirm(number, arm, study, range(1, seeds + 1), {})

    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(trials, pruner="none")
    search = Search([arm], space, plan, folder / "optuna.journal", then)
    return Conductor(search, [heard], folder / "trials", folder)


def at(step: int) -> Evaluated:
    return Evaluated({TIME: step, SCORE: 0.5, "finished": step == 8, "diverged": False})


def play(monkeypatch: pytest.MonkeyPatch, script: Any) -> None:
    """Jobs whose reports `script(job)` makes."""

    def attempt(job: Job, machine: Machine, places: Places) -> Iterator[Report]:
        yield from script(job)

    monkeypatch.setattr(dispatch, "attempt", attempt)


def run(one: Conductor, folder: Path) -> None:
    run_serial(one, Machine(), Places(folder / "trials"))


def states(one: Conductor) -> list[TrialState]:
    return [trial.state for trial in one.search.studies[0].get_trials()]


def test_search_then_confirmation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()
    play(monkeypatch, lambda job: [at(4), at(8)])
    run(conductor(tmp_path, heard, trials=2, seeds=3), tmp_path)
    assert [job.phase for job in heard.started] == ["search"] * 2 + ["confirm"] * 3
    assert heard.records == [4, 8] * 5
    assert heard.ends == [("finished", "")] * 5


def test_out_of_memory_is_tried_once_more_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()
    tried: list[tuple[int, bool]] = []

    def script(job: Job) -> list[Report]:
        tried.append((job.number, job.alone))
        if job.phase == "search" and job.number == 1 and not job.alone:
            return [at(4), OutOfMemory()]
        return [at(4), at(8)]

    play(monkeypatch, script)
    one = conductor(tmp_path, heard)
    run(one, tmp_path)
    assert tried == [(0, False), (1, False), (2, False), (1, True), (1, False)]
    assert len(heard.started) == 4  # the same trial, started once
    assert states(one) == [TrialState.COMPLETE] * 3
    alone = ("finished", "out of memory while others ran: run again alone")
    assert heard.ends == [*[("finished", "")] * 2, alone, ("finished", "")]


def test_out_of_memory_even_alone_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()

    def script(job: Job) -> list[Report]:
        wide = job.phase == "search" and job.number == 1
        return [OutOfMemory() if wide else at(8)]

    play(monkeypatch, script)
    one = conductor(tmp_path, heard)
    run(one, tmp_path)
    assert states(one) == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert [end for end in heard.ends if end[0] == "failed"] == [
        ("failed", "out of memory, even alone on the machine")
    ]


def test_a_full_disk_stops_the_study_and_costs_no_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = Heard()

    def script(job: Job) -> list[Report]:
        full = job.number == 1
        return [at(4), Aborted("x: No space left") if full else at(8)]

    play(monkeypatch, script)
    one = conductor(tmp_path, heard)
    with pytest.raises(UserError, match="No space left; nothing is lost: the same command"):
        run(one, tmp_path)
    assert states(one) == [TrialState.COMPLETE, TrialState.RUNNING]
    assert heard.ends == [("finished", "")]
    assert one.next_job() is None
    assert one.ended
    play(monkeypatch, lambda job: [at(4), at(8)])
    again = conductor(tmp_path, heard)
    run(again, tmp_path)
    assert [job.number for job in heard.started] == [0, 1, 1, 2, 1]  # the last: its seed
    assert states(again) == [TrialState.COMPLETE] * 3


BY_HAND = Failed("Traceback (most recent call last):\nZeroDivisionError: by hand")


def test_a_failed_job_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = Heard()

    def script(job: Job) -> Iterator[Report]:
        yield at(4)
        yield BY_HAND if job.phase == "search" and job.number == 0 else at(8)

    play(monkeypatch, script)
    run(conductor(tmp_path, heard), tmp_path)
    assert heard.ends[0] == ("failed", "ZeroDivisionError: by hand")
    assert [status for status, _ in heard.ends[1:]] == ["finished"] * 3
    assert "Traceback" in (tmp_path / FAILURES).read_text()


def test_all_failed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    play(monkeypatch, lambda job: [BY_HAND])
    with pytest.raises(UserError, match="every trial failed; the last one: ZeroDivisionError"):
        run(conductor(tmp_path, Heard()), tmp_path)


def test_resources_of_a_job_alone() -> None:
    plain = Job("search", 0, 0, TrialConfig())
    together, alone = ({"job": job.to_json()} for job in (plain, plain.by_itself()))
    shared, cpu = Workers(4, 2.0, 0.25), Workers(2, 1.0, 0.0)
    assert shared.of(together) == {"cpu": 2.0, "gpu": 0.25}
    assert shared.of(alone) == {"cpu": 2.0, "gpu": 1.0}
    assert cpu.of(together) == {"cpu": 1.0, "gpu": 0.0}
    assert cpu.of(alone) == {"cpu": 2.0, "gpu": 0.0}
    assert Job.from_json(alone["job"]) == plain.by_itself()


def test_one_process_needs_no_ray() -> None:
    code = (
        "import sys; sys.modules['ray'] = None\n"
        "import fl_core.study.workers.dispatch, fl_core.study.command, fl_core.study.replay\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
