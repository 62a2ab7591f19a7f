"""The search's memory: one Optuna study an arm, all in one journal file.

Reopened, a search goes on where it was, running trials included. A study's attribute CONTENT says
which arm and which choices it holds, because Optuna refuses other choices in the same study; ranges
may change freely. An arm whose choices changed starts a study of its own with all earlier trials
that the new choices allow. What is searched in another way (`Plan.way`) has studies of its own.
Names are for people, who open the file with `optuna-dashboard`; the names of older journals are
what CONTENT is now.

Of a damaged journal the part before the damage is kept, as after a kill at that moment: the rest is
searched again, and what had ended is read from its file.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import warnings
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import TrialState

from fl_core.base.digests import digest_of
from fl_core.base.errors import UserError, kind_and_line
from fl_core.base.files import aside_of, replacing
from fl_core.study.folder import name_search
from fl_core.study.jobs import SCORE, Arm
from fl_core.study.plan import Space
from fl_core.study.search.neighbours import is_own
from fl_core.study.search.space import distributions

JOURNAL = "optuna.journal"  # in the study's folder
CONTENT = "content"  # arm, choices and way, the first two as digests
UNNAMED: Mapping[str, str] = MappingProxyType({})


def prepare(journal: Path) -> None:
    """Make the journal one that opens; where it is new, or no longer what it was, it gets a name.

    The caller holds the study folder's lock. The name comes first: a kill in between leaves a
    journal that is still to be made, and it gets another.
    """
    try:
        if not journal.exists():
            name_search(journal.parent)
            journal.touch()
        cut_short(journal)
        if (damage := _damage(journal)) is not None:
            _keep_sound_part(journal, damage)
    except OSError as error:
        raise UserError(f"{journal}: cannot be used ({error.strerror})") from error


def _damage(journal: Path) -> str | None:
    """Why it does not open."""
    try:
        JournalStorage(JournalFileBackend(str(journal)))
        if lines := journal.read_bytes().splitlines():
            json.loads(lines[-1])  # which Optuna takes for one that is still being written
    except OSError:
        raise
    except Exception as error:  # Optuna trusts what it reads: a KeyError, an assertion ...
        return kind_and_line(error)
    return None


def _keep_sound_part(journal: Path, damage: str) -> None:
    """All lines before the first that does not open; the journal as it was stays beside."""
    lines = journal.read_bytes().splitlines(keepends=True)
    aside = aside_of(journal)
    shutil.copyfile(journal, aside)
    name_search(journal.parent)
    with replacing(journal) as temporary:

        def breaks(count: int) -> bool:
            temporary.write_bytes(b"".join(lines[:count]))
            return _damage(temporary) is not None

        sound = bisect_left(range(1, len(lines)), True, key=breaks)
        temporary.write_bytes(b"".join(lines[:sound]))
    print(
        f"{journal}: damaged from line {sound + 1} on ({damage}); kept as {aside.name}. The search "
        "goes on from there, as a new run in MLflow; what had ended is not computed again",
        file=sys.stderr,
    )


def open_studies(
    arms: list[Arm],
    spaces: Sequence[Space],
    journal: Path,
    way: str = "",
    labels: Mapping[str, str] = UNNAMED,
) -> list[optuna.Study]:
    """Each arm's Optuna study, of its own space, new or reopened from the journal file. `labels`:
    what the studies are shown with, the name of ours (`study`) before the arm's.

    The caller holds the study folder's lock, so a lock left by a killed run can be removed.
    """
    optuna.logging.set_verbosity(logging.ERROR)
    kinds = {s: {n: its[0] for n, its in distributions(s).items()} for s in dict.fromkeys(spaces)}
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        for stale in journal.parent.glob(journal.name + ".lock*"):
            stale.unlink()
        storage = JournalStorage(JournalFileBackend(str(journal)))
        return [
            _open_study(arm, kinds[its], storage, way, labels)
            for arm, its in zip(arms, spaces, strict=True)
        ]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{journal}: the search state cannot be read ({error})") from error


def cut_short(journal: Path) -> None:
    """Drop a last line that a full disk or a kill cut short: what it said is done again, and Optuna
    would glue the next entry to it.
    """
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
    arm: Arm,
    kinds: Mapping[str, BaseDistribution],
    storage: JournalStorage,
    way: str,
    labels: Mapping[str, str],
) -> optuna.Study:
    choices = {
        n: list(k.choices) for n, k in kinds.items() if isinstance(k, CategoricalDistribution)
    }
    content = "-".join(filter(None, (arm.digest(), digest_of(choices), way)))
    there = {
        str(old.user_attrs.get(CONTENT, old.study_name)): old for old in storage.get_all_studies()
    }
    known = there.get(content)
    directions = [StudyDirection.MAXIMIZE, *[StudyDirection.MINIMIZE] * len(arm.objectives)]
    study = optuna.create_study(
        storage=storage,
        study_name=known.study_name if known else _free_name(arm, storage, way, labels),
        directions=directions,
        load_if_exists=True,
    )
    if known is None:
        if earlier := [old for name, old in there.items() if _searches(name, arm, way)]:
            _take_over(study, storage, earlier[-1]._study_id, kinds)
        with warnings.catch_warnings():  # "experimental": names alone
            warnings.simplefilter("ignore", ExperimentalWarning)
            study.set_metric_names([SCORE, *arm.objectives])
        for name, value in {**labels, "arm": arm.name, **arm.values}.items():
            study.set_user_attr(name, value)
        study.set_user_attr(CONTENT, content)  # last: without it nothing is known
    return study


def _free_name(arm: Arm, storage: JournalStorage, way: str, labels: Mapping[str, str]) -> str:
    """`fedavg_noniid: iid, J=4`; numbered where a study of other choices has it already. One that
    a killed run left half made has it not.
    """
    taken = {old.study_name for old in storage.get_all_studies() if CONTENT in old.user_attrs}
    name = ": ".join(filter(None, (labels.get("study"), arm.name))) + (f" [{way}]" if way else "")
    names = (name if n == 1 else f"{name} ({n})" for n in count(1))
    return next(one for one in names if one not in taken)


def _searches(name: str, arm: Arm, way: str) -> bool:
    """Whether a study of this CONTENT searches an arm in this way, with whatever choices."""
    found, _, rest = name.partition("-")
    return found == arm.digest() and rest.partition("-")[2] == way


def _take_over(
    study: optuna.Study,
    storage: JournalStorage,
    earlier: int,
    kinds: Mapping[str, BaseDistribution],
) -> None:
    """The trials of an earlier study whose values the space still allows, but for those that a
    killed run took over.
    """
    possible = [
        old
        for old in storage.get_all_trials(earlier, deepcopy=False)
        if old.state != TrialState.WAITING
        and all(n in kinds and _allows(kinds[n], value) for n, value in old.params.items())
    ]
    for old in possible[len(study.get_trials(deepcopy=False)) :]:
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
