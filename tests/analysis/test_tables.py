"""The final table against numbers worked out by hand."""

from __future__ import annotations

import dataclasses
import io
import math
import re
import statistics
from pathlib import Path

import pandas as pd
import pytest
from latex import assert_balanced
from texts import table_latex, table_markdown

from fl_analysis import final_tables
from fl_analysis.final_tables import write_tables
from fl_analysis.reading.store import StudyRuns, read_study
from fl_analysis.tables.final import final_table, table_csv

ROWS = """\
| sharding |   J |   T | test accuracy [%] |  95 % CI [%] | seeds | finished | diverged [%] | val. accuracy [%] | search gap [pp] |     lr | momentum | weight decay |
| -------- | --: | --: | ----------------: | -----------: | ----: | -------: | -----------: | ----------------: | --------------: | -----: | -------: | -----------: |
| iid      |   4 | 100 |    **70.0 ± 1.0** | [67.5, 72.5] |     3 |      3/3 |            0 |              60.0 |            -1.0 |    0.1 |      0.5 |       0.0001 |
| iid      |   8 |  50 |          58.0 ± — |            — |     1 |     1/1† |            0 |              55.0 |            -5.0 | 0.98\\* |      0.5 |      0.009\\* |
| N_c=1    |   4 | 100 |        42.0 ± 2.8 | [16.6, 67.4] |     2 |      2/4 |           25 |              45.0 |           -15.5 |   0.05 |      0.3 |       0.0001 |
| N_c=1    |   8 |  50 |                 — |            — |     0 |      0/0 |            — |                 — |               — |      — |        — |            — |
"""  # noqa: E501

WARNINGS = """\
- NOT SEARCHED ENOUGH: 1 of 4 arms; what tells these arms from others may be their hyper-parameters and not what the study asks
- NOT SEARCHED ENOUGH: iid, J=8: 1 of 1 search trials finished, a choice takes 2
- 1 search run(s) carry a test metric: ignored, but the search was not blind
- local.lr: chosen at the upper bound of its search range [0.001, 1] in 1 of 4 arms
- local.weight_decay: chosen at the upper bound of its search range [1e-06, 0.01] in 1 of 4 arms
- iid, J=8: 1 of 3 search trials were run
- iid, J=8: 1 of 3 confirmation seeds
- iid, J=8: one seed: no standard deviation
- N_c=1, J=4: 1 of 4 search trials diverged
- N_c=1, J=4: 1 search trial(s) failed and are not counted
- N_c=1, J=4: 1 confirmation run(s) of another configuration left out
- N_c=1, J=4: 1 confirmation run(s) of seeds not asked for left out
- N_c=1, J=4: 2 of 3 confirmation seeds (1 diverged)
- N_c=1, J=8, T=50: has not been run
"""  # noqa: E501


def test_numbers_worked_out_by_hand(golden: StudyRuns) -> None:
    table = final_table(golden)
    assert list(table.columns) == [
        *("federation.sharding", "federation.classes_per_client", "local.steps", "rounds"),
        *("test_accuracy_mean", "test_accuracy_std"),
        *("test_accuracy_ci_low", "test_accuracy_ci_high", "seeds", "trials", "neighbours"),
        *("finished", "diverged_share", "val_accuracy", "search_gap", "border", "shortfall"),
        *("local.lr", "local.momentum", "local.weight_decay"),
    ]
    mean, std = table["test_accuracy_mean"], table["test_accuracy_std"]
    assert mean[:3].tolist() == pytest.approx([0.70, 0.58, 0.42], abs=1e-12)
    assert std[0] == pytest.approx(0.01)
    assert std[2] == pytest.approx(math.sqrt(0.0008))
    assert math.isnan(std[1])
    assert math.isnan(mean[3])
    assert math.isnan(std[3])
    assert table["seeds"].tolist() == [3, 1, 2, 0]
    assert table["trials"].tolist() == [3, 1, 4, 0]
    assert table["neighbours"].tolist() == [0, 0, 0, 0]
    assert table["finished"].tolist() == [3, 1, 2, 0]
    assert table["diverged_share"][:3].tolist() == [0, 0, 0.25]
    assert table["val_accuracy"][:3].tolist() == [0.60, 0.55, 0.45]
    # t = 4.302653 for three seeds, 12.706205 for two
    assert table["test_accuracy_ci_low"][0] == pytest.approx(0.70 - 4.302653 * 0.01 / math.sqrt(3))
    assert table["test_accuracy_ci_high"][2] == pytest.approx(0.42 + 12.706205 * 0.02)
    assert math.isnan(table["test_accuracy_ci_low"][1])
    # the confirmation's validation accuracies are 0.60, 0.61, 0.62 by seed
    assert table["search_gap"][:3].tolist() == pytest.approx([-0.01, -0.05, 0.45 - 0.605])
    assert table["border"].tolist() == ["", "local.lr high; local.weight_decay high", "", ""]
    assert table["local.lr"].tolist() == [0.1, 0.98, 0.05, None]


