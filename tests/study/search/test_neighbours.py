"""Arms that try what their neighbours' searches found; no trial is run."""

from __future__ import annotations

import doctest
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from fl_core.config.trial_config import TrialConfig, Value
from fl_core.study import options
from fl_core.study.arms import DENSE, Setting, each, grid, rules, shardings
from fl_core.study.jobs import NEIGHBOUR, SCORE, TIME, Arm, Job
from fl_core.study.plan import Plan
from fl_core.study.resolved import resolve
from fl_core.study.search import neighbours as crossing
from fl_core.study.search.confirm import best_trials, confirm, past_jobs
from fl_core.study.search.neighbours import is_own, neighbours
from fl_core.study.search.search import Search
from studies import ROOT, load_study

J = (4, 8, 16)
TRIALS = 3
STUDIES = sorted(path.stem for path in (ROOT / "studies").glob("[!_]*.py"))


# --- which arms are neighbours --------------------------------------------------------------------


def test_doctests() -> None:
    assert doctest.testmod(crossing).attempted
    assert not doctest.testmod(crossing).failed


def named(settings: list[Setting]) -> set[tuple[int, int]]:
    """The pairs, each once."""
    found = neighbours(settings)
    pairs = {(one, other) for one, others in enumerate(found) for other in others}
    assert pairs == {(b, a) for a, b in pairs}  # whoever has a neighbour is one
    return {(a, b) for a, b in pairs if a < b}


def test_on_a_grid_they_are_one_step_away_along_one_axis() -> None:
    """N_c is one axis however many fields it takes, in the order of the study file."""
    arms = grid(shardings(None, 50, 10), each("local.steps", J))
    along_j = {(n, n + 1) for n in (0, 1, 3, 4, 6, 7)}
    assert named(arms) == along_j | {(n, n + 3) for n in range(6)}
    assert neighbours(arms)[4] == [1, 3, 5, 7]


@pytest.mark.parametrize(
    ("arms", "pairs"),
    [
        ([{}], set()),
        (each("local.steps", J), {(0, 1), (1, 2)}),
        (each("local.steps", (16, 4, 8)), {(0, 1), (1, 2)}),  # as the file has them
        (rules("random", "low_magnitude", "hybrid"), {(0, 1), (1, 2)}),  # with its own weight
        ([DENSE, *each("mask.sparsity", (0.5, 0.9))], {(0, 1), (1, 2)}),
        # dense has no rule: it differs from all others in two
        ([DENSE, *grid(rules("random", "low_magnitude"), each("mask.sparsity", (0.5, 0.9)))],
         {(1, 2), (3, 4), (1, 3), (2, 4)}),
        ([{"fine_tune.strategy": "head", "head.method": "none", "rounds": 9},
          {"fine_tune.strategy": "full", "head.method": "none", "rounds": 9},
          {"fine_tune.strategy": "sparse_full", "head.method": "fedavg", "rounds": 9}],
         {(0, 1), (1, 2)}),
    ],
)  # fmt: skip
def test_fields_that_change_together_are_one_axis(
    arms: list[Setting], pairs: set[tuple[int, int]]
) -> None:
    assert named(arms) == pairs


@pytest.mark.parametrize("name", STUDIES)
def test_arms_of_the_studies(name: str) -> None:
    """Neighbours differ in what the question varies, and few are far from all others."""
    study = load_study(name)
    for preset in study.presets.values():
        arms = list(study.arms if preset.arms is None else preset.arms)
        found = neighbours(arms)
        assert all(n not in others for n, others in enumerate(found))
        if len(arms) > 1:
            assert sum(map(bool, found)) > len(arms) / 2


# --- what they have to give -----------------------------------------------------------------------


def found_by(*trials: tuple[float, float | None], **attrs: str) -> optuna.Study:
    """The search of an arm: learning rates and their scores, None = it failed."""
    study = optuna.create_study(direction="maximize")
    for lr, score in trials:
        trial = study.ask({"local.lr": optuna.distributions.FloatDistribution(1e-3, 9.0)})
        trial.set_user_attr("chosen", {"local.lr": lr})
        trial.set_user_attr("digest", TrialConfig().override({"local.lr": lr}).digest())
        for name, value in attrs.items():
            trial.set_user_attr(name, value)
        study.tell(trial, score, state=TrialState.FAIL if score is None else None)
    return study


