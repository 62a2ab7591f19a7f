"""One run of a study with everything resolved: search, confirm, log, report."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import yaml

from fl_core.base.digests import digest_of
from fl_core.base.errors import UserError
from fl_core.base.files import write_atomically
from fl_core.base.machine import Machine
from fl_core.base.tables import csv_text
from fl_core.config.trial_config import Value
from fl_core.study.description import describe
from fl_core.study.folder import STUDY, generation, search_name
from fl_core.study.jobs import Arm, Job, Listener
from fl_core.study.logbook import log_findings
from fl_core.study.plan import Plan
from fl_core.study.presets import PROBE_SEEDS
from fl_core.study.progress import Progress, work_of
from fl_core.study.resolved import ResolvedStudy
from fl_core.study.result import Result, result_of

if TYPE_CHECKING:
    import optuna

    from fl_core.study.found import Found
    from fl_core.study.screen import Doing
    from fl_core.study.tracking.tracker import Tracker
    from fl_core.study.trial_files import Places
    from fl_core.study.workers.dispatch import Conductor

Executor = Callable[["Conductor", Machine, "Places"], None]


@dataclass(frozen=True)
class Session:
    """One run of a study's command, with everything resolved."""

    study: ResolvedStudy
    args: argparse.Namespace
    machine: Machine
    places: Places
    plan: Plan
    out: Path
    tracker: Tracker
    execute: Executor
    doing: Doing

    @property
    def seeds(self) -> list[int]:
        """Of the confirmation: fresh ones, the same for all arms."""
        return [self.plan.seed + 1 + n for n in range(self.args.seeds or self.study.preset.seeds)]

    def run(self, found: Mapping[str, Found]) -> Result:
        """Search, confirm, report; what belongs to the study is logged whatever happens.

        found: the inputs of each arm, by its name.
        """
        facts = describe(self, found)
        write_atomically(self.out / STUDY, yaml.safe_dump(facts, sort_keys=False))
        self.tracker.open(self._digest(facts), facts, self.study.arms)
        status = "KILLED"
        try:
            self._run_jobs()
            self._log_partitions(found)
            status = "FINISHED"
        finally:
            warn(self.tracker.close(status))
        return report(self)

    def _digest(self, facts: Mapping[str, Any]) -> str:
        """Names the study's run in MLflow and all below it: one search of one study, in one folder.

        Without the arms, trials, seeds or finalists: a study with more of them is the same study,
        extended. A study that an earlier version began keeps its name.
        """
        name, again = search_name(self.out), generation(self.out)
        own: dict[str, Any] = {"way": self.plan.way} if self.plan.way else {}
        if self.args.confirm_on != "train":
            own["confirm_on"] = self.args.confirm_on
        if name:  # with all that makes trials of equal settings others
            pace = self.study.preset.eval_steps
            own |= {"search": name, "pace": pace, "probe": dict(self.study.probe)}
        return digest_of(
            [
                facts["base"],
                sorted(facts["space"]),
                self.study.preset.budget,
                *self.study.objectives,
                *([again] if again and not name else []),
                *([own] if own else []),
            ]
        )

    def _run_jobs(self) -> None:
        """Search and confirmation."""
        from fl_core.study.display import Display
        from fl_core.study.search import confirm as findings
        from fl_core.study.search.journal import JOURNAL
        from fl_core.study.search.search import Search
        from fl_core.study.tracking import mirrors
        from fl_core.study.workers.dispatch import Conductor

        overrides: dict[str, Value] = {"data.train_on": self.args.confirm_on}

        probes = [self._probes(arm) for arm in range(len(self.study.arms))]

        def then(arm: int, found: optuna.Study) -> list[Job]:
            jobs = findings.confirm(
                arm, self.study.arms[arm], found, self.seeds, overrides, self.plan.finalists
            )
            jobs += probes[arm]
            display.expect(arm, jobs)
            return jobs

        labels = {"study": self.study.name, "preset": self.args.preset}
        journal = self.out / JOURNAL
        search = Search(self.study.arms, self.study.space, self.plan, journal, then, labels)
        past = findings.past_jobs(self.study.arms, search.studies, self.places.own)
        for job, status, records in past:  # a new or a damaged store: bring it up to date
            if not self.tracker.knows(job):
                self.tracker.log_past(job, status, records)
        done = [Counter(s for j, s, _ in past if j.arm == n) for n in range(len(self.study.arms))]
        names = [arm.name for arm in self.study.arms]
        progress = Progress(
            fmean(work_of(arm.config) for arm in self.study.arms),
            [self._confirming(arm, probes[n]) for n, arm in enumerate(self.study.arms)],
        )
        self.doing.done()
        with (
            Display(names, done, lambda: search.remaining, progress) as display,
            mirrors.opened(self.args.also, self.study.name, self.study.arms, self.out) as mirror,
        ):
            listeners: list[Listener] = [display, self.tracker, mirror]
            conductor = Conductor(search, listeners, self.places.own, self.out)
            self.execute(conductor, self.machine, self.places)

    def _confirming(self, arm: Arm, probes: Sequence[Job]) -> float:
        """The work that follows the search of an arm, as far as is known before."""
        jobs = self.plan.finalists * len(self.seeds)
        return jobs * work_of(arm.config) + sum(work_of(job.config) for job in probes)

    def _probes(self, arm: int) -> list[Job]:
        """An arm's runs at the values that all arms share, with seeds of the confirmation: they
        read no test set, and nothing is chosen by them.
        """
        probe = self.study.probe
        if not probe:
            return []
        config = self.study.probe_of(self.study.arms[arm])
        seeds = self.seeds[:PROBE_SEEDS]
        return [Job("probe", arm, seed, config.override({"seed": seed}), probe) for seed in seeds]

    def _log_partitions(self, found: Mapping[str, Found]) -> None:
        """Each arm's realised partition, as an artifact."""
        for arm in self.study.arms:
            if arm.name in found:
                table = found[arm.name].partition
                text = csv_text(range(table.shape[1]), table.tolist())
                self.tracker.text(self.tracker.arm_run(arm), text, "partition.csv")


