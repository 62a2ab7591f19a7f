"""Published numbers: what stands beside which arm, where it is from, and that one asks for it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from latex import assert_balanced
from texts import table_html, table_latex, table_markdown

from fl_analysis import final_tables, report
from fl_analysis.reading.store import StudyRuns
from fl_analysis.tables.bibliography import bibliography
from fl_analysis.tables.final import blocks
from fl_analysis.tables.published import beside, beside_overlap, published
from fl_analysis.tables.published_reports import FOLDER
from fl_analysis.tables.sources import SOURCES

ARM: dict[str, Any] = {
    **{"data.name": "cifar100", "federation.clients": 100, "federation.participation": 0.1},
    **{"federation.sharding": "classes", "federation.classes_per_client": 5, "local.steps": 4},
}
MASKED: dict[str, Any] = {
    **ARM,
    **{"federation.classes_per_client": 10, "mask.sparsity": 0.5, "mask.rule": "least_sensitive"},
    **{"mask.scope": "per_client"},
}


def cells(text: str, *words: str) -> list[str]:
    """The one line of a table that has these words, cell by cell."""
    (line,) = [x for x in text.splitlines() if x.startswith("|") and all(w in x for w in words)]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_nobody_sees_them_who_has_not_asked(golden: StudyRuns, uri: str, tmp_path: Path) -> None:
    for text in (table_markdown(golden), table_latex(golden), table_html(golden)):
        assert not re.search("ublished|Pirilli|Sources|thebibliography", text)
    common = ["--tracking-uri", uri, "--study", "golden", "--out"]
    for options, found in (([], False), (["--published"], True)):
        assert final_tables.main([*common, str(tmp_path), *options]) == 0
        for name, mark in {
            "md": "Pirilli",
            "html": "Pirilli",
            "tex": r"\cite{pirilli2025}",
        }.items():
            text = (tmp_path / ("appendix.tex" if name == "tex" else f"table.{name}")).read_text()
            assert (mark in text) == found
        assert (tmp_path / "references.bib").exists() == found
        page = tmp_path / "report.html"
        assert report.main([*common, str(page), *options]) == 0
        assert ("Beside published numbers" in page.read_text()) == found
        assert ('<a href="https://github.com/emanueleR3' in page.read_text()) == found


def test_they_stand_apart_with_their_conditions(golden: StudyRuns) -> None:
    ours, theirs = table_markdown(golden, published=True).split("Published numbers", 1)
    assert "Pirilli" not in ours
    assert cells(theirs, "iid, J=4 ", "Alcani") == [
        *("iid, J=4", "Alcani et al. 2025", "head", "4 epochs", "72.1", "4")
    ]
    assert cells(theirs, "iid, J=4 ", "Vecchio") == [
        *("iid, J=4", "Del Vecchio et al. 2026", "head + backbone", "4 steps", "83.9", "1")
    ]
    assert "1.2 (not comparable)" in theirs
    assert "their sharder gives a client only" in theirs
    assert "sparse" not in theirs.split("Sources:")[0]  # our arms are dense
    assert "N_c=1, J=8" in theirs  # an arm that has not been run still shows what is known
    lines = [line for line in theirs.splitlines() if line.startswith("| N_c=1, J=4 ")]
    named = [source.name for line in lines for source in SOURCES.values() if source.name in line]
    # the closest first, what contradicts itself last
    assert list(dict.fromkeys(named)) == [source.name for source in SOURCES.values()]


def test_who_asks_and_finds_none_is_told(golden: StudyRuns) -> None:
    line = "- no published number is known for the problem of any arm"
    other = replace(golden, arms=golden.arms.assign(**{"data.name": "cifar10"}))
    assert line in table_markdown(other, published=True)
    assert line not in table_markdown(other)
    assert line not in table_markdown(golden, published=True)


def test_the_bibliography(golden: StudyRuns) -> None:
    """Authors, title, kind of document, year, and a link or that none is known."""
    text = table_markdown(golden, published=True)
    lines = text.split("Sources:")[1].strip().splitlines()
    assert len(lines) == len(SOURCES)
    for line, source in zip(lines, SOURCES.values(), strict=True):
        for part in (source.authors, source.title, source.kind, str(source.year)):
            assert part in line
        assert (f"<{source.link}>" if source.link else "no public link known") in line
        assert ("Contradicts itself: " in line) == bool(source.caveat)
    assert [bool(source.caveat) for source in SOURCES.values()] == [False] * 3 + [True] * 2
    tex = table_latex(golden, published=True)
    assert_balanced(tex)
    assert set(re.findall(r"\\cite\{(\w+)\}", tex)) == set(SOURCES)
    bib = bibliography(blocks(golden, published=True))
    assert bib is not None
    assert re.findall(r"@misc\{(\w+),", bib) == list(SOURCES)
    assert r"note = {\url{https://github.com/emanueleR3/AML-Project-2}}," in bib
    assert "author = {{Del Vecchio}, F. and {Di Palma}, G. and" in bib
    assert_balanced(bib)
    assert bibliography(blocks(golden)) is None
    page = table_html(golden, published=True)
    assert page.count("<cite>") == len(SOURCES)
    assert "<cite>Centralized and Federated Learning with Sparse Fine-Tuning &amp; " in page


def test_every_file_is_read_and_names_its_source() -> None:
    frame = published()
    assert frame["value"].between(0, 1).all()
    assert not frame.duplicated().any()
    assert list(dict.fromkeys(frame["key"])) == list(SOURCES)
    assert not frame[frame["key"] == "hatem2025"]["comparable"].any()
    assert len(list(FOLDER.glob("*.csv"))) == 6
    for file in FOLDER.glob("*.csv"):
        assert file.read_text().startswith("# ")
    for value in (0.8618, 0.8393, 0.0260, 0.8209, 0.5565, 0.4596, 0.0276, 0.2647, 0.7327, 0.8408):
        assert value in frame["value"].to_list()


def test_centralised_numbers_have_no_federated_conditions() -> None:
    """Alcani's 73.27 stood there with K = 100, C = 0.1 and 20 rounds of 4 local epochs."""
    frame = published()
    centralised = frame[frame["setting"] == "centralised"]
    assert set(centralised["key"]) == set(SOURCES)
    for text in centralised["conditions"]:
        for part in ("K = 100", "C = 0.1", "local epochs", "rounds", "N_c", "sharder"):
            assert part not in text, text
    (alcani,) = centralised[centralised["value"] == 0.7327]["conditions"]
    assert "epochs and schedule not stated" in alcani