def given(mine: optuna.Study, *others: optuna.Study) -> list[tuple[str, str]]:
    """Who gives which configuration to an arm."""
    arms = [(Arm(str(n), {}, TrialConfig()), study) for n, study in enumerate(others)]
    found = crossing.transfers(Arm("mine", {}, TrialConfig()), mine, arms)
    return [(one.neighbour, one.digest) for one in found]


def of(lr: float) -> str:
    return TrialConfig().override({"local.lr": lr}).digest()


def test_each_gives_the_best_of_its_own_search() -> None:
    mine, one, other = found_by((0.1, 0.5)), found_by((0.2, 0.5), (0.3, 0.6)), found_by((0.4, 0.1))
    assert given(mine, one, other) == [("0", of(0.3)), ("1", of(0.4))]
    visited = found_by((0.5, 0.9), neighbour="far away")
    assert given(mine, visited, found_by(), found_by((0.6, None))) == []


def test_what_several_give_or_was_tried_runs_once() -> None:
    mine = found_by((0.1, 0.5), (0.7, None))
    same = [found_by((0.3, 0.6)) for _ in range(2)]
    assert given(mine, *same, found_by((0.1, 0.9))) == [("0", of(0.3))]
    assert given(mine, found_by((0.7, 0.9))) == [("0", of(0.7))]  # what failed was not tried


def test_what_an_arm_does_not_allow_is_left_out() -> None:
    odd = found_by((0.2, 0.9))
    study = found_by()
    trial = study.ask()
    trial.set_user_attr("chosen", {"federation.classes_per_client": 5})  # of another sharding
    study.tell(trial, 0.9)
    assert given(found_by(), study, odd) == [("1", of(0.2))]


# --- the search -----------------------------------------------------------------------------------


def space(trial: optuna.Trial) -> Mapping[str, Value]:
    values: dict[str, Value] = {
        "local.lr": trial.suggest_float("local.lr", 1e-3, 1.0, log=True),
        "head.method": trial.suggest_categorical("head.method", ["none", "ridge"]),
    }
    if values["head.method"] == "ridge":
        values["head.ridge_lambda"] = trial.suggest_float("head.ridge_lambda", 1e-3, 10.0)
    return values


def arms_of(steps: tuple[int, ...] = J) -> list[Arm]:
    settings: list[Setting] = each("local.steps", steps)
    base = TrialConfig().override({"rounds": 10})
    return [Arm(f"J={s['local.steps']}", s, base.override(s)) for s in settings]


def opened(tmp_path: Path, trials: int = TRIALS, steps: tuple[int, ...] = J, **plan: Any) -> Search:
    arms = arms_of(steps)

    def then(arm: int, study: optuna.Study) -> list[Job]:
        return confirm(arm, arms[arm], study, [7], {})

    kinds = {"pruner": "none", "neighbours": True, **plan}
    return Search(arms, space, Plan(trials, **kinds), tmp_path / "optuna.journal", then)


def asked(one: Search) -> Job:
    job = one.next_job()
    assert job is not None
    return job


def score_of(job: Job) -> float:
    """The best learning rate moves with J."""
    return 0.9 - abs(job.config.local.lr - job.config.local.steps / 40)


def end(one: Search, job: Job, score: float | None = None, **more: Any) -> None:
    value = score_of(job) if score is None else score
    one.end(job, {TIME: 40, SCORE: value, "finished": True, "diverged": False, **more})


def drive(one: Search, most: int = 10**6) -> list[Job]:
    """Ask for and end jobs, one at a time."""
    jobs: list[Job] = []
    while len(jobs) < most and (job := one.next_job()) is not None:
        end(one, job)
        jobs.append(job)
    return jobs


def best_lr(one: Search, arm: int, *, own: bool) -> float:
    trials = [t for t in one.studies[arm].get_trials() if is_own(t) or not own]
    return float(max(trials, key=lambda t: t.value or 0.0).params["local.lr"])


