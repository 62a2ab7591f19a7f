"""How often each client was selected, in arms whose server does not choose uniformly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fl_analysis.reading.fetch import selections
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.outcome import Outcome
from fl_core.config.vocabulary import arm_name, known

UNIFORM = "uniform"
WITHIN = 0.95  # of the clients of a uniform selection lie in the band
_SECTION = "select."
_AVERAGE = "select.reweight"  # how the average weighs those that were selected


@dataclass(frozen=True)
class Participation:
    """One selection. shares: (seeds, K), the share of the rounds in which a client took part, each
    seed's sorted for itself, the largest first. rounds: T, the median over the seeds.
    """

    arm: Outcome  # the first of those that select alike
    others: str  # what the arm sets beside its selection: N_c=5
    label: str  # its selection: dirichlet, γ=0.5
    shares: np.ndarray
    rounds: int
    uniform: float  # the same for all clients, if as many had been drawn uniformly: m / K

    @property
    def band(self) -> tuple[float, float]:
        """The shares between which most clients (`WITHIN`) would lie, were they drawn uniformly:
        how often one of them takes part is binomial, of T rounds with m / K.
        """
        from scipy.special import bdtr  # much quicker to import than scipy.stats

        up_to = bdtr(np.arange(self.rounds + 1), self.rounds, self.uniform)
        low, high = np.searchsorted(up_to, [(1 - WITHIN) / 2, (1 + WITHIN) / 2])
        return float(low / self.rounds), float(min(high, self.rounds) / self.rounds)


def undrawn(results: Sequence[Outcome]) -> str | None:
    """Why no selections are shown; None where some may be, or where nobody is selected."""
    federated = [o for o in results if _clients(o) > 1]
    if not federated or any(_skewed(o) for o in federated):
        return None
    return "every arm draws its clients uniformly"


def read_participation(runs: StudyRuns, results: Sequence[Outcome]) -> list[Participation]:
    """The selections that are not uniform and whose confirmation counted them, in table order.

    Arms that differ in the average alone (`select.reweight`) select alike: one of them is here.
    """
    found: dict[tuple[str, str], Participation] = {}
    for outcome in results:
        if not _skewed(outcome) or outcome.confirmed.empty:
            continue
        setting = {n: v for n, v in outcome.setting.items() if n != _AVERAGE}
        chosen = {n: v for n, v in setting.items() if n.startswith(_SECTION)}
        others = arm_name({n: v for n, v in setting.items() if n not in chosen})
        chosen = {"select.rule": outcome.config["select.rule"], **chosen}
        key = (others, arm_name(chosen))
        if key not in found and (made := _read(runs, outcome, *key)) is not None:
            found[key] = made
    return list(found.values())


def _read(runs: StudyRuns, outcome: Outcome, others: str, label: str) -> Participation | None:
    rows = outcome.confirmed.set_index("run_id")
    counted = selections(runs, [str(run) for run in rows.index])
    seeds = {run: counts for run, counts in counted.items() if rows.at[run, "round"] > 0}
    if not seeds:
        return None
    rounds = [int(rows.at[run, "round"]) for run in seeds]
    shares = [-np.sort(-counts) / of for counts, of in zip(seeds.values(), rounds, strict=True)]
    uniform = float(np.mean(shares))
    return Participation(outcome, others, label, np.array(shares), int(np.median(rounds)), uniform)


def _clients(outcome: Outcome) -> int:
    return int(outcome.config.get("federation.clients") or 1)


def _skewed(outcome: Outcome) -> bool:
    rule = outcome.config.get("select.rule")  # which older studies do not tell
    return _clients(outcome) > 1 and known(rule) and rule != UNIFORM
