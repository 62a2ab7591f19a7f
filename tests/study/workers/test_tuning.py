"""A worker's steps and the screen by themselves: no Ray is started."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fl_core.base.errors import UserError
from fl_core.base.machine import Machine
from fl_core.config.trial_config import TrialConfig
from fl_core.study import display
from fl_core.study.display import Display
from fl_core.study.jobs import Job
from fl_core.study.progress import Progress
from fl_core.study.reports import Evaluated, Failed, OutOfMemory, Report, from_json, to_json
from fl_core.study.trial_files import Places
from fl_core.study.workers import ray_instance
from fl_core.study.workers import ray_tune as tuning
from fl_core.study.workers.post_mortem import post_mortem
from fl_core.study.workers.ray_tune import TrialRunner


def test_a_reused_worker_ends_one_job_before_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def attempt(job: Job, machine: Machine, places: Places) -> Iterator[Evaluated]:
        try:
            for step in (4, 8):
                yield Evaluated({"local_steps": step, "done": step == 8})
        finally:
            events.append(f"closed {job.number}")

    monkeypatch.setattr(tuning, "attempt", attempt)
    monkeypatch.setattr(tuning, "release", lambda device: events.append(f"released {device}"))
    configs = [{"job": Job("search", 0, n, TrialConfig()).to_json()} for n in (0, 1)]
    runner = object.__new__(TrialRunner)
    runner.setup(configs[0], Machine(), Places(tmp_path))
    first = Evaluated({"local_steps": 4, "done": False})
    assert runner.step() == {"report": to_json(first), "done": False}
    assert runner.reset_config(configs[1])
    assert events == ["closed 0", "released cpu"]
    steps = [runner.step() for _ in range(2)]
    assert [from_json(step["report"]).record["local_steps"] for step in steps] == [4, 8]
    assert [step["done"] for step in steps] == [False, True]
    runner.cleanup()
    assert events[2:] == ["closed 1"]


def test_a_worker_whose_job_failed_takes_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason goes first; then Tune ends the process, and does not try the job again."""
    why = Failed("Traceback\nValueError: of the user's rule")
    monkeypatch.setattr(tuning, "attempt", lambda *_: iter([why]))
    runner = object.__new__(TrialRunner)
    job = Job("search", 0, 0, TrialConfig())
    runner.setup({"job": job.to_json()}, Machine(), Places(tmp_path))
    told = runner.step()
    with pytest.raises(RuntimeError):
        runner.step()
    ends: list[tuple[Job, Report]] = []
    conductor: Any = SimpleNamespace(end=lambda *pair: ends.append(pair))
    jobs = tuning._Jobs(conductor)
    jobs.live["t"] = job
    trial = SimpleNamespace(trial_id="t", max_failures=2, error_file="gone")
    assert tuning._Verdicts(jobs).on_trial_result(None, trial, told) == "CONTINUE"
    assert trial.max_failures == 0
    tuning._Failures(jobs, None).on_trial_error(1, [], trial)
    assert ends == [(job, why)]


DEATH = """Failure # 3 (occurred at 2026-01-01_00-00-00)
The actor died unexpectedly before finishing this task.
\tpid: 4711
The actor is dead because its worker process has died. Worker exit detail: {detail}
"""
KILLED = "Worker unexpectedly exits with a connection error code 2. End of file."


@pytest.mark.parametrize(
    ("detail", "stderr", "last_line"),
    [
        (KILLED, "", "its worker died: killed (SIGKILL: by the kernel where memory ends"),
        (KILLED, "Fatal Python error: Segmentation fault\n\n  File x.py, line 3",
         "its worker died: Segmentation fault"),
        ("in its creation task:\nModuleNotFoundError: No module named 'mine'", "",
         "its worker died: ModuleNotFoundError: No module named 'mine'"),
    ],
)  # fmt: skip
def test_why_a_worker_died(detail: str, stderr: str, last_line: str, tmp_path: Path) -> None:
    (tmp_path / "error.txt").write_text(DEATH.format(detail=detail))
    (tmp_path / "worker-abc-01000000-4711.err").write_text(stderr)
    found = post_mortem(tmp_path / "error.txt", tmp_path)
    assert isinstance(found, Failed)
    assert found.details.splitlines()[-1].startswith(last_line)
    assert stderr in found.details
    nothing = post_mortem(tmp_path / "none.txt", None)
    assert isinstance(nothing, Failed)
    assert "it has left no word" in nothing.details