def test_the_winners_of_neighbours_are_tried_before_an_arm_is_confirmed(tmp_path: Path) -> None:
    one = opened(tmp_path)
    assert one.remaining == 3 * TRIALS + 4  # at most
    jobs = drive(one)
    assert one.remaining == 0
    assert one.ended
    found = [(job.arm, job.neighbour, job.number) for job in jobs if job.neighbour]
    assert found == [(0, "J=8", 3), (1, "J=4", 3), (1, "J=16", 4), (2, "J=8", 3)]
    phases = [("c" if j.phase == "confirm" else "n" if j.neighbour else "o") for j in jobs]
    assert "".join(phases) == "o" * 9 + "nnnn" + "ccc"
    for job in jobs:
        assert job.config.local.steps == J[job.arm]  # the question's parameter is the arm's own
    for job in jobs[9:13]:
        arm = [arm.name for arm in one.arms].index(job.neighbour)
        assert job.config.local.lr == best_lr(one, arm, own=True)
    for job in jobs[13:]:  # from all trials, validation decides
        assert job.config.local.lr == best_lr(one, job.arm, own=False)
    assert not [job for job in drive(opened(tmp_path)) if job.phase == "search"]


def test_without_them_nothing_changes_in_the_own_searches(tmp_path: Path) -> None:
    plain = drive(opened(tmp_path / "plain", neighbours=False))
    assert len(plain) == 3 * TRIALS + 3
    assert drive(opened(tmp_path / "crossed"))[: 3 * TRIALS] == plain[: 3 * TRIALS]


@pytest.mark.parametrize("stop", range(3 * TRIALS + 4))
@pytest.mark.parametrize("running", [False, True])
def test_interrupted_at_any_moment_it_comes_to_the_same(
    stop: int, running: bool, tmp_path: Path
) -> None:
    whole = drive(opened(tmp_path / "whole"))
    killed = opened(tmp_path / "parts")
    first = drive(killed, stop)
    if running:
        asked(killed)  # a trial that the kill finds running
    rest = drive(opened(tmp_path / "parts"))
    assert first + rest == whole


def test_killed_between_the_queue_and_the_question(tmp_path: Path) -> None:
    whole = drive(opened(tmp_path / "whole"))
    killed = opened(tmp_path / "parts")
    first = drive(killed, 3 * TRIALS)
    assert killed._known(0)
    killed._transfers[0][0].enqueue(killed.studies[0])
    again = opened(tmp_path / "parts")
    assert again.remaining == 4
    assert first + drive(again) == whole


def test_an_arm_waits_for_its_neighbours_but_not_for_others(tmp_path: Path) -> None:
    one = opened(tmp_path, trials=1)
    first, second, third = (asked(one) for _ in range(3))
    assert one.next_job() is None
    end(one, third)
    assert one.next_job() is None  # what J=8 finds is not known
    end(one, second)
    late = asked(one)
    assert (late.arm, late.neighbour) == (2, "J=8")
    assert one.next_job() is None
    assert not one.ended
    end(one, late)
    assert asked(one).phase == "confirm"  # J=16, while J=4 is still searching
    assert one.next_job() is None
    end(one, first)
    rest = [(job.arm, job.neighbour) for job in drive(one)]
    assert rest == [(0, "J=8"), (1, "J=4"), (1, "J=16"), (0, ""), (1, "")]


def test_the_order_in_which_trials_end_does_not_matter(tmp_path: Path) -> None:
    """An arm learns from its neighbours' own trials, never from what those were given."""
    found = []
    for name, order in (("a", (0, 1, 2)), ("b", (2, 1, 0))):
        one = opened(tmp_path / name, trials=1)
        jobs = [asked(one) for _ in range(3)]
        for place in order:
            end(one, jobs[place])
        drive(one)
        trials = [study.get_trials() for study in one.studies]
        found.append([[(t.number, t.params, t.user_attrs) for t in arm] for arm in trials])
    assert found[0] == found[1]


def test_what_was_tried_already_runs_once(tmp_path: Path) -> None:
    """All arms begin with the same points, and all find the first of them best."""
    point = {"local.lr": 0.1, "head.method": "none"}
    one = opened(tmp_path, trials=2, first=[point])
    jobs = []
    while (job := one.next_job()) is not None:
        end(one, job, 0.9 if job.config.local.lr == 0.1 else 0.1)
        jobs.append(job)
    assert [job.phase for job in jobs] == ["search"] * 6 + ["confirm"] * 3
    assert one.remaining == 0


def test_a_search_that_found_nothing_gives_nothing_and_gets_what_there_is(tmp_path: Path) -> None:
    one = opened(tmp_path, trials=1)
    jobs = [asked(one) for _ in range(3)]
    end(one, jobs[0])
    end(one, jobs[1], 0.0, diverged=True)
    end(one, jobs[2])
    rest = drive(one)
    assert [(j.arm, j.neighbour) for j in rest if j.phase == "search"] == [(1, "J=4"), (1, "J=16")]
    assert [job.arm for job in rest if job.phase == "confirm"] == [0, 1, 2]


