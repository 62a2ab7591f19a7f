"""The search by itself: no Ray is started, no trial is run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from fl_core.base.errors import UserError
from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study.folder import search_name
from fl_core.study.jobs import SCORE, TIME, Arm, Job, outcome
from fl_core.study.plan import Plan
from fl_core.study.search.confirm import best_trials, confirm
from fl_core.study.search.journal import JOURNAL, prepare
from fl_core.study.search.search import Search


def space(trial: optuna.Trial) -> Mapping[str, Value]:
    return {"local.lr": trial.suggest_float("local.lr", 1e-3, 1.0, log=True)}


def arms(count: int = 2) -> list[Arm]:
    base = TrialConfig().override({"rounds": 10, "local.steps": 4})
    return [Arm(f"seed {n}", {"seed": n}, base.override({"seed": n})) for n in range(count)]


def search(tmp_path: Path, trials: int = 4, count: int = 2, **plan: Any) -> Search:
    journal = tmp_path / JOURNAL
    tmp_path.mkdir(exist_ok=True)
    prepare(journal)
    return Search(arms(count), space, Plan(trials, **{"pruner": "none", **plan}), journal)


def asked(one: Search) -> Job:
    job = one.next_job()
    assert job is not None
    return job


def result(step: int, score: float, **more: Any) -> dict[str, Any]:
    return {TIME: step, SCORE: score, "finished": False, "diverged": False, **more}


def drive(one: Search, count: int, score: float = 0.5) -> list[Job]:
    """Ask for and finish `count` trials, one at a time."""
    jobs = []
    for _ in range(count):
        job = asked(one)
        assert not one.report(job, result(20, score - 0.1))
        lr = job.config.local.lr  # an objective with its best at 0.1
        one.end(job, result(40, score - abs(lr - 0.1), finished=True))
        jobs.append(job)
    return jobs


def test_arms_take_turns_and_get_the_same_number_of_trials(tmp_path: Path) -> None:
    one = search(tmp_path)
    jobs = drive(one, 8)
    assert [job.arm for job in jobs] == [0, 1] * 4
    assert [job.number for job in jobs] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert one.next_job() is None
    assert one.ended
    assert one.remaining == 0
    for job in jobs:
        assert job.config.seed == job.arm  # the arm's own base
        assert job.config.local.lr == job.chosen["local.lr"]
    assert len({job.config.local.lr for job in jobs}) == 8  # arms search on their own


@pytest.mark.parametrize("searcher", ["tpe", "random", "nsga2"])
def test_a_search_is_a_function_of_its_seed(searcher: str, tmp_path: Path) -> None:
    runs = [drive(search(tmp_path / n, 8, searcher=searcher), 16) for n in ("a", "b")]
    assert runs[0] == runs[1]
    other = drive(search(tmp_path / "c", 8, searcher=searcher, seed=1), 16)
    assert {job.config.local.lr for job in other}.isdisjoint(
        {job.config.local.lr for job in runs[0]}
    )


@pytest.mark.parametrize("stop", [3, 11, 15])
def test_interrupted_search_makes_the_same_suggestions(stop: int, tmp_path: Path) -> None:
    """Also beyond the random trials, where TPE learns from what was told."""
    whole = drive(search(tmp_path / "whole", 8), 16)
    first = drive(search(tmp_path / "parts", 8), stop)
    rest = drive(search(tmp_path / "parts", 8), 16 - stop)
    assert first + rest == whole


def test_running_trial_of_a_killed_driver_goes_on_with_its_values(tmp_path: Path) -> None:
    killed = search(tmp_path)
    drive(killed, 2)
    running = asked(killed)
    killed.report(running, result(20, 0.4))
    again = search(tmp_path)
    assert again.remaining == 8 - 2
    resumed = asked(again)
    assert resumed == running
    again.report(resumed, result(20, 0.4))  # the replayed curve
    again.end(resumed, result(40, 0.6, finished=True))
    assert [len(study.get_trials()) for study in again.studies] == [2, 1]
    assert again.studies[0].get_trials()[1].value == 0.6


def test_more_trials_extend_a_finished_search(tmp_path: Path) -> None:
    drive(search(tmp_path, 2), 4)
    assert search(tmp_path, 2).remaining == 0
    extended = search(tmp_path, 5)
    assert extended.remaining == 6
    assert [job.number for job in drive(extended, 6)] == [2, 2, 3, 3, 4, 4]


def test_how_trials_end(tmp_path: Path) -> None:
    one = search(tmp_path, 5, count=1)
    jobs = [asked(one) for _ in range(5)]
    one.end(jobs[0], result(40, 0.7, finished=True))
    one.end(jobs[1], result(20, 0.9))  # stopped early, however good
    one.end(jobs[2], result(8, 0.0, finished=True, diverged=True))
    one.end(jobs[3], None)
    one.end(jobs[4], result(40, 0.6, finished=True))
    trials = one.studies[0].get_trials()
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.PRUNED, TrialState.FAIL]
    assert [trial.state for trial in trials[:4]] == states
    assert [trial.user_attrs.get("status") for trial in trials[:3]] == [
        "finished", "pruned", "diverged",
    ]  # fmt: skip
    assert [trial.number for trial in best_trials(one.studies[0], 3)] == [0, 4]


def test_what_failed_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    """With its own values, beside the trials that were still to come, and only once a run."""
    first = search(tmp_path, 4, count=1)
    failed = asked(first)
    first.end(failed, None)
    done = drive(first, 1)
    second = search(tmp_path, 4, count=1)
    assert second.remaining == 3
    retried = asked(second)
    assert (retried.config, retried.number) == (failed.config, 2)
    second.end(retried, None)
    killed = search(tmp_path, 4, count=1)  # the queued trial is not queued twice
    assert killed.remaining == 3
    third = search(tmp_path, 4, count=1)
    assert third.remaining == 3
    jobs = drive(third, 3)
    assert third.next_job() is None
    assert third.ended
    assert jobs[0].config == failed.config
    configs = [job.config for job in done + jobs]
    assert len(set(configs)) == 4  # as many results as asked for
    states = [trial.state for trial in third.studies[0].get_trials()]
    assert states.count(TrialState.FAIL) == 2
    assert search(tmp_path, 4, count=1).remaining == 0


def test_failures_do_not_shift_the_points_of_a_grid(tmp_path: Path) -> None:
    def stepped(trial: optuna.Trial) -> Mapping[str, Value]:
        return {"local.batch_size": trial.suggest_categorical("local.batch_size", [16, 32, 64])}

    def opened() -> Search:
        plan = Plan(9, searcher="grid", pruner="none")
        return Search(arms(1), stepped, plan, tmp_path / "optuna.journal")

    one = opened()
    one.end(asked(one), None)
    sizes = [job.config.local.batch_size for job in drive(opened(), 3)]
    assert sorted(sizes) == [16, 32, 64]


def test_ties_go_to_the_earliest_trial(tmp_path: Path) -> None:
    one = search(tmp_path, 3, count=1)
    jobs = [asked(one) for _ in range(3)]
    for n, score in ((2, 0.7), (1, 0.7), (0, 0.2)):
        one.end(jobs[n], result(40, score, finished=True))
    assert [trial.number for trial in best_trials(one.studies[0], 9)] == [1, 2, 0]


def test_a_journal_cut_short_loses_its_last_entry_alone(tmp_path: Path) -> None:
    """The disk was full, or the machine went down, in the middle of a line."""
    whole = drive(search(tmp_path / "whole", 4), 8)
    first = drive(search(tmp_path, 4), 3)
    journal = tmp_path / "optuna.journal"
    last = journal.read_bytes().splitlines(keepends=True)[-1]
    journal.write_bytes(journal.read_bytes() + last[: len(last) // 2])
    assert first + drive(search(tmp_path, 4), 5) == whole


def test_locks_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    drive(search(tmp_path), 2)
    (tmp_path / "optuna.journal.lock").symlink_to("optuna.journal")
    assert search(tmp_path).remaining == 6


@pytest.mark.parametrize("searcher", ["random", "tpe", "nsga2"])
def test_killed_between_two_entries_of_the_journal(searcher: str, tmp_path: Path) -> None:
    """Wherever in the making of a trial, between two of its values too: the same trials follow."""

    def two(trial: optuna.Trial) -> Mapping[str, Value]:
        momentum = trial.suggest_float("local.momentum", 0.0, 0.9)
        return {**space(trial), "local.momentum": momentum}

    def opened(name: str) -> Search:
        (tmp_path / name).mkdir(exist_ok=True)
        plan = Plan(3, searcher=searcher, pruner="none", first=[{"local.lr": 0.5}])
        return Search(arms(1), two, plan, tmp_path / name / JOURNAL)

    one = opened("whole")
    whole = drive(one, 3)
    journal = tmp_path / "whole" / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    (tmp_path / "cut").mkdir()
    # from the trial that only the sampler has a say in
    for count in range(len(lines) * 2 // 3, len(lines)):
        (tmp_path / "cut" / JOURNAL).write_bytes(b"".join(lines[:count]))
        again = opened("cut")
        assert drive(again, again.remaining)[-1:] in ([whole[-1]], []), lines[count]


DAMAGE = (b"null", b"[]", b'"text"', b"\x00\x01", b"", b'{"op_code": 99, "worker_id": "x"}',
          b'{"op_code": "4", "worker_id": "x"}', b'{"op_code": 5, "worker_id": "x"}')  # fmt: skip


def test_a_damaged_journal_goes_on_from_before_the_damage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It comes to what the undamaged one would have; what was there stays beside."""
    drive(search(tmp_path, 3), 3)
    journal, name = tmp_path / JOURNAL, search_name(tmp_path)
    lines = journal.read_bytes().splitlines()
    for number, line in enumerate(DAMAGE):
        place = (0, 1, len(lines) - 1, 20)[number % 4]
        damaged = b"\n".join([*lines[:place], line, *lines[place + 1 :]]) + b"\n"
        journal.write_bytes(damaged)
        prepare(journal)
        (said,) = capsys.readouterr().err.splitlines()
        assert f"damaged from line {place + 1} on" in said
        assert journal.read_bytes().splitlines() == lines[:place]
        aside = f"{JOURNAL}.damaged.{number + 1}".removesuffix(".1")
        assert (tmp_path / aside).read_bytes() == damaged
        assert search_name(tmp_path) != name  # what follows are another search's trials
        name = search_name(tmp_path)
    one = search(tmp_path, 3)
    again = drive(one, one.remaining)
    assert 3 < len(again) < 6
    assert again == drive(search(tmp_path / "whole", 3), 6)[-len(again) :]
    assert capsys.readouterr().err == ""


