"""The grid that every surface shows first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fl_analysis.reading.store import StudyRuns
from fl_analysis.results.labels import level_labels
from fl_analysis.results.outcome import Outcome, outcomes
from fl_analysis.results.pivot import WIDTH, Pivot, pivot, width
from fl_analysis.tables.pivot import pivot_block
from fl_core.study.arms import each, grid, rules, shardings
from fl_studies.sparse_centralized import ARMS as CENTRAL
from fl_studies.sparse_fedavg import ARMS as SPARSE

G = "select.gamma"


def arms(settings: Sequence[Mapping[str, Any]], best: int = 0) -> list[Outcome]:
    """Outcomes of these arms, confirmed on three seeds; `best` has the highest validation."""
    made = []
    for place, setting in enumerate(settings):
        val = 0.9 if place == best else 0.7
        seeds = pd.DataFrame(
            {"seed": [1, 2, 3], "val_accuracy": val, "test_accuracy": [0.69, 0.70, 0.71]}
        )
        plain = dict(setting)
        made.append(Outcome(place, f"arm {place}", plain, plain, 1, 0.0, None, {}, seeds, ()))
    return made


def shape(found: Pivot) -> tuple[tuple[str, ...], str | None, int, int]:
    return found.row_axes, found.column_axis, len(found.rows), len(found.columns)


def test_sharding_runs_down_and_j_across() -> None:
    found = pivot(arms(grid(shardings(None, 5, 1), each("local.steps", (4, 8))), best=3))
    assert shape(found) == (("sharding",), "local.steps", 3, 2)
    assert (found.row_heads, found.column_head) == (("sharding",), "J (local steps)")
    assert found.rows == (("iid",), ("N_c=5",), ("N_c=1",))
    assert (found.columns, found.column_names) == (("4", "8"), ("J=4", "J=8"))
    assert found.bold == {(1, 1)}
    assert {found.text(y, x) for y in range(3) for x in range(2)} == {"70.0 ± 1.0"}


def test_what_an_arm_does_not_read_has_no_value() -> None:
    """γ = 1 beside a selection that draws nobody by it."""
    rules = [{"select.rule": "cyclic"}, *grid([{"select.rule": "dirichlet"}], each(G, (0.1, 1.0)))]
    found = arms(rules)
    found[0].config[G] = 1.0
    assert pivot(found).rows == (("cyclic", "—"), ("Dirichlet", "0.1"), ("Dirichlet", "1"))
    assert level_labels(["select.rule", G], found[0].config) == ["cyclic"]


def test_one_axis_is_a_list_and_no_axis_an_arm() -> None:
    found = pivot(arms(each("schedule.name", ("constant", "cosine"))))
    assert shape(found) == (("schedule.name",), None, 2, 1)
    assert found.columns == ("test accuracy [%]",)
    assert shape(pivot(arms([{"local.steps": 4}]))) == ((), None, 1, 1)


def test_three_axes_stand_beside_each_other_where_that_is_narrow() -> None:
    found = pivot(arms(SPARSE))
    assert shape(found) == (("mask.sparsity", "mask.scope"), "sharding", 7, 5)
    assert width(found) <= WIDTH
    assert found.rows[:2] == (("dense", "—"), ("0.5", "shared"))
    assert all(arm is not None for row in found.cells for arm in row)
    labels = [row[:2] for row in pivot_block(arms(SPARSE)).rows]
    assert labels[1:3] == [["0.5", "shared"], ["", "per client"]]  # said once


def test_a_grid_with_more_holes_than_it_is_worth_is_a_list() -> None:
    found = pivot(arms(CENTRAL))
    assert shape(found)[1:] == (None, len(CENTRAL), 1)
    talos = [*rules(), {"mask.rule": "least_sensitive", "mask.preset": "talos"}]
    talos = grid(each("mask.sparsity", (0.9,)), talos)
    assert shape(pivot(arms(talos)))[1:] == (None, len(talos), 1)


def test_arms_that_would_share_a_cell_go_by_their_names() -> None:
    dense = [{"mask.sparsity": 0.0, "mask.rounds": n} for n in (1, 2)]
    found = pivot(arms([*dense, {"mask.sparsity": 0.5, "mask.rounds": 2}]))
    assert found.rows == (("arm 0",), ("arm 1",), ("arm 2",))


def test_a_threshold_of_nothing_is_dense() -> None:
    found = pivot(arms([{"mask.sparsity": 0.0}, *each("mask.threshold", (1e-4, 1e-3))]))
    assert found.rows[0] == ("dense",)


def test_the_block_of_a_study(golden: StudyRuns) -> None:
    block = pivot_block(outcomes(golden))
    assert block.header == ["sharding", "J=4", "J=8"]
    assert block.rows == [["iid", "70.0 ± 1.0", "58.0 ± —†"], ["N_c=1", "42.0 ± 2.8", "—"]]
    assert block.bold == {(0, 1)}
    assert block.caption == (
        "Test accuracy [%] on CIFAR-100 by sharding and J (local steps): mean ± sample standard "
        "deviation over 0 to 3 confirmation seeds (K = 100, C = 0.1, vit_small_patch16_224)."
    )
    assert [note.split()[0] for note in block.notes] == ["bold:", "†"]
