"""How the runs that count went, evaluation by evaluation, and when each was at its best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import pandas as pd

from fl_analysis.reading.fetch import curves, every_round, tested_curves
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.confirmation import mean_std
from fl_analysis.results.outcome import Outcome, outcomes
from fl_core.config.record import START
from fl_core.config.vocabulary import known

COSTS = ("virtual_seconds", "bytes_up", "bytes_down")
METRICS = ("val_accuracy", "val_loss", "train_accuracy", "train_loss", "client_drift", *COSTS)
#: Of every round, where a client's work changes from one to the next.
WORK = ("steps_round", "batch_round")
#: Read in the confirmation, for configurations that validation had chosen; no choice sees it.
TEST = ("test_accuracy", "test_loss")
_BEFORE = [f"bytes_{way}_{stage}" for way in ("up", "down") for stage in ("head", "masks")]
NEAR = 0.005  # of an accuracy: so close to the best is near enough


@dataclass(frozen=True, eq=False)
class Curves:
    """`wide`: a row (arm, run_id, step) with `METRICS`, `TEST`, `bytes`, `round`; NaN for none.
    Of rounds without an evaluation there is the training loss, where the run kept it, of masks that
    change `active_share`, and of work that changes `WORK`. Confirmation runs whose arm is shown by
    its search trial have `TEST` and what that cost alone.

    searched: arms shown by their chosen search trial, one run without a band. alone: arms without
    a federation. starts: before the main stage, a row (arm, mean, bytes): means over the runs.
    """

    wide: pd.DataFrame
    searched: tuple[int, ...]
    alone: tuple[int, ...]
    starts: pd.DataFrame = field(default_factory=pd.DataFrame)

    def over_runs(self, metric: str) -> pd.DataFrame:
        """Mean and std (0 for one run) of a metric over an arm's runs, at the steps that all of
        them logged: a row (arm, step) with round, mean, std, runs, bytes, virtual_seconds.
        """
        groups = self.wide.dropna(subset=[metric]).groupby(["arm", "step"])
        frame = groups.agg(
            round=("round", "first"),
            mean=(metric, "mean"),
            std=(metric, "std"),
            runs=(metric, "size"),
            bytes=("bytes", "mean"),
            virtual_seconds=("virtual_seconds", "mean"),
        ).reset_index()
        most = frame.groupby("arm")["runs"].transform("max")
        return frame[frame["runs"] == most].fillna({"std": 0.0})

    @property
    def frame(self) -> pd.DataFrame:
        """The curves of validation accuracy."""
        return self.over_runs("val_accuracy")

    @property
    def drift(self) -> pd.DataFrame:
        """The curves of client drift, which only a federation has."""
        mine = ~self.wide["arm"].isin(self.alone)
        return Curves(self.wide[mine], (), ()).over_runs("client_drift")


@lru_cache(maxsize=1)  # a study's tables, figures and report all draw them
def read_curves(runs: StudyRuns) -> Curves:
    """The confirmation runs' curves; an arm that has none there (trained on train+val, or not
    confirmed) shows its chosen search trial.
    """
    results = outcomes(runs)
    owner: dict[str, int] = {}
    fallback: list[int] = []
    for outcome in results:
        seen = outcome.confirmed[outcome.confirmed["val_accuracy"].notna()]
        if len(seen):
            owner |= dict.fromkeys(seen["run_id"], outcome.arm)
        elif outcome.best is not None:
            owner[outcome.best["run_id"]] = outcome.arm
            fallback.append(outcome.arm)
    tidy = curves(runs, list(owner), METRICS)
    wide = tidy.pivot(index=["run_id", "step"], columns="metric", values="value").reset_index()
    wide = wide.reindex(columns=["run_id", "step", *METRICS])
    rounds = every_round(runs, list(owner))
    wide = _with_every_round(wide, rounds, runs.trials)
    tested = {str(run): o.arm for o in results for run in o.confirmed["run_id"]}
    wide = _with_tests(wide, tested_curves(runs, list(tested)))
    wide["arm"] = wide["run_id"].map({**tested, **owner})
    wide["bytes"] = wide["bytes_up"] + wide["bytes_down"]
    each = {o.arm: o.config.get("local.steps") for o in results}
    steps = {arm: float(one) for arm, one in each.items() if known(one)}  # no rounds need no J
    wide["round"] = wide["round"].fillna(wide["step"] / wide["arm"].map(steps))
    wide = _where_j_varies(wide, rounds)
    alone = tuple(o.arm for o in results if o.config.get("federation.clients") == 1)
    return Curves(wide, tuple(fallback), alone, _starts(runs, owner))


def _starts(runs: StudyRuns, owner: Mapping[str, int]) -> pd.DataFrame:
    """What the stages before the main one gave, and had sent."""
    rows = runs.trials.set_index("run_id").loc[list(owner)]
    rows = rows.reindex(columns=[START, *_BEFORE]).astype(float)
    rows["arm"], rows["bytes"] = [owner[run] for run in rows.index], rows[_BEFORE].sum(axis=1)
    groups = rows.dropna(subset=[START]).groupby("arm")
    return groups.agg(mean=(START, "mean"), bytes=("bytes", "mean")).reset_index()


def _with_every_round(
    wide: pd.DataFrame, rounds: pd.DataFrame, trials: pd.DataFrame
) -> pd.DataFrame:
    """With the training loss of each round, instead of that of each evaluation's, and, where masks
    change over the rounds, the share of the maskable parameters that was active; where a client's
    work does, that.
    """
    names = ["run_id", "local_steps", "train_loss", "mask_active", *WORK]
    kept = rounds.reindex(columns=names)
    kept = kept.rename(columns={"local_steps": "step", "train_loss": "kept"})
    both = wide.merge(kept.astype({"step": int}), how="outer", on=["run_id", "step"])
    both["train_loss"] = both.pop("kept").fillna(both["train_loss"])
    ends = trials.set_index("run_id")
    maskable = ends["mask_active"] / ends["mask_active_share"]
    return both.assign(active_share=both.pop("mask_active") / both["run_id"].map(maskable))


def _with_tests(wide: pd.DataFrame, tested: pd.DataFrame) -> pd.DataFrame:
    """With the curves on the test set; what an evaluation had cost is the same in both."""
    both = wide.merge(tested, how="outer", on=["run_id", "step"], suffixes=("", "_tested"))
    for name in COSTS:
        both[name] = both[name].fillna(both.pop(f"{name}_tested"))
    return both


def _where_j_varies(wide: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """With the rounds as they were, where J changes from one to the next; there an arm's runs do
    not agree in the step of a round, and stand at its mean.
    """
    if "steps_round" not in rounds:
        return wide
    varied = rounds.dropna(subset=["steps_round"])
    told = varied.set_index(["run_id", "local_steps"])["round"]
    keys = pd.MultiIndex.from_frame(wide[["run_id", "step"]])
    mine = wide["run_id"].isin(varied["run_id"])
    found = told.reindex(keys).to_numpy()
    wide["round"] = wide["round"].where(~mine, found)
    mean = wide.groupby(["arm", "round"])["step"].transform("mean")
    wide["step"] = wide["step"].where(~mine | mean.isna(), mean.round())
    return wide


@dataclass(frozen=True)
class Peak:
    """When an arm's runs were best by validation: mean and std over the runs, in the unit of
    `time_column`; `step`: the same mean in local steps.

    needed: the first evaluation within `NEAR` of the run's best. ran: until the last evaluation.
    """

    arm: Outcome
    best: tuple[float, float]
    needed: tuple[float, float]
    ran: tuple[float, float]
    runs: int
    step: float


def is_course(frame: pd.DataFrame) -> bool:
    """Whether an arm of `Curves.over_runs` has more than one point: one alone shows no course."""
    return not frame.empty and int(frame.groupby("arm").size().max()) > 1


def in_epochs(results: Sequence[Outcome]) -> bool:
    """Whether these arms count their time in epochs: those of one client that holds everything."""
    return bool(results) and all(
        o.config.get("local.unit") == "epochs" and o.config.get("federation.clients") == 1
        for o in results
    )


def time_column(results: Sequence[Outcome]) -> str:
    """The column of a curve that says how far a run is: `step` (epochs) or `round`."""
    return "step" if in_epochs(results) else "round"


def peaks(results: Sequence[Outcome], data: Curves) -> Mapping[int, Peak]:
    """Arm -> when its runs were best; arms without a curve of validation accuracy are left out."""
    column = time_column(results)
    found = {}
    for outcome in results:
        mine = data.wide[data.wide["arm"] == outcome.arm].dropna(subset=["val_accuracy"])
        rows = [_when(run.sort_values("step"), column) for _, run in mine.groupby("run_id")]
        if rows:
            best, needed, ran = (mean_std(values) for values in zip(*rows, strict=True))
            steps = [_when(run.sort_values("step"), "step")[0] for _, run in mine.groupby("run_id")]
            found[outcome.arm] = Peak(outcome, best, needed, ran, len(rows), mean_std(steps)[0])
    return found


def _when(run: pd.DataFrame, column: str) -> tuple[float, float, float]:
    """Of one run in order: the first of its best evaluations, the first near it, the last."""
    accuracy, when = run["val_accuracy"].to_numpy(dtype=float), run[column].to_numpy(dtype=float)
    near = accuracy >= accuracy.max() - NEAR - 1e-12  # 1e-12: the difference is of binary numbers
    return float(when[accuracy.argmax()]), float(when[near.argmax()]), float(when[-1])
