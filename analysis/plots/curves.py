"""Figures over the course of a run: learning curves, communication, client drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FixedLocator, MaxNLocator, NullFormatter

from analysis.plots.panels import legend, panels, unit_of
from analysis.plots.style import log_ticks, pretty
from analysis.reading.fetch import curves
from analysis.reading.store import StudyRuns
from analysis.results.outcome import Outcome

_ACCURACY = "validation accuracy [%]"
SPAN = 30.0  # largest over smallest drift from which a logarithmic axis reads better


@dataclass(frozen=True)
class Curves:
    """What figures over local steps show."""

    frame: pd.DataFrame  # validation, a row (arm, step): mean, std (0 for one run), runs, bytes
    drift: pd.DataFrame  # client drift, a row (arm, step): mean, std, runs; federated arms alone
    searched: tuple[int, ...]  # arms drawn from their best search trial: one run, no band


def read_curves(runs: StudyRuns, results: Sequence[Outcome]) -> Curves:
    """The confirmation runs' validation curves; an arm that has none there (trained on
    train+val, or not confirmed) shows its chosen search trial.
    """
    owner: dict[str, int] = {}
    fallback: list[int] = []
    for outcome in results:
        seen = outcome.confirmed[outcome.confirmed["val_accuracy"].notna()]
        if len(seen):
            owner |= dict.fromkeys(seen["run_id"], outcome.arm)
        elif outcome.best is not None:
            owner[outcome.best["run_id"]] = outcome.arm
            fallback.append(outcome.arm)
    names = ["val_accuracy", "bytes_up", "bytes_down", "client_drift"]
    tidy = curves(runs, list(owner), names)
    wide = tidy.pivot(index=["run_id", "step"], columns="metric", values="value").reset_index()
    wide = wide.reindex(columns=["run_id", "step", *names])
    wide["arm"] = wide["run_id"].map(owner)
    wide["bytes"] = wide["bytes_up"] + wide["bytes_down"]
    alone = [o.arm for o in results if o.config.get("federation.clients") == 1]
    return Curves(
        _over_runs(wide, "val_accuracy"),
        _over_runs(wide[~wide["arm"].isin(alone)], "client_drift"),
        tuple(fallback),
    )


def _over_runs(wide: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Mean and std of a metric over an arm's runs, at the steps that all of them logged."""
    groups = wide.dropna(subset=[metric]).groupby(["arm", "step"])
    frame = groups.agg(
        mean=(metric, "mean"), std=(metric, "std"), runs=(metric, "size"), bytes=("bytes", "mean")
    ).reset_index()
    most = frame.groupby("arm")["runs"].transform("max")
    return frame[frame["runs"] == most].fillna({"std": 0.0})


def curve_figure(results: Sequence[Outcome], data: Curves) -> Figure | None:
    """Validation accuracy against local steps, one line an arm."""
    if data.frame.empty:
        return None
    return _steps_figure(results, data.frame, _ACCURACY, 100.0)


def drift_figure(results: Sequence[Outcome], data: Curves) -> Figure | None:
    """Mean L2 distance of the clients' parameters to the server's, against local steps."""
    drift = data.drift[data.drift["mean"] > 0]
    if drift.empty:
        return None
    figure = _steps_figure(results, drift, "client drift (L2)", 1.0)
    if drift["mean"].max() > SPAN * drift["mean"].min():
        for ax in figure.axes:
            ax.set_yscale("log")
            ax.yaxis.set_minor_formatter(NullFormatter())
    return figure


def _steps_figure(
    results: Sequence[Outcome], frame: pd.DataFrame, ylabel: str, scale: float
) -> Figure:
    """Mean and band of each arm against local steps."""
    figure, grid = panels(results, set(frame["arm"]), ylabel)
    for ax, group in grid:
        for line in group:
            mine = frame[frame["arm"] == line.arm.arm]
            alone = "o" if len(mine) == 1 else None  # one evaluation makes no line
            ax.plot(
                mine["step"],
                scale * mine["mean"],
                color=line.colour,
                ls=line.style,
                marker=alone,
                ms=3,
                label=line.label,
            )
            low, high = mine["mean"] - mine["std"], mine["mean"] + mine["std"]
            ax.fill_between(
                mine["step"], scale * low, scale * high, color=line.colour, alpha=0.2, lw=0
            )
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.set_xlim(left=0)
    steps = "local steps" + (", T × J" if unit_of(results) != "epochs" else "")
    figure.supxlabel(pretty(steps), size=8)
    legend(figure, [ax for ax, _ in grid])
    return figure


def bytes_figure(results: Sequence[Outcome], data: Curves) -> Figure | None:
    """Validation accuracy against the bytes sent so far, both directions, all clients."""
    known = data.frame[data.frame["bytes"].notna() & (data.frame["bytes"] > 0)]
    if known.empty:
        return None
    figure, grid = panels(results, set(known["arm"]), _ACCURACY)
    ticks = log_ticks(known["bytes"].min(), known["bytes"].max())
    for ax, group in grid:
        for line in group:
            mine = known[known["arm"] == line.arm.arm]
            alone = "o" if len(mine) == 1 else None
            ax.plot(
                mine["bytes"],
                100 * mine["mean"],
                color=line.colour,
                ls=line.style,
                marker=alone,
                ms=3,
                label=line.label,
            )
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(ticks))
        ax.xaxis.set_major_formatter(EngFormatter(unit="B"))
        ax.xaxis.set_minor_formatter(NullFormatter())
    figure.supxlabel("bytes sent so far, up + down, all clients", size=8)
    legend(figure, [ax for ax, _ in grid])
    return figure