def test_a_journal_that_is_none_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / JOURNAL).mkdir()
    with pytest.raises(UserError, match=r"optuna\.journal: cannot be used"):
        prepare(tmp_path / JOURNAL)


def test_another_way_to_search_is_another_search(tmp_path: Path) -> None:
    """In the same folder: each goes on with its own trials, none sees the other's."""
    own = drive(search(tmp_path), 8)
    random = search(tmp_path, way="random", searcher="random")
    assert random.remaining == 8
    drive(random, 8)
    assert search(tmp_path).remaining == 0
    more = search(tmp_path, 5)
    assert more.remaining == 2
    assert [len(study.get_trials()) for study in more.studies] == [4, 4]
    assert {job.config for job in own} == {
        job.config for job in drive(search(tmp_path / "other"), 8)
    }


def test_an_arm_is_confirmed_when_its_own_search_has_ended(tmp_path: Path) -> None:
    both = arms(2)

    def then(arm: int, study: optuna.Study) -> list[Job]:
        return confirm(arm, both[arm], study, [7, 8], {"data.train_on": "train+val"})

    one = Search(both, space, Plan(1), tmp_path / "optuna.journal", then)
    first, second = asked(one), asked(one)
    assert one.next_job() is None  # both arms are still being searched
    assert not one.ended
    one.end(first, result(40, 0.5, finished=True))
    jobs = [asked(one), asked(one)]
    assert [(job.phase, job.arm, job.number, job.config.seed) for job in jobs] == [
        ("confirm", 0, 7, 7), ("confirm", 0, 8, 8),
    ]  # fmt: skip
    assert {job.config.local.lr for job in jobs} == {first.config.local.lr}
    assert {job.config.data.train_on for job in jobs} == {"train+val"}
    assert not one.report(jobs[0], {TIME: 4, "finished": False})
    one.end(jobs[0], {TIME: 40, "finished": True, "diverged": False})
    assert one.next_job() is None  # arm 1 is still being searched
    assert not one.ended
    one.end(second, result(8, 0.0, finished=True, diverged=True))
    assert one.next_job() is None  # and has nothing to confirm
    assert one.ended
    assert [len(study.get_trials()) for study in one.studies] == [1, 1]