def test_a_worker_that_ray_killed_for_its_memory_is_tried_alone(tmp_path: Path) -> None:
    text = DEATH.format(detail="Task was killed due to the node running low on memory.")
    (tmp_path / "error.txt").write_text(text)
    assert post_mortem(tmp_path / "error.txt", None) == OutOfMemory()


def test_ray_starts_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A study goes on until it needs the workers; what is half started is ended once it stands."""
    go, ended = threading.Event(), []

    def init(**_: object) -> None:
        go.wait(10)
        raise RuntimeError("no room\nat all")

    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.setattr(ray_instance.ray, "init", init)
    monkeypatch.setattr(ray_instance.ray, "shutdown", lambda: ended.append(go.is_set()))
    with ray_instance.ray_session(None, 1) as instance:
        assert not go.is_set()
        go.set()
        with pytest.raises(UserError, match=r"^Ray does not start: no room at all$"):
            instance.ready()
    go.clear()
    threading.Timer(0.1, go.set).start()
    with pytest.raises(KeyboardInterrupt), ray_instance.ray_session(None, 1):
        raise KeyboardInterrupt
    assert ended == [True, True]
    assert not list(tmp_path.iterdir())


def test_the_screen_counts_the_confirmation_as_the_searches_decide_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A front of three with two seeds is six jobs, an arm without a winner none."""
    search = [Job("search", arm, 0, TrialConfig()) for arm in (0, 1)]
    confirming = [Job("confirm", 0, seed, TrialConfig()) for seed in (1, 2)] * 3
    left = list(search)
    done, progress = [Counter[str](), Counter[str]()], Progress(1, [1, 1])
    with Display(["a", "b"], done, lambda: len(left), progress) as display:
        for job in search:
            left.remove(job)
            display.job_started(job)
            display.job_ended(job, "finished", "")
        display.expect(0, confirming)
        display.expect(1, [])
        for job in confirming:
            display.job_started(job)
            display.job_record(job, {"val_accuracy": 0.5, "test_accuracy": 0.75})
            display.job_ended(job, "finished", "")
    shown = capsys.readouterr().out
    assert "search 2/2 trials" in shown
    assert "confirm 6/6 trials" in shown
    assert "best val_accuracy 0.5000 (a)" in shown
    assert "0.75" not in shown  # no test score before the table


def test_the_end_of_a_phase_is_said_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a line is due just then."""
    monkeypatch.setattr(display, "LINE_SECONDS", -1.0)
    search, confirming = (Job(phase, 0, 1, TrialConfig()) for phase in ("search", "confirm"))
    left = [search]
    with Display(["a"], [Counter()], lambda: len(left), Progress(1, [1])) as shown:
        left.remove(search)
        shown.job_started(search)
        shown.job_ended(search, "finished", "")
        shown.expect(0, [confirming])
        shown.job_started(confirming)
        shown.job_record(confirming, {"val_accuracy": 0.5})
        shown.job_ended(confirming, "finished", "")
    lines = [line.partition(",")[0] for line in capsys.readouterr().out.splitlines()]
    assert lines.count("search 1/1 trials") == lines.count("confirm 1/1 trials") == 1
    assert "confirm 0/0 trials" not in lines  # what follows is not known yet


def test_a_confirmation_on_all_images_shows_counts_alone(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without validation images there is nothing to show but the test score."""
    job = Job("confirm", 0, 1, TrialConfig())
    with Display(["a"], [Counter()], lambda: 0, Progress(1, [1])) as display:
        display.expect(0, [job])
        display.job_started(job)
        display.job_record(job, {"test_accuracy": 0.75})
        display.job_ended(job, "finished", "")
    shown = capsys.readouterr().out
    assert "confirm 1/1 trials" in shown
    assert "best" not in shown


@pytest.mark.parametrize("terminal", [False, True])
def test_what_looks_like_markup_is_shown_as_it_is(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path in brackets is rich's closing tag, and :x: an emoji."""
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TTY_COMPATIBLE", "1")
    arm, message = "data [/data/x] :x:", "[/no/such] [bold]file[/bold]"
    job = Job("search", 0, 0, TrialConfig())
    with Display([arm], [Counter()], lambda: 0, Progress(1, [1])) as display:
        display.phase = "search"
        display.job_started(job)
        display.job_record(job, {"val_accuracy": 0.5, "local_steps": 4})
        display.job_ended(job, "failed", message)
    shown = capsys.readouterr().out
    assert f"{arm} #0: {message}" in shown
