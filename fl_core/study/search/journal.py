"""The search's memory: one Optuna study an arm, all in one journal file.

Reopened, a search goes on where it was, running trials included. A study's name says which arm
and which choices it holds, because Optuna refuses other choices in the same study; ranges may
change freely. An arm whose choices changed starts a study of its own with all earlier trials
that the new choices allow.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from fl_core.base.digests import digest_of
from fl_core.base.errors import UserError
from fl_core.study.jobs import Arm
from fl_core.study.plan import Space
from fl_core.study.search.neighbours import is_own
from fl_core.study.search.space import distributions

JOURNAL = "optuna.journal"  # in the study's folder


def open_studies(arms: list[Arm], space: Space, journal: Path) -> list[optuna.Study]:
    """Each arm's Optuna study, new or reopened from the journal file.

    The caller holds the study folder's lock, so a lock left by a killed run can be removed.
    A line cut short by a full disk or a kill is cut off: what it said is done again.
    """
    optuna.logging.set_verbosity(logging.ERROR)
    kinds = {name: found[0] for name, found in distributions(space).items()}
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        for stale in journal.parent.glob(journal.name + ".lock*"):
            stale.unlink()
        cut_short(journal)
        storage = JournalStorage(JournalFileBackend(str(journal)))
        return [_open_study(arm, kinds, storage) for arm in arms]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{journal}: the search state cannot be read ({error})") from error


def cut_short(journal: Path) -> None:
    """Drop an unfinished last line: Optuna would glue the next entry to it."""
    if not journal.exists():
        return
    with journal.open("rb+") as file:
        text = file.read()
        if text and not text.endswith(b"\n"):
            file.truncate(text.rfind(b"\n") + 1)


def try_again(study: optuna.Study) -> int:
    """Queue what failed of the arm's own in earlier runs with the same values, unless it was tried
    since; how many trials failed.

    What made them fail may be repaired since. A trial that fails again waits for the next run.
    """
    trials = study.get_trials(deepcopy=False)
    failed = [trial for trial in trials if trial.state == TrialState.FAIL and is_own(trial)]
    for trial in failed:
        later = trials[trial.number + 1 :]
        values = [t.system_attrs.get("fixed_params", t.params) for t in later]
        if trial.params not in values:
            study.enqueue_trial(trial.params)
    return len(failed)


def _open_study(
    arm: Arm, kinds: dict[str, BaseDistribution], storage: JournalStorage
) -> optuna.Study:
    choices = {
        n: list(k.choices) for n, k in kinds.items() if isinstance(k, CategoricalDistribution)
    }
    name = f"{arm.digest()}-{digest_of(choices)}"
    earlier = [
        study
        for study in storage.get_all_studies()
        if study.study_name.startswith(arm.digest()) and study.study_name != name
    ]
    directions = [StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * len(arm.objectives)]
    known = {study.study_name for study in storage.get_all_studies()}
    study = optuna.create_study(
        storage=storage, study_name=name, directions=directions, load_if_exists=True
    )
    if name not in known and earlier:
        _take_over(study, storage, earlier[-1]._study_id, kinds)
    return study


def _take_over(
    study: optuna.Study, storage: JournalStorage, earlier: int, kinds: dict[str, BaseDistribution]
) -> None:
    """The trials of an earlier study whose values the space still allows."""
    for old in storage.get_all_trials(earlier, deepcopy=False):
        allowed = all(n in kinds and _allows(kinds[n], value) for n, value in old.params.items())
        if old.state == TrialState.WAITING or not allowed:
            continue
        study.add_trial(
            optuna.trial.create_trial(
                state=old.state,
                values=old.values,
                params=dict(old.params),
                distributions={name: kinds[name] for name in old.params},
                user_attrs=old.user_attrs,
                intermediate_values=old.intermediate_values,
            )
        )


def _allows(kind: BaseDistribution, value: Any) -> bool:
    """Whether a value lies in a dimension."""
    if isinstance(kind, CategoricalDistribution):
        return value in kind.choices
    return bool(getattr(kind, "low") <= value <= getattr(kind, "high"))  # noqa: B009