def test_a_job_may_be_handed_out_again(tmp_path: Path) -> None:
    """It ran out of memory beside others: it is still the same trial."""
    one = search(tmp_path, 1, count=1)
    job = asked(one)
    one.again(job.by_itself())
    again = asked(one)
    assert again == job.by_itself()
    one.end(again, result(40, 0.5, finished=True))
    assert [trial.state for trial in one.studies[0].get_trials()] == [TrialState.COMPLETE]


def test_outcome() -> None:
    assert outcome({"diverged": True, "finished": True}) == "diverged"
    assert outcome({"diverged": False, "finished": True}) == "finished"
    assert outcome({"diverged": False, "finished": False}) == "pruned"


FIRST = ({"local.lr": 0.02}, {"local.lr": 0.3})


@pytest.mark.parametrize("stop", [0, 1, 2, 3])
def test_known_points_come_first_also_after_an_interruption(stop: int, tmp_path: Path) -> None:
    def opened(name: str) -> Search:
        return search(tmp_path / name, 3, first=FIRST)

    whole = drive(opened("whole"), 6)
    assert [job.config.local.lr for job in whole[:4]] == [0.02, 0.02, 0.3, 0.3]
    assert len({job.config.local.lr for job in whole}) == 4  # then the sampler's own
    parts = drive(opened("parts"), stop) + drive(opened("parts"), 6 - stop)
    assert [job.config for job in parts] == [job.config for job in whole]