def test_the_same_problem_alone_is_matched() -> None:
    assert sorted(beside({**ARM, "mask.sparsity": 0.8})["value"]) == [0.6816, 0.7038]
    both = beside({**ARM, "mask.sparsity": 0.0})
    assert {"Alcani et al. 2025, Table I", "Alcani et al. 2025, their CSV"} < set(both["source"])
    assert set(both["setting"]) == {"federated"}
    assert beside({**ARM, "federation.clients": 10}).empty
    assert beside({**ARM, "data.name": "cifar10"}).empty
    assert beside({**ARM, "local.steps": 5}).empty
    assert len(beside({**ARM, "federation.clients": 1, "mask.sparsity": 0.9})) == 1


def test_skewed_selections_stand_beside_the_same_alone() -> None:
    """Track B's clients of unequal chances: never beside arms that draw theirs uniformly."""
    iid = {**ARM, "federation.sharding": "iid", "federation.classes_per_client": None}
    drawn = {**iid, "select.rule": "dirichlet", "select.reweight": "unbiased"}
    for gamma, value in {0.05: 0.2647, 0.5: 0.3842, 1.0: 0.4177, 5.0: 0.4595}.items():
        (row,) = beside({**drawn, "select.gamma": gamma}).to_dict("records")
        assert row["value"] == value
        for part in ("LeNet-5", "T x J = 8000", f"Dirichlet({gamma:g})"):
            assert part in row["conditions"]
    assert beside({**drawn, "select.gamma": 0.1}).empty
    assert beside({**drawn, **ARM, "select.gamma": 0.5}).empty  # theirs is iid
    uniform = beside({**iid, "select.rule": "uniform", "select.gamma": 1.0})
    assert uniform.equals(beside(iid))
    assert uniform["gamma"].isna().all()
    assert 0.4596 in set(uniform["value"])
    assert beside({**iid, "select.rule": "cyclic", "select.gamma": 1.0}).empty


@pytest.mark.parametrize("sparsity", [0.0, 0.5])
def test_the_same_brief_in_steps(sparsity: float) -> None:
    """Heterogeneity, and every rule at half the parameters: J of both counts steps."""
    arm = {**MASKED, "local.steps": 8, "mask.sparsity": sparsity}
    arm["fine_tune.strategy"] = "head_then_sparse_backbone"
    rows = beside(arm, by_strategy=True)
    rows = rows[rows["key"] == "delvecchio2026"]
    assert set(rows["local_unit"]) == {"steps"}
    if sparsity == 0:
        assert rows["value"].to_list() == [0.8119]
        assert set(rows["rule"]) == {""}
    else:
        assert dict(zip(rows["rule"], rows["value"], strict=True)) == {
            "high_magnitude": 0.8209, "least_sensitive": 0.806, "low_magnitude": 0.8,
            "most_sensitive": 0.7993, "random": 0.8117,
        }  # fmt: skip
        assert set(rows["mask_rounds"]) == {3}


def test_sparse_numbers_stand_beside_sparse_arms(rules: StudyRuns) -> None:
    text = table_markdown(rules, published=True)
    accuracies, overlaps = text.split("Published numbers")[1].split("Published overlaps")
    # once for all rules
    assert accuracies.count("| iid, s=0.5 ") == len(beside({**MASKED, **_iid("backbone")}))
    assert cells(accuracies, "| iid, s=0.5 ", "|  10 |")[4:7] == ["least_sensitive", "10", "77.9"]
    assert "| N_c=10, s=0.5 | Pirilli" in accuracies
    assert "| iid, dense    | Alcani" in accuracies
    assert "which part is sparse is not stated" in accuracies
    assert "sparse head" not in accuracies  # our arms train a backbone
    row = next(line for line in overlaps.splitlines() if "N_c=10, least_sensitive, s=0.5" in line)
    assert "|  0.333 | 0.433 (not comparable)" in row
    assert "N_c=10, least_sensitive, s=0.8" not in overlaps


def _iid(part: str) -> dict[str, Any]:
    sharding = {"federation.sharding": "iid", "federation.classes_per_client": None}
    return {**sharding, "fine_tune.strategy": f"head_then_sparse_{part}"}


def test_strategies_are_matched_where_a_mask_is_in_force() -> None:
    head = {**MASKED, "fine_tune.strategy": "head", "mask.sparsity": 0.8}
    assert beside(head)["value"].tolist() == [0.7157]
    full = {**MASKED, "fine_tune.strategy": "full", "mask.sparsity": 0.0}
    assert set(beside(full, by_strategy=True)["strategy"]) == {"full", "LeNet"}
    assert {"full", "head", "head + backbone"} < set(beside(full)["strategy"])
    central = {**head, "federation.clients": 1}
    assert beside(central)["value"].tolist() == [0.7066]
    assert beside_overlap({**MASKED, "mask.scope": "shared"}).empty
    assert beside_overlap({**MASKED, "mask.rule": "random"})["value"].tolist() == [0.333]
