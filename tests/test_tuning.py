"""A worker's steps and the screen by themselves: no Ray is started."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fl_core import tuning
from fl_core.config import Machine, TrialConfig
from fl_core.display import Display
from fl_core.jobs import Job
from fl_core.trial import trial_path
from fl_core.tuning import TrialRunner

MASKS = ({"mask_active": 10.0, "mask_active_share": 0.1}, {"masks.csv": "layer,active\nhead,10\n"})


def records(diverged: bool) -> Iterator[dict[str, Any]]:
    for step in (4, 8):
        done = step == 8
        yield {
            "local_steps": step,
            "val_accuracy": 0.5,
            "done": done,
            "diverged": done and diverged,
        }


def steps(
    job: Job, folder: Path, patch: pytest.MonkeyPatch, *, masks: Any = MASKS, diverged: bool = False
) -> list[dict[str, Any]]:
    """The results of a job whose stages are stand-ins."""
    patch.setattr(tuning, "run_trial", lambda *_: records(diverged))
    patch.setattr(tuning, "test_metrics", lambda *_: {"test_accuracy": 0.4})
    patch.setattr(tuning, "mask_report", lambda *_: masks)
    patch.setattr(tuning, "forget_state", lambda path: path.write_text("forgotten"))
    runner = object.__new__(TrialRunner)
    runner.setup({"job": job.to_json()}, Machine(), folder)
    return [runner.step(), runner.step()]


def test_tables_come_with_the_last_record_of_a_confirmation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, last = steps(Job("confirm", 0, 1, TrialConfig()), tmp_path, monkeypatch)
    assert "tables" not in first
    assert "mask_active" not in first
    assert last["test_accuracy"] == 0.4
    assert last["mask_active_share"] == 0.1
    assert last["tables"] == MASKS[1]
    assert list(tmp_path.iterdir()) == []  # the parameters stay


def test_a_dense_confirmation_has_no_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job("confirm", 0, 1, TrialConfig())
    assert "tables" not in steps(job, tmp_path, monkeypatch, masks=({}, {}))[-1]


def test_search_and_diverged_jobs_report_no_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = Job("search", 0, 1, TrialConfig())
    last = steps(search, tmp_path, monkeypatch)[-1]
    assert not {"tables", "mask_active", "test_accuracy"} & set(last)
    assert trial_path(tmp_path, search.config).read_text() == "forgotten"
    confirming = Job("confirm", 0, 1, TrialConfig())
    last = steps(confirming, tmp_path, monkeypatch, diverged=True)[-1]
    assert not {"tables", "mask_active", "test_accuracy"} & set(last)


def test_the_screen_counts_the_confirmation_as_the_searches_decide_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A front of three with two seeds is six jobs, an arm without a winner none."""
    search = [Job("search", arm, 0, TrialConfig()) for arm in (0, 1)]
    confirming = [Job("confirm", 0, seed, TrialConfig()) for seed in (1, 2)] * 3
    with Display(["a", "b"], [Counter(), Counter()], trials=2) as display:
        for job in search:
            display.job_started(job)
            display.job_ended(job, "finished", "")
        display.expect(confirming)
        display.expect([])
        for job in confirming:
            display.job_started(job)
            display.job_record(job, {"test_accuracy": 0.5, "tables": MASKS[1]})
            display.job_ended(job, "finished", "")
    shown = capsys.readouterr().out
    assert "search 2/2 trials" in shown
    assert "confirm 6/6 trials" in shown
    assert "best test_accuracy 0.5000 (a)" in shown