def test_a_point_that_was_queued_and_never_run_is_run_once(tmp_path: Path) -> None:
    """Killed between the queue and the question."""
    search(tmp_path, 3, 1).studies[0].enqueue_trial(dict(FIRST[0]))
    jobs = drive(search(tmp_path, 3, 1, first=FIRST), 3)
    assert [job.config.local.lr for job in jobs[:2]] == [0.02, 0.3]


# --- time budget ----------------------------------------------------------------------------------


def test_after_the_time_budget_no_trial_starts_and_running_ones_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("fl_core.study.search.search.time.monotonic", lambda: now)
    confirmed: list[int] = []

    def then(arm: int, study: optuna.Study) -> list[Job]:
        confirmed.append(arm)
        return []

    one = Search(
        arms(2), space, Plan(9, pruner="none", seconds=60.0), tmp_path / "optuna.journal", then
    )
    first, alone, running = asked(one), asked(one), asked(one)
    one.end(first, result(40, 0.5, finished=True))
    now = 61.0
    assert one.next_job() is None  # nothing new, but arms are still being searched
    assert one.report(running, result(20, 0.4))  # its arm has a finished trial
    one.end(running, result(20, 0.4))
    assert not one.report(alone, result(20, 0.4))  # its arm would have nothing to confirm
    one.end(alone, result(40, 0.6, finished=True))
    assert one.next_job() is None
    assert one.ended
    assert confirmed == [0, 1]


# --- a wider space --------------------------------------------------------------------------------


def choices(*sizes: int) -> Any:
    def wider(trial: optuna.Trial) -> Mapping[str, Value]:
        return {
            "local.lr": trial.suggest_float("local.lr", 1e-3 / len(sizes), 1.0, log=True),
            "local.batch_size": trial.suggest_categorical("local.batch_size", sizes),
        }

    return wider


