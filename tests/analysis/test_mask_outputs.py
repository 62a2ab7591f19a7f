"""Studies of masks and of several objectives, against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import doctest
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from masked_studies import MASKED
from texts import table_latex, table_markdown

from fl_analysis.figures import write_figures
from fl_analysis.final_tables import write_tables
from fl_analysis.plots import layers
from fl_analysis.plots.accuracy import accuracy_figure
from fl_analysis.plots.drift import drift_figure
from fl_analysis.plots.layers import by_block, by_place
from fl_analysis.plots.mask_layers import read_layers
from fl_analysis.plots.panels import axes_of, columns_of, facets
from fl_analysis.reading.fetch import mask_layers
from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.curves import read_curves
from fl_analysis.results.outcome import Outcome, front_of, outcomes
from fl_analysis.results.pareto import front_points
from fl_analysis.results.selection import pareto_front
from fl_analysis.tables import masks
from fl_analysis.tables.final import final_table
from fl_analysis.tables.mask_conditions import mask_conditions
from fl_analysis.tables.masks import overlap_block
from fl_core.config.vocabulary import arm_name

ROWS = """\
| sharding | sparsity | mask rule       | test accuracy [%] |  95 % CI [%] | seeds | finished | diverged [%] | val. accuracy [%] | search gap [pp] | active [%] | bytes up [MB] | head [MB] | main stage [MB] | dense / sent |  lr |
| -------- | -------- | --------------- | ----------------: | -----------: | ----: | -------: | -----------: | ----------------: | --------------: | ---------: | ------------: | --------: | --------------: | -----------: | --: |
| iid      | dense    | —               |    **77.0 ± 1.4** | [64.3, 89.7] |     2 |     1/1† |            0 |              79.0 |            +2.0 |          — |          10.0 |      2.00 |            8.00 |         1.00 | 0.1 |
| iid      | 0.5      | least_sensitive |        76.0 ± 1.4 | [63.3, 88.7] |     2 |     1/1† |            0 |              78.0 |            +2.0 |       50.0 |          6.00 |      2.00 |            4.00 |         2.00 | 0.1 |
| iid      | 0.8      | least_sensitive |        74.0 ± 1.4 | [61.3, 86.7] |     2 |     1/1† |            0 |              76.0 |            +2.0 |       20.0 |          3.60 |      2.00 |            1.60 |         5.00 | 0.1 |
"""  # noqa: E501

OVERLAP = """\
| arm                            | active [%] |       Jaccard | chance |        excess | chance given layers | seeds |
| ------------------------------ | ---------: | ------------: | -----: | ------------: | ------------------: | ----: |
| iid, least_sensitive, s=0.5    |       50.0 | 0.433 ± 0.014 |  0.333 | 0.100 ± 0.014 |               0.343 |     2 |
| iid, least_sensitive, s=0.8    |       20.0 | 0.211 ± 0.014 |  0.111 | 0.100 ± 0.014 |               0.121 |     2 |
| iid, random, s=0.5             |       50.0 | 0.333 ± 0.014 |  0.333 | 0.000 ± 0.014 |               0.343 |     2 |
"""  # noqa: E501

FRONT = """\
| trial | bytes up [MB] | bytes up head [kB] | bytes up main [MB] | val. accuracy [%] | test accuracy [%] | seeds |  lr | sparsity |
| ----- | ------------: | -----------------: | -----------------: | ----------------: | ----------------: | ----: | --: | -------: |
| —     |          8.00 |                500 |               7.50 |              70.0 |        69.0 ± 1.0 |     3 | 0.1 |        0 |
| —     |          2.00 |                500 |               1.50 |              65.0 |        64.0 ± 1.4 |     2 | 0.3 |      0.9 |
| —     |          1.00 |                500 |              0.500 |              63.0 |                 — |     0 | 0.1 |     0.99 |
| start |         0.500 |                500 |                  0 |              62.0 |        62.0 ± 1.0 |     3 |   — |        — |
"""  # noqa: E501

CONFIG = {
    **{"data.name": "cifar100", "federation.clients": 100, "federation.participation": 0.1},
    **{"federation.sharding": "classes", "federation.classes_per_client": 10, "local.steps": 4},
    **{"mask.sparsity": 0.5, "mask.rule": "least_sensitive", "mask.scope": "per_client"},
}


def made(arm: int, setting: dict[str, Any], *tests: float) -> Outcome:
    """An outcome without a store."""
    frame = pd.DataFrame({"test_accuracy": tests, "run_id": [str(i) for i in range(len(tests))]})
    config = {**MASKED, **setting}
    return Outcome(arm, arm_name(setting), setting, config, 1, 0.0, None, {}, frame, ())


def test_final_table_of_masked_arms(rules: StudyRuns) -> None:
    text = table_markdown(rules)
    assert ROWS in text
    for part in (
        "trained: head_then_sparse_backbone (start: fedavg, 50 rounds of 4 local steps, lr 0.1)",
        "masks: R = 2 calibration rounds, scope per_client, layers all, threshold global, Fisher "
        "sampled, 256 calibration examples",
        "guard: at least 1 active entries",
        "averaged over senders; K = 100",
        "active: trainable share of the maskable parameters.",
    ):
        assert part in text
    labels = re.findall(r"\\label\{tab:rules:?([a-z]*)\}", table_latex(rules))
    assert labels == ["", "arms", "pairs", "overlap"]


def test_csv_has_the_costs_and_overlaps(rules: StudyRuns) -> None:
    row = final_table(rules).iloc[1]
    assert (row["bytes_up"], row["bytes_up_head"], row["bytes_up_main"]) == (6e6, 2e6, 4e6)
    assert row["dense_over_sent"] == 2.0
    assert row["mask_jaccard"] == pytest.approx(1 / 3 + 0.1)
    assert row["mask_jaccard_std"] == pytest.approx(math.sqrt(0.0002))
    assert final_table(rules).iloc[0][["mask_active_share", "mask_jaccard"]].isna().all()


def test_a_jaccard_index_never_stands_without_chance(rules: StudyRuns) -> None:
    assert OVERLAP in table_markdown(rules)
    assert overlap_block(outcomes(rules)[:1]) is None  # dense alone


def test_nobody_sends_in_a_centralised_study(rules: StudyRuns) -> None:
    alone = [
        dataclasses.replace(o, config={**o.config, "federation.clients": 1})
        for o in outcomes(rules)
    ]
    assert list(masks.cost_cells(alone)) == ["active [%]"]


def test_heads_that_are_made_in_other_ways_show_their_bytes(rules: StudyRuns) -> None:
    """Both ways, of dense arms too, where the question is how the head is made."""
    dense = {"mask.sparsity": 0.0, "mask.threshold": None, "mask.layers": "all"}
    found = [
        dataclasses.replace(
            o, setting={"head.method": name}, config={**o.config, **dense, "head.method": name},
            confirmed=o.confirmed.assign(bytes_up=3e6, bytes_down=0.0),
        )
        for o, name in zip(outcomes(rules), ("ridge", "ncm"), strict=False)
    ]  # fmt: skip
    cells = masks.cost_cells(found)
    assert cells == {"bytes up [MB]": ["3.00"] * 2, "bytes down [B]": ["0"] * 2}
    assert masks.cost_notes(found)[0].endswith("mean over the seeds.")
    assert not masks.cost_cells([dataclasses.replace(o, setting={}) for o in found])


def test_conditions_leave_out_what_the_columns_say(rules: StudyRuns) -> None:
    plain = [{**MASKED, "mask.sparsity": 0.5, "mask.rule": "random", "mask.scope": "shared"}]
    text = mask_conditions(dataclasses.replace(rules, settings=({},)), plain)
    assert text.startswith("masks: trainable random, sparsity 0.5 (share frozen), R = 2")
    assert "source server" in text
    assert "Fisher" not in text  # a random mask asks no gradient
    assert mask_conditions(rules, [MASKED]) == ""


def test_the_front_by_hand(front: StudyRuns) -> None:
    assert list(front_of(front, 0)["digest"]) == ["b", "d", "e"]
    points = front_points(front, outcomes(front))
    assert [(len(p.confirmed), p.start) for p in points] == [
        (3, False), (2, False), (0, False), (3, True),
    ]  # fmt: skip
    (outcome,) = outcomes(front)
    assert outcome.mean == pytest.approx(0.69)  # of b: as good as f, and cheaper
    assert "all: 1 confirmation run(s) of another configuration left out" in outcome.warnings
    text = table_markdown(front)
    assert FRONT in text
    assert "all, trial —: 2 of 3 confirmation seeds" in text
    assert "ties: the lowest bytes_up, then the earliest trial" in text
    assert "0 seeds: on the front, but not confirmed" in text


def test_a_front_in_three_directions() -> None:
    trials = pd.DataFrame(
        {
            **{"phase": "search", "status": "finished", "digest": list("abcde")},
            "val_accuracy": [0.5, 0.5, 0.4, 0.4, math.nan],
            **{"up": [2.0, 2.0, 1.0, 3.0, 0.0], "down": [2.0, 2.0, 3.0, 1.0, 0.0]},
        }
    )
    assert list(pareto_front(trials, ["up", "down"])["digest"]) == ["a", "c", "d"]
    assert list(pareto_front(trials, ["up"])["digest"]) == ["a", "c"]


def test_layers_are_means_over_the_seeds(rules: StudyRuns) -> None:
    (outcome,) = [o for o in outcomes(rules) if o.name == "N_c=10, least_sensitive, s=0.5"]
    table = mask_layers(rules, list(outcome.confirmed["run_id"]))
    assert table is not None
    assert "overall" not in table.index
    assert table.at["backbone.blocks.1.norm1.weight", "excess"] == pytest.approx(0.1)
    assert math.isnan(table.at["backbone.patch_embed.proj.weight", "excess"])
    cells = by_place(table, "excess")
    assert list(cells.index) == [("norms", 0), ("qkv", 0), ("norms", 1), ("qkv", 1)]
    assert cells.iloc[1] == pytest.approx(0.1 + 0.2 * 30 / 40)  # weight 30 entries, bias 10
    assert by_block(table, "excess").tolist() == pytest.approx([0.1 + 0.2 * 30 / 50, 0.1])
    assert by_place(table, "active_share").iloc[0] == 0.0
    assert mask_layers(rules, list(outcomes(rules)[0].confirmed["run_id"])) is None  # dense
    assert len(read_layers(rules, outcomes(rules))) == 8


@pytest.mark.parametrize("module", [layers, masks])
def test_doctests(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.attempted
    assert not result.failed


def test_figures_follow_the_data(rules: StudyRuns, front: StudyRuns, tmp_path: Path) -> None:
    names = [p.stem for p in write_figures(rules, tmp_path / "one", ["svg"])]
    assert names == [
        *(
            "accuracy",
            "curves",
            "loss",
            "communication",
            "drift_own",
            "mask_active",
            "overlap_layers",
        ),
        *("overlap_depth", "overlap_sharding", "captions"),
    ]
    write_figures(rules, tmp_path / "two", ["svg"])
    for name in (tmp_path / "one").iterdir():
        assert name.read_bytes() == (tmp_path / "two" / name.name).read_bytes(), name.name
    assert "pareto" in [p.stem for p in write_figures(front, tmp_path, ["svg"])]


def test_accuracy_against_sparsity_has_a_line_a_rule_and_the_dense_level(rules: StudyRuns) -> None:
    figure = accuracy_figure(outcomes(rules))
    assert figure is not None
    assert [ax.get_title() for ax in figure.axes] == ["iid", "$N_c$=10"]
    labels = [t.get_text() for t in figure.legends[0].get_texts()]
    assert labels == ["least sensitive", "random"]
    assert [t.get_text() for t in figure.axes[0].texts] == ["dense"]
    assert figure.axes[1].lines[-1].get_ydata()[0] == pytest.approx(74.0)
    ticks = [t.get_text() for t in figure.axes[0].get_xticklabels()]
    assert ticks == ["0.5", "0.8"]


def test_drift_over_decades_is_logarithmic(rules: StudyRuns) -> None:
    figure = drift_figure(outcomes(rules), read_curves(rules).drift)
    assert figure is not None
    assert {ax.get_yscale() for ax in figure.axes} == {"log"}


def test_sparsity_and_rounds_make_heat_maps_with_the_dense_level_above() -> None:
    arms: list[dict[str, Any]] = [{"federation.sharding": k, **d} for k in ("iid", "dirichlet")
                                  for d in ({"mask.sparsity": 0.0}, *({"mask.scope": c,
                                  "mask.rounds": r, "mask.sparsity": s} for c in ("shared",
                                  "per_client") for r in (1, 4) for s in (0.5, 0.9)))]  # fmt: skip
    results = [made(i, setting, 0.7, 0.7) for i, setting in enumerate(arms)]
    figure = accuracy_figure(results)
    assert figure is not None
    titles = [ax.get_title() for ax in figure.axes if ax.get_title()]
    assert len(titles) == 4
    assert titles[0] == "iid, shared\ndense 70.0 ± 0.0"
    found = facets(results, axes_of(results), ["mask.sparsity", "mask.rounds"])
    assert [len(group) for _, group in found.parts] == [5] * 4  # four masked arms and the dense one
    assert columns_of(found) == 4


def test_strategies_make_rows_and_shardings_colours() -> None:
    strategies = [
        {"fine_tune.strategy": "full", "mask.sparsity": 0.0},
        {"fine_tune.strategy": "sparse_full", "mask.sparsity": 0.5},
    ]
    arms = [{"federation.sharding": k, **s} for k in ("iid", "dirichlet") for s in strategies]
    results = [made(i, setting, 0.7, 0.7) for i, setting in enumerate(arms)]
    assert axes_of(results) == ["sharding", "fine_tune.strategy"]  # which decides the sparsity
    figure = accuracy_figure(results)
    assert figure is not None
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["full", "sparse full"]
    assert len(figure.legends[0].get_texts()) == 2


def test_the_front_is_a_file_of_its_own(front: StudyRuns, tmp_path: Path) -> None:
    write_tables(front, tmp_path)
    table = pd.read_csv(tmp_path / "front.csv")
    assert table["bytes_up"].tolist() == [8e6, 2e6, 1e6, 5e5]
    assert table["bytes_up_main"].tolist() == [7.5e6, 1.5e6, 5e5, 0]
    assert table["start"].tolist() == [False, False, False, True]
    assert table["test_accuracy_mean"][1] == pytest.approx(0.64)
    assert table["mask.sparsity"].tolist()[:3] == [0.0, 0.9, 0.99]