def test_what_failed_is_tried_again_by_the_next_run(tmp_path: Path) -> None:
    one = opened(tmp_path)
    drive(one, 3 * TRIALS)
    failed = asked(one)
    one.end(failed, None)
    rest = drive(one)
    assert all(job.arm or job.phase == "confirm" for job in rest)  # not in the same run
    again = opened(tmp_path)
    assert again.remaining == 1
    retried = asked(again)
    assert (retried.config, retried.neighbour) == (failed.config, failed.neighbour)
    end(again, retried)
    assert opened(tmp_path).remaining == 0


def test_more_trials_and_more_arms(tmp_path: Path) -> None:
    """The number of trials is that of the own search, and nothing is repeated."""
    before = drive(opened(tmp_path, steps=(4, 16)))
    assert [job.neighbour for job in before if job.neighbour] == ["J=16", "J=4"]
    longer = opened(tmp_path, trials=5, steps=(4, 8, 16))
    jobs = [job for job in drive(longer) if job.phase == "search"]
    own = [job.arm for job in jobs if not job.neighbour]
    assert sorted(own) == [0] * 2 + [1] * 5 + [2] * 2
    for study in longer.studies:
        trials = study.get_trials()
        assert sum(map(is_own, trials)) == 5
        digests = [trial.user_attrs["digest"] for trial in trials]
        assert len(set(digests)) == len(digests)
    assert opened(tmp_path, trials=5, steps=(4, 8, 16)).remaining == 0
    assert opened(tmp_path, trials=5, neighbours=False).remaining == 0  # what was tried stays


def test_a_new_store_hears_where_a_trial_comes_from(tmp_path: Path) -> None:
    one = opened(tmp_path)
    jobs = [job for job in drive(one) if job.phase == "search"]
    past = [job for job, _, _ in past_jobs(one.arms, one.studies, tmp_path)]
    assert sorted(past, key=str) == sorted(jobs, key=str)
    assert Job.from_json(jobs[-1].to_json()) == jobs[-1]


def test_the_floor_holds_with_them(tmp_path: Path) -> None:
    """Scores fall, so that ASHA would stop all but the first; neighbours' are stopped as others."""
    one = opened(tmp_path, pruner="asha", grace_steps=10, finalists=2)
    score = itertools.count()
    while (job := one.next_job()) is not None:
        value = 0.9 - next(score) / 100
        if job.phase == "search":
            record = {TIME: 20, SCORE: value, "finished": False, "diverged": False}
            if one.report(job, record):
                one.end(job, record)
                continue
        end(one, job, value)
    for study in one.studies:
        states = [trial.state for trial in study.get_trials()]
        assert states[:3] == [TrialState.COMPLETE] * 3
        assert set(states[3:]) == {TrialState.PRUNED}
        assert len(best_trials(study, 2)) == 2


def test_after_the_time_budget_none_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("fl_core.study.search.search.time.monotonic", lambda: now)
    one = opened(tmp_path, seconds=60.0)
    drive(one, 3 * TRIALS + 1)
    now = 61.0
    assert one.remaining == 0
    assert [job.phase for job in drive(one)] == ["confirm"] * 3
    assert one.ended


# --- when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "argv", "wanted"),
    [
        ("fedavg_noniid", [], True),
        ("fedavg_noniid", ["--no-neighbours"], False),
        ("fedavg_noniid", ["--search-arms"], False),
        ("fedavg_noniid", ["--searcher", "grid"], False),
        ("communication", [], False),
    ],
)
def test_where_arms_learn_from_each_other(name: str, argv: list[str], wanted: bool) -> None:
    study = load_study(name)
    args = options.parse(study, argv)
    at = resolve(study, study.presets["embedded"], {"seed": 0}, joint=args.search_arms)
    assert options.plan_of(args, at).neighbours is wanted


def test_the_mark_is_part_of_the_queue_entry(tmp_path: Path) -> None:
    """One line of the journal: a kill leaves either nothing or a marked trial."""
    one = opened(tmp_path)
    drive(one, 3 * TRIALS)
    assert one._known(0)
    (planned,) = one._transfers[0]
    for _ in range(2):
        planned.enqueue(one.studies[0])
    (waiting,) = one.studies[0].get_trials(states=(TrialState.WAITING,))
    assert waiting.user_attrs == {NEIGHBOUR: "J=8", "digest": planned.digest}