def test_a_wider_space_goes_on_with_what_was_learnt(tmp_path: Path) -> None:
    """Optuna refuses other choices in the same study; ours takes the old trials over."""
    journal = tmp_path / "optuna.journal"
    old = Search(arms(1), choices(32, 64), Plan(4, pruner="none"), journal)
    jobs = drive(old, 3)
    running = asked(old)
    wide = Search(arms(1), choices(32, 64, 128), Plan(6, pruner="none"), journal)
    assert wide.remaining == 3
    assert asked(wide).config == running.config
    trials = wide.studies[0].get_trials()
    assert [t.user_attrs["digest"] for t in trials[:3]] == [job.config.digest() for job in jobs]
    assert [t.state for t in trials] == [TrialState.COMPLETE] * 3 + [TrialState.RUNNING]
    drive(wide, 2)
    assert len(wide.studies[0].get_trials()) == 6
    again = Search(arms(1), choices(32, 64, 128), Plan(6, pruner="none"), journal)
    assert again.remaining == 1  # opened, not taken over a second time


def test_a_narrower_space_leaves_out_what_it_does_not_allow(tmp_path: Path) -> None:
    journal = tmp_path / "optuna.journal"
    drive(Search(arms(1), choices(32, 64), Plan(8, pruner="none"), journal), 8)
    narrow = Search(arms(1), choices(64), Plan(8, pruner="none"), journal)
    sizes = [t.params["local.batch_size"] for t in narrow.studies[0].get_trials()]
    assert sizes
    assert set(sizes) == {64}


def names(one: Search) -> list[str]:
    return [study.study_name for study in one.studies]


def test_studies_are_named_for_people(tmp_path: Path) -> None:
    """As optuna-dashboard lists them; other choices don't merge with the old ones."""
    journal, labels = tmp_path / "optuna.journal", {"study": "s", "preset": "smoke"}

    def opened(space: Any) -> Search:
        return Search(arms(2), space, Plan(2, pruner="none"), journal, labels=labels)

    first = opened(choices(32, 64))
    assert names(first) == ["s: seed 0", "s: seed 1"]
    attributes = first.studies[0].user_attrs
    assert {**labels, "arm": "seed 0", "seed": 0}.items() <= attributes.items()
    assert first.studies[0].metric_names == [SCORE]
    drive(first, 4)
    assert names(opened(choices(64))) == ["s: seed 0 (2)", "s: seed 1 (2)"]
    again = opened(choices(32, 64))
    assert names(again) == names(first)
    assert again.remaining == 0


def test_a_study_that_a_killed_run_left_half_made_is_finished(tmp_path: Path) -> None:
    """The journal ends after the name, or amid the trials of earlier choices."""
    journal = tmp_path / "optuna.journal"
    drive(Search(arms(1), choices(32, 64), Plan(3, pruner="none"), journal), 3)
    before = journal.read_text().splitlines(keepends=True)
    Search(arms(1), choices(32, 64, 128), Plan(3, pruner="none"), journal)
    lines = journal.read_text().splitlines(keepends=True)
    for cut in range(len(before) + 1, len(lines), 2):
        journal.write_text("".join(lines[:cut]))
        wide = Search(arms(1), choices(32, 64, 128), Plan(3, pruner="none"), journal)
        assert names(wide) == ["seed 0 (2)"]
        assert len(wide.studies[0].get_trials()) == 3, cut


def test_journals_with_digests_for_names_go_on(tmp_path: Path) -> None:
    """Those of earlier versions."""
    journal = tmp_path / "optuna.journal"
    drive(search(tmp_path, count=1), 2)
    (study,) = search(tmp_path, count=1).studies
    content = study.user_attrs["content"]
    lines = journal.read_text().replace('"seed 0"', f'"{content}"', 1).splitlines(keepends=True)
    journal.write_text("".join(line for line in lines if '"user_attr": {"content"' not in line))
    old = search(tmp_path, count=1)
    assert names(old) == [content]
    assert old.remaining == 2