def test_csv_is_the_frame_at_full_precision(golden: StudyRuns) -> None:
    lines = table_csv(golden).splitlines()
    mean, std = (
        repr(statistics.mean([0.69, 0.70, 0.71])),
        repr(statistics.stdev([0.69, 0.70, 0.71])),
    )
    ci = "0.675158622882,0.724841377118"  # 12 digits: the same with every build of scipy
    assert lines[1] == f"iid,,4,100,{mean},{std},{ci},3,3,0,3,0.0,0.6,-0.01,,,0.1,0.5,0.0001"
    assert lines[4] == "classes,1,8,50,,,,,0,0,0,0,,,,,,,,"
    back = pd.read_csv(io.StringIO(table_csv(golden)))
    pd.testing.assert_series_equal(
        back["test_accuracy_std"], final_table(golden)["test_accuracy_std"], check_exact=True
    )


def test_markdown_golden(golden: StudyRuns) -> None:
    text = table_markdown(golden)
    assert ROWS in text
    assert f"Warnings:\n\n{WARNINGS}\n" in text
    for part in (
        "CIFAR-100, backbone vit_small_patch16_224 (dino) at 64 × 64 pixels, trained: head",
        "K = 100 clients, C = 0.1, T = 100/50 rounds, J = 4/8 (J counts local steps)",
        "(ddof = 1) over confirmation seeds 0, 1, 2 (training split: train)",
        "Selection rule: highest validation accuracy among trials that ran to their full budget",
        "Budget: 3 search trials per arm (preset paper)",
        "commit 0123456789abcdef, device cpu",
    ):
        assert part in text


def test_latex_is_balanced_and_booktabs(golden: StudyRuns) -> None:
    text = table_latex(golden)
    assert text.isascii() or not re.search("[±×—α]", text)
    assert (
        len(re.findall(r"\\begin\{table\*?\}", text)) == 4
    )  # the grid, the arms in two, the tests
    assert_balanced(text)
    for rule in ("toprule", "midrule", "bottomrule"):
        assert text.count("\\" + rule) == 4
    assert r"local.weight\_decay" in text
    assert r"70.0 $\pm$ 1.0" in text
    assert "$N_c$=1" in text
    assert not re.search(r"(?<![\\$N])_(?!c\$)", re.sub(r"\\label\{.*", "", text))
    tables = [part.split(r"\bottomrule")[0] for part in text.split(r"\toprule")[1:]]
    counts = [{row.count("&") for row in table.splitlines() if "&" in row} for table in tables]
    assert counts == [{2}, {8}, {6}, {6}]  # the labels of the arms stand in both


def test_files_are_the_same_byte_for_byte(uri: str, tmp_path: Path) -> None:
    for name in ("one", "two"):
        text = write_tables(read_study(uri, "golden"), tmp_path / name)
        assert (tmp_path / name / "table.md").read_text() == text
    files = ("appendix.tex", "table.md", "table.csv", "table.tex", "table.html", "pairs.csv")
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    left = sorted(p.name for p in (tmp_path / "one").iterdir())  # no temporary file
    assert left == sorted(files)


def test_a_study_without_any_arm_run_is_all_dashes(uri: str) -> None:
    text = table_markdown(read_study(uri, "bare"))
    assert "has not been run" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 6  # the grid and the arms
    assert not any("±" in row for row in rows)


def test_a_study_without_a_search_needs_no_chosen_trial(golden: StudyRuns) -> None:
    trials = golden.trials[(golden.trials["phase"] == "confirm") & (golden.trials["arm"] == 0)]
    fixed = dataclasses.replace(golden, space={}, trials=trials)
    assert final_table(fixed)["test_accuracy_mean"][0] == pytest.approx(0.70)
    searched = dataclasses.replace(golden, trials=trials)  # but with one it does
    assert final_table(searched)["seeds"].tolist() == [0, 0, 0, 0]


def test_a_repeated_seed_counts_once(golden: StudyRuns) -> None:
    again = golden.trials[golden.trials["digest"] == "c00.1"]
    doubled = dataclasses.replace(golden, trials=pd.concat([golden.trials, again, again]))
    table = final_table(doubled)
    assert table["seeds"][0] == 3
    assert table["test_accuracy_mean"][0] == pytest.approx(0.70)


def test_command(
    uri: str,
    empty_uri: str,
    golden: StudyRuns,
    old_run: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ["--out", str(tmp_path / "o")]
    at = ["--tracking-uri", uri]
    assert final_tables.main([*at, "--study", "golden", *out, "--format", "csv"]) == 0
    assert ROWS in capsys.readouterr().out
    assert [p.name for p in sorted((tmp_path / "o").iterdir())] == ["pairs.csv", "table.csv"]
    assert final_tables.main([*at, *out]) == 0  # all studies, a folder each
    assert (tmp_path / "o" / "golden" / "table.md").exists()
    told = capsys.readouterr().err  # of the two searches of one study the newest, and that is said
    which = f"note: golden: the newest of its 2 searches in this store, {golden.run_id}; "
    assert told == f"{which}others: --run {old_run}\n"
    assert final_tables.main([*at, "--run", old_run, *out, "--format", "csv"]) == 0
    assert not capsys.readouterr().err
    for bad in (
        [*at, "--study", "nothing"],
        ["--tracking-uri", empty_uri],
        ["--tracking-uri", f"sqlite:///{tmp_path}/none.db"],
        [*at, "--run", "x", "--study", "a", "b"],
    ):
        assert final_tables.main(bad) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("error: ")