def report(session: Session) -> Result:
    """The final table on the screen and in the study's run, tables and figures in the folder, each
    arm's chosen configuration in its run.
    """
    from fl_analysis import figures, final_tables
    from fl_analysis.reading import connect, store
    from fl_analysis.results import outcome, pivot
    from fl_analysis.tables.pivot import pivot_block
    from fl_core.study import ending
    from fl_core.study.screen import say

    tracker, out = session.tracker, session.out
    try:
        runs = store.read_study(tracker.uri, session.study.name, tracker.study_run)
    except connect.AnalysisError as error:
        again = "all trials are done; the same command makes the table when the store answers"
        raise UserError(f"{error}; {again}") from error
    final_tables.write_tables(runs, out, published=session.args.published)
    found = outcome.outcomes(runs)
    result = result_of(runs, session.study.arms, out, tracker.uri)
    ending.show(result.answer, pivot.pivot(found), pivot_block(found), result.warnings)
    session.doing("drawing the figures")
    drawn = figures.write_figures(runs, out / "figures", ["png"], session.machine.data_dir)
    session.doing.done()
    say(f"\ntables   {out}/table.md, table.html, table.csv; for a paper table.tex, appendix.tex")
    say(f"figures  {out / 'figures'} ({len(drawn)} files; analysis/figures.py makes PDF and SVG)")
    say(f"MLflow   {tracker.where()}")
    warn(log_findings(tracker, session.study, runs, out))
    return replace(result, figures=drawn)


def warn(line: str | None) -> None:
    """A line on stderr, where there is one."""
    if line:
        print(f"warning: {line}", file=sys.stderr)
